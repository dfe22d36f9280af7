"""The comparison of two sides, each of one run or several: a verdict for every figure, with what it is based on.

Pure. It takes estimates and returns a Comparison, which is also what `compare --as json` writes. difference.py has the
statistics, settings.py the circumstances of the runs, gates.py the gates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from loadstone.compare import difference
from loadstone.compare.circumstances import CacheDifference
from loadstone.compare.difference import LEVEL, Difference, Estimate
from loadstone.compare.estimate import POOLED, RATES, SERIES, STATS, WindowName
from loadstone.config.slo import METRICS
from loadstone.stats import distributions

# Version of the JSON form of a Comparison. History: 1 the first; 2 `not comparable`, cache, load and doubts.
FORMAT = 2
Verdict = Literal["better", "worse", "same", "differs", "inconclusive", "not comparable"]
Interval = tuple[float, float]
# Fraction of base within which two figures are the same.
MARGIN = 0.05
# Half a percent of all requests: error rates and other fractions that differ by less are the same, whatever the margin.
ERROR_RATE_MARGIN = 0.005
# Families of figures that decide the verdict on the whole.
HEADLINE = ("ttft", "tpot", "latency", "rates")
# Metrics of which more is better.
HIGHER = {"qps", "output_throughput", "total_throughput", "goodput", "attainment"}
# Figures that the prefix cache has no part in.
CACHE_FREE = ("error_rate", "output_tokens", "input_tokens", "packets")
# Metrics of which neither more nor less is better.
NEITHER = {"packets", "input_tokens", "output_tokens"}
# Requests a side to recommend where there are too few to estimate how many are needed.
DEFAULT_REQUESTS = 100
# The same for a percentile that one side is too small for.
PERCENTILE_REQUESTS = {"p95": 100, "p99": 500}
# The number recommended is at least so many times the number there is, which was not enough.
MIN_GROWTH = 1.5


class Figure(Struct, frozen=True, kw_only=True):
    """One figure of both sides.

    base, new: the values, with `base_interval` and `new_interval` of 95 %
    difference: new - base, with its interval
    change: the difference as a fraction of base, with its interval
    p_alone: p-value of this test alone
    p: adjusted for the other tests of the family
    wanted: requests or runs a side (`wanted_of`) that are needed to detect a difference as large as the margin; only
        where the verdict is inconclusive
    """

    name: str
    family: str
    unit: str
    base: float | None
    new: float | None
    base_interval: Interval | None = None
    new_interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None
    change: float | None = None
    change_interval: Interval | None = None
    p_alone: float | None = None
    p: float | None = None
    verdict: Verdict = "inconclusive"
    wanted: int | None = None
    wanted_of: Literal["requests", "runs"] | None = None


class SideComparison(Struct, frozen=True):
    """One new side compared with base.

    verdict: on the headline families; `mixed` if some figures are better and others worse
    cache: how the cached fractions of the input differ, where they do
    load: what differs in the load and the requests
    doubts: status and first doubt of each run that is not valid, of both sides
    """

    name: str
    verdict: Literal["better", "worse", "mixed", "same", "inconclusive", "not comparable"]
    figures: list[Figure]
    cache: CacheDifference | None = None
    load: list[str] = []
    doubts: list[str] = []


class Health(Struct, frozen=True, kw_only=True):
    """A run, and whether it can be believed."""

    run: str
    status: str
    doubts: list[str]
    cached_share: float | None
    succeeded: int
    failed: int
    cpu_share: float | None
    loop_lag_p99: float | None
    send_lag_p99: float | None


class Setting(Struct, frozen=True):
    """A setting or circumstance that differs.

    values: those of each side, base first; several where the runs of a side differ
    """

    name: str
    values: list[list[str]]


class Side(Struct, frozen=True):
    """A side, under the name typed for it."""

    name: str
    runs: list[Health]


class Comparison(Struct, frozen=True, kw_only=True):
    """The result of `loadstone compare`.

    sides: base is the first
    same_prompts, same_schedule: None where it is unknown
    """

    format: int = FORMAT
    margin: float
    level: float = LEVEL
    window: WindowName
    sides: list[Side]
    settings: list[Setting]
    same_prompts: bool | None
    same_schedule: bool | None
    against: list[SideComparison]


class _Pair(Struct, frozen=True):
    """A figure that both sides have."""

    base: Estimate
    new: Estimate
    difference: Difference


def figure_names() -> list[str]:
    """Return the names of all figures, in the order in which they are shown."""
    metrics = [*SERIES[:3], *POOLED, *SERIES[3:]]
    return [*(f"{metric}.{stat}" for metric in metrics for stat in STATS), *RATES]


def with_circumstances(
    against: SideComparison, cache: CacheDifference | None, load: list[str], doubts: list[str]
) -> SideComparison:
    """Add what must be said first. Figures that a cache has changed are not comparable."""
    if cache is None or cache.comparable:
        return msgspec.structs.replace(against, cache=cache, load=load, doubts=doubts)
    figures = [
        figure
        if figure.name.partition(".")[0] in CACHE_FREE
        else msgspec.structs.replace(figure, verdict="not comparable", wanted=None, wanted_of=None)
        for figure in against.figures
    ]
    return SideComparison(against.name, "not comparable", figures, cache, load, doubts)


def family(name: str) -> str:
    """Return the family of tests that p-values are adjusted for: the figures of one metric, the rates, or one gate."""
    metric = name.partition(".")[0]
    return "rates" if name in RATES else metric if metric in METRICS else name


def unit(name: str) -> str:
    """Return the unit of a figure, which may be one of a gate such as `goodput(ttft<200ms)`, with `/s` for its rate."""
    metric = name.partition(".")[0]
    if metric in METRICS:
        return METRICS[metric][0]
    return "/s" if name.endswith("/s") else "share"


def judge_sides(
    base: Mapping[str, Estimate], news: Mapping[str, Mapping[str, Estimate]], margin: float = MARGIN
) -> list[SideComparison]:
    """Compare each of the new sides with base. `news`: estimates by the name of their side."""
    # The figures of every comparison, then those of gates.
    names = list(dict.fromkeys([*figure_names(), *base, *(name for new in news.values() for name in new)]))
    pairs = {
        (side, name): _Pair(base[name], new[name], difference.difference(base[name], new[name], unit(name) == "share"))
        for side, new in news.items()
        for name in names
        if name in base and name in new
    }

    # Adjust the p-values of each family over all new sides (Holm). A figure without an interval is no test.
    adjusted = {key: pair.difference.p for key, pair in pairs.items()}
    tests = dict.fromkeys((family(name) for _, name in pairs), 0)
    for group in tests:
        keys = [key for key, pair in pairs.items() if family(key[1]) == group and pair.difference.interval is not None]
        adjusted.update(zip(keys, difference.holm([pairs[key].difference.p for key in keys]), strict=True))
        tests[group] = len(keys)

    comparisons = []
    for side, new in news.items():
        figures = [
            _compare_pair(name, pairs[side, name], adjusted[side, name], max(1, tests[family(name)]), margin)
            if (side, name) in pairs
            else _lone_figure(name, base, new)
            for name in names
            if name in base or name in new
        ]
        comparisons.append(SideComparison(side, overall_verdict(figures), figures))
    return comparisons


def _compare_pair(name: str, pair: _Pair, p: float, tests: int, margin: float) -> Figure:
    change = pair.difference
    verdict = judge(name, change, p, margin)
    needed, needed_of = _needed(name, pair, tests, margin) if verdict == "inconclusive" else (None, None)
    return Figure(
        name=name,
        family=family(name),
        unit=unit(name),
        base=pair.base.value,
        new=pair.new.value,
        base_interval=_interval(name, pair.base),
        new_interval=_interval(name, pair.new),
        difference=change.absolute,
        difference_interval=change.interval,
        change=change.relative,
        change_interval=change.relative_interval,
        p_alone=None if change.interval is None else change.p,
        p=None if change.interval is None else p,
        verdict=verdict,
        wanted=needed,
        wanted_of=needed_of,
    )


def _interval(name: str, estimate: Estimate | None) -> Interval | None:
    """Return the interval of an estimate; that of a fraction does not go above 1."""
    if estimate is None or (ends := estimate.interval) is None:
        return None
    return (ends[0], min(1.0, ends[1])) if unit(name) == "share" else ends


def _lone_figure(name: str, base_side: Mapping[str, Estimate], new_side: Mapping[str, Estimate]) -> Figure:
    """Return a figure that only one side has. More requests help if the other side has measured the metric at all."""
    metric, _, stat = name.partition(".")
    too_few = stat in STATS and all(f"{metric}.mean" in side for side in (base_side, new_side))
    base, new = base_side.get(name), new_side.get(name)
    return Figure(
        name=name,
        family=family(name),
        unit=unit(name),
        base=base.value if base else None,
        new=new.value if new else None,
        base_interval=_interval(name, base),
        new_interval=_interval(name, new),
        wanted=PERCENTILE_REQUESTS.get(stat, DEFAULT_REQUESTS) if too_few else None,
        wanted_of="requests" if too_few else None,
    )


def judge(name: str, change: Difference, p: float, margin: float) -> Verdict:
    """Return the verdict on a difference.

    It is `same` if the whole interval is within the margin (two one-sided tests, Schuirmann 1987). Otherwise the sides
    differ if chance alone makes so large a difference in fewer than 5 % of cases.
    """
    interval = change.interval if change.relative_interval is None else change.relative_interval
    if interval is None:
        return "inconclusive"
    # Without a relative difference there is no margin, except that of error rates in points.
    limit = 0.0 if change.relative_interval is None else margin
    if unit(name) == "share":
        limit = ERROR_RATE_MARGIN
    if max(map(abs, interval)) <= limit:
        return "same"
    if p >= LEVEL:
        return "inconclusive"
    metric = name.partition(".")[0]
    if metric in NEITHER:
        return "differs"
    more_is_better = metric in HIGHER or metric not in METRICS
    return "better" if (change.absolute > 0) == more_is_better else "worse"


def _needed(name: str, pair: _Pair, tests: int, margin: float) -> tuple[int | None, Literal["requests", "runs"] | None]:
    """Return how many requests or runs a side are needed to detect a difference as large as the margin."""
    if unit(name) == "share":
        # As for independent trials, with the fraction there was, at least half of the margin from 0 and 1.
        mean = (pair.base.value + pair.new.value) / 2
        rate = min(max(mean, ERROR_RATE_MARGIN / 2), 1 - ERROR_RATE_MARGIN / 2)
        errors = difference.errors_to_detect(distributions.MANY, 1)
        return round_up(2 * rate * (1 - rate) * (errors / ERROR_RATE_MARGIN) ** 2), "requests"
    if pair.difference.relative is None:
        return None, None
    runs = max(pair.base.runs, pair.new.runs)
    if runs > 1:
        return difference.runs_needed(pair.difference, margin, tests, runs), "runs"
    most = max(pair.base.count, pair.new.count)
    needed = difference.requests_needed(pair.base, pair.new, pair.difference, margin, tests)
    return round_up(max(MIN_GROWTH * most, needed or DEFAULT_REQUESTS)), "requests"


def round_up(value: float) -> int:
    """Return `value` rounded up to two significant figures."""
    step: int = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step


def overall_verdict(figures: Sequence[Figure]) -> Literal["better", "worse", "mixed", "same", "inconclusive"]:
    """Return the verdict of the headline families together."""
    verdicts = {figure.verdict for figure in figures if figure.family in HEADLINE}
    if "better" in verdicts and "worse" in verdicts:
        return "mixed"
    for verdict in ("better", "worse", "inconclusive"):
        if verdict in verdicts:
            return verdict
    return "same" if verdicts else "inconclusive"
