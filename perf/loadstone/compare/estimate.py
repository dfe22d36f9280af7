"""The figures of one run as estimates: each metric's mean and percentiles, and the rates, with how sure each is.

Pure. The values are those of the summary; what they vary by is found by blocks of requests in order of sending, for
rates by slices of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.compare import difference
from loadstone.compare.difference import Estimate
from loadstone.metrics import chart_data, groups, windows
from loadstone.metrics.chart_data import Curve
from loadstone.metrics.columns import Columns, Requests
from loadstone.metrics.groups import GroupMembers
from loadstone.metrics.measure import Values, meets_all, per_request
from loadstone.stats import blocks
from loadstone.stats.describe import MIN_SAMPLES
from loadstone.summary import Metric, Summary
from loadstone.units import S_PER_NS, Array, Mask

Which = Literal["whole", "steady"]
STATS = {"mean": None, "p50": 0.5, "p95": 0.95, "p99": 0.99}
SERIES = (
    "ttft", "tpot", "latency", "ttft_scheduled", "ttfat", "packet_time", "packets", "input_tokens", "output_tokens",
)  # fmt: skip
POOLED = ("gap", "itl")
RATES = ("qps", "output_throughput", "total_throughput", "goodput", "error_rate")
# Metrics of which the distribution is kept, to be drawn.
DRAWN = ("ttft", "tpot", "latency", "gap")
# Pooled values that are sorted; of more, every so-manieth.
THIN = 2_000_000
SLICES = 20, 400


class Figures(Struct, frozen=True):
    """By name, `ttft.p99` or `qps`; what was not measured is absent. `curves` by metric."""

    estimates: dict[str, Estimate]
    curves: dict[str, Curve]


def estimate(summary: Summary, columns: Columns, which: Which = "whole") -> Figures:
    """All figures of a run, of the whole of it or of its steady window."""
    span = windows.whole(columns.requests)
    high = windows.steady(columns.requests, span) if span else None
    if span is None or (which == "steady" and high is None):
        return Figures({}, {})
    if which == "steady" and high is not None and summary.steady is not None:
        part, window = groups.steady(columns.requests, high), summary.steady
        return _figures(columns, part, window.metrics, window.rates, summary.run)
    return _figures(columns, groups.whole(columns.requests, span), summary.metrics, summary.rates, summary.run)


def _figures(
    columns: Columns,
    part: GroupMembers,
    metrics: Mapping[str, Metric],
    rates: Mapping[str, float | None],
    run: Mapping[str, Any],
) -> Figures:
    rows, values = part.members & columns.requests.ok, per_request(columns.requests)
    found, least = Figures({}, {}), _memory(columns.requests, values, rows)
    for name in SERIES:
        _series(found, name, values[name][0][rows], least)
    for name in POOLED:
        metric = metrics.get(name)
        if metric is not None and metric.n and not (name == "itl" and metric == metrics.get("gap")):
            _pooled(found, name, metric, columns, rows, least)
    found.estimates.update(_rates(columns, part, rates, (run.get("config") or {}).get("goodput") or {}, least))
    return found


def _memory(r: Requests, values: Values, rows: Mask) -> float:
    """How many requests it takes until the server's state is another: by TTFT, by TPOT, and by the number in flight
    that each request found when it was sent."""
    sent = ~np.isnan(r.sent)
    found = np.arange(int(sent.sum())) - np.searchsorted(np.sort(r.end[sent]), r.sent[sent])
    series = [values[name][0][rows] for name in ("ttft", "tpot")]
    return blocks.longest_block([found[rows[sent]].astype(np.float64), *(each[~np.isnan(each)] for each in series)])


def _series(found: Figures, name: str, values: Array, least: float) -> None:
    """A metric with one value a request."""
    values = values[~np.isnan(values)]
    if not len(values):
        return
    ranked = np.sort(values)
    for stat, share in STATS.items():
        figure = difference.mean(values, least) if share is None else difference.quantile(values, ranked, share, least)
        if figure is not None:
            found.estimates[f"{name}.{stat}"] = figure
    if name in DRAWN:
        found.curves[name] = chart_data.curve(ranked)


class _Chunk(Struct, frozen=True):
    """Values, the requests they are of, and how many times each counts."""

    values: Array
    owners: NDArray[np.int64]
    times: Array | None

    def sums(self, what: Array | Mask | None, size: int) -> Array:
        """Over each request, of `what` or of the number of values."""
        weights = what if self.times is None else self.times if what is None else what * self.times
        return np.bincount(self.owners, weights=weights, minlength=size).astype(np.float64)


def _pooled(found: Figures, name: str, metric: Metric, columns: Columns, rows: Mask, least: float) -> None:
    """A metric with many values a request: figures are ratios of sums over requests, which blocks of them vary."""
    points = {stat: share for stat, share in STATS.items() if share and getattr(metric, stat) is not None}
    size, stride = len(rows), max(1, metric.n // THIN)
    counts, totals, kept = np.zeros(size), np.zeros(size), []
    below = {(stat, equal): np.zeros(size) for stat in points for equal in (True, False)}
    for chunk in _chunks(columns, rows, spread=name == "itl"):
        counts += chunk.sums(None, size)
        totals += chunk.sums(chunk.values, size)
        thinned = chunk.values if chunk.times is None else np.repeat(chunk.values, chunk.times.astype(np.int64))
        kept.append(thinned[::stride])
        for stat in points:
            below[stat, True] += chunk.sums(chunk.values <= getattr(metric, stat), size)
            below[stat, False] += chunk.sums(chunk.values < getattr(metric, stat), size)
    own = counts > 0
    if not own.any():
        return
    ranked, count = np.sort(np.concatenate(kept)), int(own.sum())
    mean, found_mean = float(totals.sum() / counts.sum()), _ratio(totals[own], counts[own], least)
    if found_mean is not None:
        found.estimates[f"{name}.mean"] = difference.even(mean, *found_mean, count)
    else:
        found.estimates[f"{name}.mean"] = Estimate(mean, None, None, 1.0, count)
    for stat, share in points.items():
        value = float(getattr(metric, stat))
        errors = [_ratio(below[stat, equal][own], counts[own], least) for equal in (True, False)]
        error = max((each for each in errors if each is not None), default=None)
        if error is None:
            found.estimates[f"{name}.{stat}"] = Estimate(value, None, None, 1.0, count)
            continue
        independent = math.sqrt(share * (1 - share) / counts.sum())
        apart = max(error[0], independent)
        found.estimates[f"{name}.{stat}"] = difference.reach(value, ranked, share, apart, error[1], count)
    if name in DRAWN:
        found.curves[name] = chart_data.curve(ranked)


def _ratio(sums: Array, counts: Array, least: float) -> tuple[float, float] | None:
    """Standard error of the ratio of both totals, by its linear form (Cochran, Sampling Techniques, 6.4), and the
    degrees of freedom; None with too few requests."""
    if len(sums) < MIN_SAMPLES:
        return None
    found = blocks.block_variance(sums - sums.sum() / counts.sum() * counts, least)
    return math.sqrt(found.variance) / float(counts.mean()), found.freedom


def _chunks(columns: Columns, rows: Mask, spread: bool) -> Iterator[_Chunk]:
    """Gaps in seconds or, `spread`, those over the tokens of each event where they are known, with their requests."""
    gaps = columns.events.gaps(rows)
    for (places, _), gap in zip(columns.events.arrivals_of(rows), gaps, strict=True):
        owners, values = places[1:][places[1:] == places[:-1]], np.asarray(gap.gap * S_PER_NS, dtype=np.float64)
        if not spread or gap.tokens is None:
            yield _Chunk(values, owners, None)
            continue
        known = gap.tokens > 0
        tokens = gap.tokens[known]
        yield _Chunk(np.asarray(values[known] / tokens, dtype=np.float64), owners[known], tokens)


def _rates(
    columns: Columns,
    part: GroupMembers,
    rates: Mapping[str, float | None],
    slos: Mapping[str, float],
    least: float,
) -> dict[str, Estimate]:
    """The rates that are known; they vary as the slices of time do in which things are counted."""
    r, found = columns.requests, {}
    done = part.counted & r.ok & windows.within(r.end, part.span)
    count = int(done.sum())
    edges = np.linspace(*part.span, max(SLICES[0], min(SLICES[1], count // 4)) + 1)
    for name, counted in _counts(columns, part, done, slos).items():
        value = rates.get(name)
        if value is not None:
            found[name] = _rate(value, counted(edges), edges, count, least)
    judged = part.members & r.judged
    if rates.get("error_rate") is not None:
        found["error_rate"] = _failing(~r.ok[judged], least)
    return found


def _counts(
    columns: Columns, part: GroupMembers, done: Mask, slos: Mapping[str, float]
) -> dict[str, Callable[[Array], Array]]:
    """What is counted for each rate: a function from the edges of slices to the number in each."""
    r, rows = columns.requests, part.counted & columns.requests.ok
    incoming = np.where(np.isnan(r.first), r.end, r.first)[rows], r.input_tokens[rows]

    def output(edges: Array) -> Array:
        return _booked(columns, rows, edges)

    def total(edges: Array) -> Array:
        came = np.histogram(incoming[0], edges, weights=incoming[1])[0]
        return np.asarray(output(edges) + came, dtype=np.float64)

    made: dict[str, Callable[[Array], Array]] = {
        "qps": lambda edges: np.histogram(r.end[done], edges)[0].astype(np.float64),
        "output_throughput": output,
        "total_throughput": total,
    }
    good = meets_all(r, slos, part.members & r.ok) if slos else None
    if good is not None:
        made["goodput"] = lambda edges: np.histogram(r.end[good], edges)[0].astype(np.float64)
    return made


def _booked(columns: Columns, rows: Mask, edges: Array) -> Array:
    """Output tokens that came in each slice, spread evenly over the events of their request as in windows.py."""
    r = columns.requests
    with np.errstate(divide="ignore", invalid="ignore"):
        each = r.output_tokens / r.packets
    whole = rows & np.isnan(r.packets)
    counted = np.histogram(r.end[whole], edges, weights=r.output_tokens[whole])[0]
    for places, at in columns.events.arrivals_of(rows):
        counted = counted + np.histogram(at, edges, weights=each[places])[0]
    return np.asarray(counted, dtype=np.float64)


def _rate(value: float, counted: Array, edges: Array, count: int, least: float) -> Estimate:
    """As the counts of slices vary; those in which the load fills up or runs dry are part of it."""
    if count < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, count)
    found = blocks.block_variance(counted, least * len(counted) / count, floor=False)
    width = float(edges[1] - edges[0]) * S_PER_NS
    return difference.even(value, math.sqrt(found.variance) / width, found.freedom, count)


def _failing(failed: Mask, least: float) -> Estimate:
    """Share of failures. Where they are few, its error is that of a share with one more success and one more failure
    (Agresti & Caffo 2000), so that none seen is not taken for none."""
    value, count = float(failed.mean()), len(failed)
    if count < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, count)
    found, likely = blocks.block_variance(failed.astype(np.float64), least), (failed.sum() + 1) / (count + 2)
    error = math.sqrt(max(found.variance, float(likely * (1 - likely)) / (count + 2)))
    return difference.even(value, error, found.freedom, count)
