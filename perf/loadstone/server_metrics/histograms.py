"""Times as a server's histogram has them: how many, their sum, and how many below each bound. Pure.

The mean is exact. A percentile is known by the two bounds between which it lies, and no better.
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
    """What a histogram grew by: the number and sum of its times in seconds, and how many were at or below each bound,
    the last of which is infinite."""

    count: float
    sum: float
    bounds: tuple[float, ...]
    below: Array

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count > 0.5 else None

    def __add__(self, other: HistogramGrowth) -> HistogramGrowth:
        """Of two servers; percentiles are known where their bounds are the same."""
        same = self.bounds == other.bounds
        bounds, below = (self.bounds, self.below + other.below) if same else ((), np.empty(0))
        return HistogramGrowth(self.count + other.count, self.sum + other.sum, bounds, below)

    def metric(self) -> Metric:
        """Percentiles by linear interpolation within a bucket, as Prometheus' `histogram_quantile` has them; the note
        has its bounds. None in the first bucket and beyond the last bound, where a value would be made up, and where
        the sample is too small."""
        count, places = round(self.count), self.percentiles()
        points = {name: place.value for name, place in places.items()}
        told = ", ".join(f"{name} {place}" for name, place in places.items())
        note = f"known by the bounds of its histogram: {told}" if told else None
        return Metric("s", count, mean=self.mean, **points, note=note)  # type: ignore[arg-type]

    def percentiles(self) -> dict[str, PercentileBounds]:
        """Of the percentiles for which the sample is large enough."""
        count = round(self.count)
        return {name: place for name, share in PERCENTILES.items()
                if enough(count, share) and (place := self._at(share)) is not None}  # fmt: skip

    def _at(self, share: float) -> PercentileBounds | None:
        if not len(self.below) or self.below[-1] <= 0:
            return None
        rank = share * float(self.below[-1])
        place = min(int(np.searchsorted(self.below, rank)), len(self.bounds) - 1)
        low, before = (self.bounds[place - 1], float(self.below[place - 1])) if place else (None, 0.0)
        inside = float(self.below[place]) - before
        return PercentileBounds(low, self.bounds[place], (rank - before) / inside if inside > 0 else 1.0)


class PercentileBounds(NamedTuple):
    """A quantile: between which bounds it lies, in seconds, and how far on its way from one to the other."""

    low: float | None
    high: float
    fraction: float

    @property
    def value(self) -> float | None:
        if self.low is None or math.isinf(self.high):
            return None
        return self.low + (self.high - self.low) * self.fraction

    def __str__(self) -> str:
        if self.low is None:
            return f"below {self.high * 1e3:g} ms"
        return (
            f"above {self.low * 1e3:g} ms" if math.isinf(self.high) else f"{self.low * 1e3:g} to {self.high * 1e3:g} ms"
        )
