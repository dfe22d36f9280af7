"""What is different between two sides, each of one run or several: a verdict for every figure, and what it rests on.

Pure: estimates in, a Comparison out, which is also what `compare --as json` writes. How differences are found is in
contrast.py; what the runs were told and how their clients fared in differing.py; gates in gates.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.compare import difference as contrast
from loadstone.compare.difference import LEVEL, Difference, Estimate
from loadstone.compare.estimate import POOLED, RATES, SERIES, STATS, WindowName
from loadstone.stats import distributions

# Version of the JSON form of a Comparison. History: 1 the first.
FORMAT = 1
Verdict = Literal["better", "worse", "same", "differs", "inconclusive"]
Interval = tuple[float, float]
MARGIN = 0.05
# Half a percent of all requests: error rates that differ by less are the same, whatever the margin.
ERROR_RATE_MARGIN = 0.005
# Families that the verdict on all is made of.
HEADLINE = ("ttft", "tpot", "latency", "rates")
HIGHER = {"qps", "output_throughput", "total_throughput", "goodput"}
NEITHER = {"packets", "input_tokens", "output_tokens"}
# Of all that is not seconds.
UNITS = {
    "packets": "events", "input_tokens": "tokens", "output_tokens": "tokens", "qps": "/s", "goodput": "/s",
    "output_throughput": "tokens/s", "total_throughput": "tokens/s", "error_rate": "share",
}  # fmt: skip
# Requests to ask for where there are too few to say more, and of a percentile that one side is too small for.
DEFAULT_REQUESTS, PERCENTILE_REQUESTS = 100, {"p95": 100, "p99": 500}
# Times as many requests at least: as many as there are have not been enough.
MIN_GROWTH = 1.5


class Figure(Struct, frozen=True, kw_only=True):
    """One figure of both sides. `difference` is new - base, `change` its share of base; each with its 95 % interval.
    `p` is adjusted for the other tests of the family, `p_alone` is not. `wanted`: how many requests or runs a side it
    takes to find a difference as large as the margin; given where the verdict is inconclusive."""

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
    """One new side against base. `verdict` is on the headline families: `mixed` where some figures are better and
    others worse."""

    name: str
    verdict: Literal["better", "worse", "mixed", "same", "inconclusive"]
    figures: list[Figure]


class Health(Struct, frozen=True, kw_only=True):
    """A run, and whether it can be believed."""

    run: str
    status: str
    doubts: list[str]
    succeeded: int
    failed: int
    cpu_share: float | None
    loop_lag_p99: float | None
    send_lag_p99: float | None


class Setting(Struct, frozen=True):
    """Something that was told or found differently: a value for each side, base first; several values where the runs of
    a side differ."""

    name: str
    values: list[list[str]]


class Side(Struct, frozen=True):
    name: str
    runs: list[Health]


class Comparison(Struct, frozen=True, kw_only=True):
    """`sides[0]` is base. `same_prompts`, `same_schedule`: None where it cannot be told."""

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
    found: Difference


def figure_names() -> list[str]:
    """All figures there can be, in the order in which they are shown."""
    metrics = [*SERIES[:3], *POOLED, *SERIES[3:]]
    return [*(f"{metric}.{stat}" for metric in metrics for stat in STATS), *RATES]


def family(name: str) -> str:
    """The tests among which false alarms are counted together: figures of one metric, or rates."""
    return "rates" if name in RATES else name.partition(".")[0]


def unit(name: str) -> str:
    return UNITS.get(name.partition(".")[0], "s")


def judge_sides(
    base: Mapping[str, Estimate], news: Mapping[str, Mapping[str, Estimate]], margin: float = MARGIN
) -> list[SideComparison]:
    """Each of the new sides, by its name, held against base. A family is adjusted for its tests of all new sides."""
    pairs = {
        (side, name): _Pair(base[name], new[name], contrast.difference(base[name], new[name], name == "error_rate"))
        for side, new in news.items()
        for name in figure_names()
        if name in base and name in new
    }
    adjusted = _adjusted({key: pair.found for key, pair in pairs.items()})
    tests = {family(name): 0 for _, name in pairs}
    for (_, name), pair in pairs.items():
        tests[family(name)] += pair.found.interval is not None
    made = []
    for side, new in news.items():
        figures = [
            _figure(name, pairs[side, name], adjusted[side, name], max(1, tests[family(name)]), margin)
            if (side, name) in pairs
            else _lone(name, base, new)
            for name in figure_names()
            if name in base or name in new
        ]
        made.append(SideComparison(side, overall_verdict(figures), figures))
    return made


def _adjusted(found: Mapping[tuple[str, str], Difference]) -> dict[tuple[str, str], float]:
    """p-values after Holm, family by family; those without interval are no test, and stay as they are."""
    adjusted = {key: difference.p for key, difference in found.items()}
    for group in {family(name) for _, name in found}:
        keys = [key for key in found if family(key[1]) == group and found[key].interval is not None]
        adjusted.update(zip(keys, contrast.holm([found[key].p for key in keys]), strict=True))
    return adjusted


def _figure(name: str, pair: _Pair, p: float, tests: int, margin: float) -> Figure:
    found = pair.found
    verdict = judge(name, found, p, margin)
    wanted = _wanted(name, pair, tests, margin) if verdict == "inconclusive" else (None, None)
    return Figure(
        name=name,
        family=family(name),
        unit=unit(name),
        base=pair.base.value,
        new=pair.new.value,
        base_interval=pair.base.interval,
        new_interval=pair.new.interval,
        difference=found.absolute,
        difference_interval=found.interval,
        change=found.relative,
        change_interval=found.relative_interval,
        p_alone=None if found.interval is None else found.p,
        p=None if found.interval is None else p,
        verdict=verdict,
        wanted=wanted[0],
        wanted_of=wanted[1],
    )


def _lone(name: str, *sides: Mapping[str, Estimate]) -> Figure:
    """A figure that one side alone has. More requests help where the other has measured the metric at all."""
    metric, _, stat = name.partition(".")
    found = [side.get(name) for side in sides]
    few = stat in STATS and all(f"{metric}.mean" in side for side in sides)
    values = [one.value if one else None for one in found]
    intervals = [one.interval if one else None for one in found]
    return Figure(
        name=name,
        family=family(name),
        unit=unit(name),
        base=values[0],
        new=values[1],
        base_interval=intervals[0],
        new_interval=intervals[1],
        wanted=PERCENTILE_REQUESTS.get(stat, DEFAULT_REQUESTS) if few else None,
        wanted_of="requests" if few else None,
    )


def judge(name: str, found: Difference, p: float, margin: float) -> Verdict:
    """`same` where the whole interval is within the margin (two one-sided tests, Schuirmann 1987), else different where
    chance makes so large a difference in fewer than 5 % of cases."""
    interval = found.interval if found.relative_interval is None else found.relative_interval
    if interval is None:
        return "inconclusive"
    if max(map(abs, interval)) <= _limit(name, found, margin):
        return "same"
    if p >= LEVEL:
        return "inconclusive"
    metric = name.partition(".")[0]
    if metric in NEITHER:
        return "differs"
    return "better" if (found.absolute > 0) == (metric in HIGHER) else "worse"


def _limit(name: str, found: Difference, margin: float) -> float:
    """The margin, in the terms in which the difference is judged; none where there is nothing to take a share of."""
    return ERROR_RATE_MARGIN if name == "error_rate" else 0.0 if found.relative_interval is None else margin


def _wanted(name: str, pair: _Pair, tests: int, margin: float) -> tuple[int | None, Literal["requests", "runs"] | None]:
    runs, found = max(pair.base.runs, pair.new.runs), pair.found
    if name == "error_rate":
        return _wanted_failures(pair), "requests"
    if found.relative is None:
        return None, None
    if runs > 1:
        return contrast.runs_needed(found, margin, tests, runs), "runs"
    most = max(pair.base.count, pair.new.count)
    asked = contrast.requests_needed(pair.base, pair.new, found, margin, tests)
    return round_up(max(MIN_GROWTH * most, asked or DEFAULT_REQUESTS)), "requests"


def _wanted_failures(pair: _Pair) -> int:
    """As for independent trials with the share of failures there was, or half of what is to be told apart."""
    share = max((pair.base.value + pair.new.value) / 2, ERROR_RATE_MARGIN / 2)
    return round_up(
        2 * share * (1 - share) * (contrast.errors_to_detect(distributions.MANY, 1) / ERROR_RATE_MARGIN) ** 2
    )


def round_up(value: float) -> int:
    """Rounded up to two figures."""
    step: int = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step


def overall_verdict(figures: Sequence[Figure]) -> Literal["better", "worse", "mixed", "same", "inconclusive"]:
    """Of the headline families."""
    found = {figure.verdict for figure in figures if figure.family in HEADLINE}
    if "better" in found and "worse" in found:
        return "mixed"
    for verdict in ("better", "worse", "inconclusive"):
        if verdict in found:
            return verdict
    return "same" if found else "inconclusive"
