"""Statistics of one series of measurements: percentiles, and 95 % intervals that allow for correlated neighbours.

Pure numpy on values in time order. A figure that the sample is too small for is None, never a guess.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loadstone.records import Metric

Array = NDArray[np.float64]

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
BATCHES = 32
ENOUGH = 20
"""Below this many samples no interval is given."""
FEWEST = 5
"""Batches, or slices of time, that an interval takes."""


def describe(values: Array, unit: str, note: str | None = None) -> Metric:
    """Mean, deviation, percentiles and intervals of `values`, which are in time order. NaN values are left out."""
    values = values[~np.isnan(values)]
    count = len(values)
    if count == 0:
        return Metric(unit=unit, n=0, note=note)
    ranked = np.sort(values)
    points = {name: percentile(ranked, share) for name, share in PERCENTILES.items()}
    intervals = {"mean": mean_interval(values)}
    intervals |= {
        name: quantile_interval(values, ranked, share)
        for name, share in PERCENTILES.items()
        if points[name] is not None
    }
    return Metric(
        unit=unit,
        n=count,
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if count > 1 else None,
        min=float(ranked[0]),
        max=float(ranked[-1]),
        ci95=intervals,
        note=note,
        **{name.replace(".", ""): point for name, point in points.items()},
    )


def percentile(ranked: Array, share: float) -> float | None:
    """Linear interpolation between order statistics (numpy's default, as the peers use). None where fewer than one
    sample is expected beyond it: a p99 takes 100 samples."""
    return _at(ranked, share) if enough(len(ranked), share) else None


def enough(count: int, share: float) -> bool:
    return count * min(share, 1 - share) >= 1 - 1e-9


def mean_interval(values: Array) -> tuple[float, float] | None:
    """95 % interval of the mean, by batch means (Law & Kelton, Simulation Modeling and Analysis, 9.5.3)."""
    if len(values) < ENOUGH:
        return None
    half = student(_batches(len(values)) - 1) * math.sqrt(float(values.var(ddof=1)) / effective(values))
    mean = float(values.mean())
    return mean - half, mean + half


def quantile_interval(values: Array, ranked: Array, share: float) -> tuple[float, float] | None:
    """95 % interval of a quantile: order statistics around it, as far apart as the binomial law says for the effective
    number of samples of the indicator (value <= quantile). None where it would reach beyond the sample."""
    if len(values) < ENOUGH:
        return None
    below = (values <= _at(ranked, share)).astype(np.float64)
    half = student(_batches(len(values)) - 1) * math.sqrt(share * (1 - share) / effective(below))
    if share - half < 0 or share + half > 1:
        return None
    return _at(ranked, share - half), _at(ranked, share + half)


def effective(values: Array) -> float:
    """Number of independent samples that would tell as much about the mean as these do: n over the factor by which the
    means of consecutive batches vary more than independent ones would. Never more than n."""
    count, batches = len(values), _batches(len(values))
    spread = float(values.var())
    if spread == 0:
        return float(count)
    size = count // batches
    means = values[: size * batches].reshape(batches, size).mean(axis=1)
    return count / max(1.0, size * float(means.var(ddof=1)) / spread)


def effective_of(sums: Array | NDArray[np.int64], sizes: NDArray[np.int64], spread: float) -> float:
    """The same for batches of unlike sizes, from the sums over them: the variance of a ratio (Cochran, Sampling
    Techniques, chapter 6), which for equal sizes is that of the means of batches. `spread`: variance of the samples."""
    count, batches = int(sizes.sum()), len(sizes)
    if spread <= 0:
        return float(count)
    apart = sums - sums.sum() / count * sizes
    varies = batches / (batches - 1) * float(apart @ apart) / count**2
    return count / max(1.0, varies * count / spread)


def _batches(count: int) -> int:
    return max(FEWEST, min(BATCHES, math.isqrt(count)))


def _at(ranked: Array, share: float) -> float:
    place = share * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return float(ranked[low] + (ranked[high] - ranked[low]) * (place - low))


def student(freedom: int) -> float:
    """Student's t at 97.5 % (Cornish-Fisher expansion, Abramowitz & Stegun 26.7.5; within 0.1 % from 5 degrees on)."""
    z = 1.959963984540054
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom ** (order + 1) for order, term in enumerate(terms))
