"""The figures of one run as estimates: mean and percentiles of each metric, and the rates, with their uncertainty.

Pure. The values are those of the summary. The variance comes from blocks of requests in order of sending; for rates,
from slices of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.compare import difference
from loadstone.compare.difference import Estimate
from loadstone.config.slo import ATTAINMENT, GATE, PERCENTILES, STATISTICS, Objective
from loadstone.metrics import chart_data, groups, windows
from loadstone.metrics.chart_data import Curve
from loadstone.metrics.columns import Columns
from loadstone.metrics.groups import GroupMembers
from loadstone.metrics.measure import meets_all, per_request
from loadstone.stats import blocks
from loadstone.stats.describe import MIN_SAMPLES
from loadstone.summary import Metric, RunInfo, Summary
from loadstone.units import S_PER_NS, Array, Mask

WindowName = Literal["whole", "steady"]
# Statistics of a metric, with their quantile.
STATS = {name: PERCENTILES.get(name) for name in STATISTICS[GATE]}
# Metrics with one value a request.
SERIES = (
    "ttft", "tpot", "latency", "ttft_scheduled", "ttfat", "packet_time", "packets", "input_tokens", "output_tokens",
)  # fmt: skip
# Metrics with many values a request.
POOLED = ("gap", "itl")
RATES = ("qps", "output_throughput", "total_throughput", "goodput", "error_rate")
# Metrics whose distribution is kept for the charts.
DRAWN = ("ttft", "tpot", "latency", "gap")
# Pooled values that are kept and sorted; of more, every n-th.
MAX_VALUES = 2_000_000
# Bounds of the number of slices of time.
MIN_SLICES, MAX_SLICES = 20, 400


class RunFigures(Struct, frozen=True):
    """The figures of a run; what was not measured is absent.

    estimates: by name, such as `ttft.p99` or `qps`
    curves: the distribution of each of DRAWN
    """

    estimates: dict[str, Estimate]
    curves: dict[str, Curve]


def estimate(
    summary: Summary, columns: Columns, which: WindowName = "whole", gates: Sequence[Objective] = ()
) -> RunFigures:
    """Estimate all figures of a run, over the whole of it or over its steady window.

    gates: also estimate the fractions of requests that they are on, and the rates of requests that meet objectives of
        their own
    """
    span = windows.whole(columns.requests)
    high = windows.steady(columns.requests, span) if span else None
    if span is None or (which == "steady" and high is None):
        return RunFigures({}, {})
    if which == "steady" and high is not None and summary.steady is not None:
        group, window = groups.steady(columns.requests, high), summary.steady
        return _figures(columns, group, window.metrics, window.rates, summary.run, gates)
    return _figures(columns, groups.whole(columns.requests, span), summary.metrics, summary.rates, summary.run, gates)


def _figures(
    columns: Columns,
    group: GroupMembers,
    metrics: Mapping[str, Metric],
    rates: Mapping[str, float | None],
    run: RunInfo,
    gates: Sequence[Objective],
) -> RunFigures:
    r = columns.requests
    rows, values = group.members & r.ok, per_request(r)
    series = {name: values[name][0][rows] for name in SERIES}

    # Block length: how many requests it takes until the state of the server is another one, by TTFT, by TPOT and by
    # the number in flight that each request met when it was sent.
    sent = ~np.isnan(r.sent)
    in_flight = np.arange(int(sent.sum())) - np.searchsorted(np.sort(r.end[sent]), r.sent[sent])
    state = [in_flight[rows[sent]].astype(np.float64)]
    state += [series[name][~np.isnan(series[name])] for name in ("ttft", "tpot")]
    min_block = blocks.longest_block(state)

    result = RunFigures({}, {})
    for name, sequence in series.items():
        _add_series(result, name, sequence[~np.isnan(sequence)], min_block)
    for name in POOLED:
        metric = metrics.get(name)
        if metric is not None and metric.n and not (name == "itl" and metric == metrics.get("gap")):
            _add_pooled(result, name, metric, columns, rows, min_block)
    slos = run.config.goodput
    result.estimates.update(_rates(columns, group, rates, slos, min_block))
    for gate in gates:
        if gate.metric == ATTAINMENT or gate.requests:
            _add_goodput(result, gate, columns, group, gate.requests or slos, min_block)
    return result


def _add_series(result: RunFigures, name: str, values: Array, min_block: float) -> None:
    """Add the figures of a metric with one value a request."""
    if not len(values):
        return
    ranked = np.sort(values)
    for stat, fraction in STATS.items():
        if fraction is None:
            result.estimates[f"{name}.{stat}"] = difference.mean(values, min_block)
        elif figure := difference.quantile(values, ranked, fraction, min_block):
            result.estimates[f"{name}.{stat}"] = figure
    if name in DRAWN:
        result.curves[name] = chart_data.curve(ranked)


class _Chunk(Struct, frozen=True):
    """Values of some events.

    values: in seconds
    owners: the index of the request of each value
    times: how many times each value counts; None: once
    """

    values: Array
    owners: NDArray[np.int64]
    times: Array | None

    def sums(self, what: Array | Mask | None, size: int) -> Array:
        """Return the sum of `what` over each of `size` requests; None: the number of values."""
        weights = what if self.times is None else self.times if what is None else what * self.times
        return np.bincount(self.owners, weights=weights, minlength=size).astype(np.float64)


def _add_pooled(result: RunFigures, name: str, metric: Metric, columns: Columns, rows: Mask, min_block: float) -> None:
    """Add the figures of a metric with many values a request: ratios of sums over requests, with blocks of requests."""
    quantiles = {stat: fraction for stat, fraction in STATS.items() if fraction and getattr(metric, stat) is not None}
    size, stride = len(rows), max(1, metric.n // MAX_VALUES)
    counts, totals, kept = np.zeros(size), np.zeros(size), []
    below = {(stat, equal): np.zeros(size) for stat in quantiles for equal in (True, False)}
    for chunk in _chunks(columns, rows, per_token=name == "itl"):
        counts += chunk.sums(None, size)
        totals += chunk.sums(chunk.values, size)
        thinned = chunk.values if chunk.times is None else np.repeat(chunk.values, chunk.times.astype(np.int64))
        kept.append(thinned[::stride])
        for stat in quantiles:
            below[stat, True] += chunk.sums(chunk.values <= getattr(metric, stat), size)
            below[stat, False] += chunk.sums(chunk.values < getattr(metric, stat), size)
    own = counts > 0
    if not own.any():
        return
    ranked, count = np.sort(np.concatenate(kept)), int(own.sum())

    # The mean.
    mean, mean_error = float(totals.sum() / counts.sum()), _ratio_error(totals[own], counts[own], min_block)
    result.estimates[f"{name}.mean"] = (
        Estimate(mean, None, None, 1.0, count) if mean_error is None else difference.symmetric(mean, *mean_error, count)
    )

    # Percentiles: by the error of the fraction of values below, with and without those that are equal.
    for stat, fraction in quantiles.items():
        value = float(getattr(metric, stat))
        errors = [_ratio_error(below[stat, equal][own], counts[own], min_block) for equal in (True, False)]
        worst = max((error for error in errors if error is not None), default=None)
        if worst is None:
            result.estimates[f"{name}.{stat}"] = Estimate(value, None, None, 1.0, count)
            continue
        error = max(worst[0], math.sqrt(fraction * (1 - fraction) / counts.sum()))
        result.estimates[f"{name}.{stat}"] = difference.quantile_with_error(
            value, ranked, fraction, error, worst[1], count
        )
    if name in DRAWN:
        result.curves[name] = chart_data.curve(ranked)


def _ratio_error(sums: Array, counts: Array, min_block: float) -> tuple[float, float] | None:
    """Return the standard error of the ratio of both totals, and its degrees of freedom; None with too few requests.

    By the linear form of the ratio (Cochran, Sampling Techniques, 6.4).
    """
    if len(sums) < MIN_SAMPLES:
        return None
    spread = blocks.block_variance(sums - sums.sum() / counts.sum() * counts, min_block)
    return math.sqrt(spread.variance) / float(counts.mean()), spread.freedom


def _chunks(columns: Columns, rows: Mask, per_token: bool) -> Iterator[_Chunk]:
    """Yield gaps in seconds with their requests; `per_token`: divided by the tokens of each event where known."""
    gaps = columns.events.gaps(rows)
    for (requests, _), gap in zip(columns.events.arrivals_of(rows), gaps, strict=True):
        owners = requests[1:][requests[1:] == requests[:-1]]
        values = np.asarray(gap.gap * S_PER_NS, dtype=np.float64)
        if not per_token or gap.tokens is None:
            yield _Chunk(values, owners, None)
            continue
        known = gap.tokens > 0
        tokens = gap.tokens[known]
        yield _Chunk(np.asarray(values[known] / tokens, dtype=np.float64), owners[known], tokens)


def _rates(
    columns: Columns,
    group: GroupMembers,
    rates: Mapping[str, float | None],
    slos: Mapping[str, float],
    min_block: float,
) -> dict[str, Estimate]:
    """Return the known rates. Their variance is that of the counts in slices of time."""
    r, result = columns.requests, dict[str, Estimate]()
    ended = group.counted & r.ok & windows.within(r.end, group.span)
    for name, count_in in _counters(columns, group, ended, slos).items():
        value = rates.get(name)
        if value is not None:
            result[name] = _rate(value, count_in, group, int(ended.sum()), min_block)
    judged = group.members & r.judged
    if rates.get("error_rate") is not None:
        result["error_rate"] = _fraction(~r.ok[judged], min_block)
    return result


def _rate(
    value: float, count_in: Callable[[Array], Array], group: GroupMembers, count: int, min_block: float
) -> Estimate:
    """Estimate a rate. `count_in`: see `_counters`; count: requests that ended."""
    if count < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, count)
    # Slices in which the load fills up or runs dry count too.
    edges = np.linspace(*group.span, max(MIN_SLICES, min(MAX_SLICES, count // 4)) + 1)
    counts = count_in(edges)
    spread = blocks.block_variance(counts, min_block * len(counts) / count, floor=False)
    width = float(edges[1] - edges[0]) * S_PER_NS
    return difference.symmetric(value, math.sqrt(spread.variance) / width, spread.freedom, count)


def _add_goodput(
    result: RunFigures,
    gate: Objective,
    columns: Columns,
    group: GroupMembers,
    slos: Mapping[str, float],
    min_block: float,
) -> None:
    """Add the figure of a gate on requests that meet objectives: their fraction, or their rate. Unknown: none."""
    r, judged = columns.requests, group.members & columns.requests.judged
    good = meets_all(r, slos, group.members & r.ok) if slos else None
    if good is None or not judged.any():
        return
    if gate.metric == ATTAINMENT:
        result.estimates[gate.name] = _fraction(good[judged], min_block)
        return
    seconds, count = (group.span[1] - group.span[0]) * S_PER_NS, int((group.counted & r.ok).sum())
    if seconds > 0:
        rate = float(good.sum() / seconds)
        result.estimates[gate.name] = _rate(rate, lambda edges: _ends_in(r.end[good], edges), group, count, min_block)


def _ends_in(ends: Array, edges: Array) -> Array:
    """Return how many requests ended in each slice of time."""
    return np.histogram(ends, edges)[0].astype(np.float64)


def _counters(
    columns: Columns, group: GroupMembers, ended: Mask, slos: Mapping[str, float]
) -> dict[str, Callable[[Array], Array]]:
    """Return for each rate a function from the edges of slices to the number that it counts in each."""
    r, rows = columns.requests, group.counted & columns.requests.ok
    input_times = np.where(np.isnan(r.first), r.end, r.first)[rows]
    input_tokens = r.input_tokens[rows]

    def output(edges: Array) -> Array:
        # Spread evenly over the events of each request, as windows.py does.
        with np.errstate(divide="ignore", invalid="ignore"):
            per_event = r.output_tokens / r.packets
        whole = rows & np.isnan(r.packets)
        counted = np.histogram(r.end[whole], edges, weights=r.output_tokens[whole])[0]
        for requests, at in columns.events.arrivals_of(rows):
            counted = counted + np.histogram(at, edges, weights=per_event[requests])[0]
        return np.asarray(counted, dtype=np.float64)

    def total(edges: Array) -> Array:
        received = np.histogram(input_times, edges, weights=input_tokens)[0]
        return np.asarray(output(edges) + received, dtype=np.float64)

    counters: dict[str, Callable[[Array], Array]] = {
        "qps": lambda edges: _ends_in(r.end[ended], edges),
        "output_throughput": output,
        "total_throughput": total,
    }
    good = meets_all(r, slos, group.members & r.ok) if slos else None
    if good is not None:
        counters["goodput"] = lambda edges: _ends_in(r.end[good], edges)
    return counters


def _fraction(chosen: Mask, min_block: float) -> Estimate:
    """Estimate a fraction of the requests, such as that of failures.

    Its error is no less than that of a fraction with one more success and one more failure (Agresti & Caffo 2000), so
    that no failure in a sample does not count as no failure ever.
    """
    value, count = float(chosen.mean()), len(chosen)
    if count < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, count)
    spread = blocks.block_variance(chosen.astype(np.float64), min_block)
    likely = (chosen.sum() + 1) / (count + 2)
    error = math.sqrt(max(spread.variance, float(likely * (1 - likely)) / (count + 2)))
    return difference.symmetric(value, error, spread.freedom, count)
