"""Times from a server's histogram: their number, their sum, and how many are at or below each bound.

The mean is exact. A percentile is only known to lie between two bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from loadstone.stats.describe import enough
from loadstone.summary import Metric
from loadstone.units import Array

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(slots=True)
class HistogramGrowth:
    """What a histogram grew by.

    count: number of times.
    sum: their sum, seconds.
    bounds: upper bounds of the buckets, seconds; the last is infinite.
    below: how many times are at or below each bound.
    """

    count: float
    sum: float
    bounds: tuple[float, ...]
    below: Array

    @property
    def mean(self) -> float | None:
        """Return the mean in seconds; None if there are no times."""
        return self.sum / self.count if self.count > 0.5 else None

    def __add__(self, other: HistogramGrowth) -> HistogramGrowth:
        """Add the times of another server. Percentiles are only known if both have the same bounds."""
        same = self.bounds == other.bounds
        bounds, below = (self.bounds, self.below + other.below) if same else ((), np.empty(0))
        return HistogramGrowth(self.count + other.count, self.sum + other.sum, bounds, below)

    def metric(self) -> Metric:
        """Return mean and percentiles, the latter by linear interpolation within a bucket.

        This is what Prometheus' `histogram_quantile` does; the note has the bounds. A percentile is None if the sample
        is too small, and in the first bucket and beyond the last bound, where its value would be invented.
        """
        percentiles = self.percentiles()
        points = {name: bounds.value for name, bounds in percentiles.items()}
        text = ", ".join(f"{name} {bounds}" for name, bounds in percentiles.items())
        note = f"known by the bounds of its histogram: {text}" if text else None
        return Metric("s", round(self.count), mean=self.mean, **points, note=note)  # type: ignore[arg-type]

    def percentiles(self) -> dict[str, PercentileBounds]:
        """Return the bounds of each percentile for which the sample is large enough."""
        if not len(self.below) or self.below[-1] <= 0:
            return {}
        percentiles = {}
        for name, quantile in PERCENTILES.items():
            if enough(round(self.count), quantile):
                rank = quantile * float(self.below[-1])
                index = min(int(np.searchsorted(self.below, rank)), len(self.bounds) - 1)
                low, before = (self.bounds[index - 1], float(self.below[index - 1])) if index else (None, 0.0)
                inside = float(self.below[index]) - before
                fraction = (rank - before) / inside if inside > 0 else 1.0
                percentiles[name] = PercentileBounds(low, self.bounds[index], fraction)
        return percentiles


class PercentileBounds(NamedTuple):
    """The bucket that a percentile lies in.

    low, high: its bounds, seconds.
    fraction: how far the percentile is from `low` to `high`, 0 to 1.
    """

    low: float | None
    high: float
    fraction: float

    @property
    def value(self) -> float | None:
        """Return the interpolated value in seconds; None if a bound is missing."""
        if self.low is None or math.isinf(self.high):
            return None
        return self.low + (self.high - self.low) * self.fraction

    def __str__(self) -> str:
        if self.low is None:
            return f"below {self.high * 1e3:g} ms"
        if math.isinf(self.high):
            return f"above {self.low * 1e3:g} ms"
        return f"{self.low * 1e3:g} to {self.high * 1e3:g} ms"
