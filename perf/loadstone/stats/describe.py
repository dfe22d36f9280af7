"""Statistics of one series of measurements: percentiles, and 95 % intervals that allow for correlated neighbours.

Pure numpy on values in time order. A figure that the sample is too small for is None, never a guess, and `refused` says
why an interval is. docs/statistics.md tells how often the intervals hold.
"""

from __future__ import annotations

import numpy as np

from loadstone.stats.autocorrelation import Autocorrelation, autocorrelation, batches
from loadstone.stats.intervals import MIN_SAMPLES, Sample, intervals, leaders, too_few
from loadstone.summary import Metric
from loadstone.units import Array

__all__ = ["MIN_SAMPLES", "PERCENTILES", "Array", "describe", "effective_size", "enough", "percentile"]


PERCENTILES = {
    "p1": 0.01,
    "p5": 0.05,
    "p25": 0.25,
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p99.9": 0.999,
}


def describe(values: Array, unit: str, note: str | None = None) -> Metric:
    """Mean, deviation, percentiles and intervals of `values`, which are in time order. NaN values are left out."""
    values = values[~np.isnan(values)]
    count = len(values)
    if count == 0:
        return Metric(unit=unit, n=0, note=note)
    ranked, mean = np.sort(values), float(values.mean())
    shares = {name: share for name, share in PERCENTILES.items() if enough(count, share)}
    std = float(values.std(ddof=1)) if count > 1 else None
    if count < MIN_SAMPLES or std is None:
        ci95, refused = too_few(count, ["mean", *shares])
    else:
        sample = Sample(count, mean, std, _skewness(values - mean), lambda place: _at(ranked, place))
        ci95, refused = intervals(sample, _memory(values, ranked, shares), shares)
    points = {name.replace(".", ""): _at(ranked, share * (count - 1)) for name, share in shares.items()}
    return Metric(
        unit=unit,
        n=count,
        mean=mean,
        std=std,
        min=float(ranked[0]),
        max=float(ranked[-1]),
        ci95=ci95,
        refused=refused,
        note=note,
        **points,
    )


def percentile(ranked: Array, share: float) -> float | None:
    """Linear interpolation between order statistics (numpy's default, as the peers use). None where fewer than one
    sample is expected beyond it: a p99 takes 100 samples."""
    return _at(ranked, share * (len(ranked) - 1)) if enough(len(ranked), share) else None


def enough(count: float, share: float) -> bool:
    return count * min(share, 1 - share) >= 1 - 1e-9


def effective_size(values: Array) -> float:
    """Number of independent samples that would tell as much about the mean as these, which are in time order. Never
    more than n."""
    if len(values) < 2:
        return float(len(values))
    found = autocorrelation(batches(values)[None], np.array([values.var()]), [0])
    return len(values) / max(1.0, float(found.inflation[0]))


def _memory(values: Array, ranked: Array, shares: dict[str, float]) -> Autocorrelation:
    """Of the values, and of whether they are at or below each percentile."""
    rows, spreads = [batches(values)], [float(values.var())]
    for share in shares.values():
        below = values <= _at(ranked, share * (len(values) - 1))
        part = np.count_nonzero(below) / len(values)
        rows.append(batches(below))
        spreads.append(part * (1 - part))
    return autocorrelation(np.stack(rows), np.array(spreads), leaders(["mean", *shares]))


def _skewness(centred: Array) -> float:
    squares = centred * centred
    variance = float(squares.mean())
    return float(squares @ centred) / len(centred) / variance**1.5 if variance else 0.0


def _at(ranked: Array, place: float) -> float:
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return float(ranked[low] + (ranked[high] - ranked[low]) * (place - low))
