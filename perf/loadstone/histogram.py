"""Statistics of more values than one would sort: a histogram in bins less than 0.1 % wide, for each slice of time.

The same figures as stats.py gives. Number, mean, deviation, minimum and maximum are exact; percentiles are within the
width of a bin; intervals compare slices of equal time instead of batches of equal size.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loadstone.records import Metric
from loadstone.stats import BATCHES, FEWEST, PERCENTILES, effective_of, enough, student

Array = NDArray[np.float64]
FINE = 10
"""An octave has 2**10 bins of one width, at most 1/1024 = 0.098 % of any value in it (as in HdrHistogram, G. Tene)."""
LOW, HIGH = 2.0**-30, 2.0**20
"""From a nanosecond to twelve days, in seconds. Below is one bin, which stands for 0; above, the last one."""
HOW = f"percentiles from a histogram, within 0.1 %; intervals from {BATCHES} slices of time"
_SHIFT = 52 - FINE
_BASE = (int(np.float64(LOW).view(np.int64)) >> _SHIFT) - 1
BINS = (int(np.float64(HIGH).view(np.int64)) >> _SHIFT) - _BASE + 1


class Histogram:
    """Of values (seconds, not negative) that come in any order, each with its instant, which lies in `span`."""

    def __init__(self, span: tuple[float, float]) -> None:
        self._begin = span[0]
        self._rate = BATCHES / max(span[1] - span[0], 1.0)
        self._counts = np.zeros((BATCHES, BINS), dtype=np.int64)
        self._sums = np.zeros(BATCHES)
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._min, self._max = math.inf, -math.inf

    def add(self, values: Array, at: NDArray[np.int64]) -> None:
        if not len(values):
            return
        self._moments(values)
        slices = np.clip((at - self._begin) * self._rate, 0, BATCHES - 1).astype(np.int64)
        self._sums += np.bincount(slices, weights=values, minlength=BATCHES)
        low, high = int(slices.min()), int(slices.max()) + 1
        cells = np.bincount((slices - low) * BINS + _bins(values), minlength=(high - low) * BINS)
        self._counts[low:high] += cells.reshape(high - low, BINS)

    def _moments(self, values: Array) -> None:
        """Mean and sum of squared deviations of both together (Chan, Golub & LeVeque 1983, formula 2.1)."""
        count, mean = len(values), float(values.mean())
        apart, total = mean - self._mean, self._count + len(values)
        self._squares += float(values.var()) * count + apart**2 * self._count * count / total
        self._mean += apart * count / total
        self._count = total
        self._min, self._max = min(self._min, float(values.min())), max(self._max, float(values.max()))

    def metric(self, unit: str, note: str | None = None) -> Metric:
        """As stats.describe gives it; the note says how."""
        ranked = _Ranked(self._counts.sum(axis=0), self._min, self._max)
        points = {name: ranked.at(share) for name, share in PERCENTILES.items() if enough(self._count, share)}
        intervals = {"mean": self._mean_interval()}
        intervals |= {name: self._quantile_interval(ranked, PERCENTILES[name]) for name in points}
        return Metric(
            unit=unit,
            n=self._count,
            mean=self._mean,
            std=math.sqrt(self._squares / (self._count - 1)),
            min=self._min,
            max=self._max,
            ci95=intervals,
            note=HOW if note is None else f"{note}; {HOW}",
            **{name.replace(".", ""): point for name, point in points.items()},
        )

    def _mean_interval(self) -> tuple[float, float] | None:
        sizes = self._counts.sum(axis=1)
        half = _half(self._sums, sizes, self._squares / self._count, self._squares / (self._count - 1))
        return None if half is None else (self._mean - half, self._mean + half)

    def _quantile_interval(self, ranked: _Ranked, share: float) -> tuple[float, float] | None:
        """The quantiles as far around this one as the slices differ in their share at or below it."""
        below = self._counts[:, : ranked.bin(share) + 1].sum(axis=1)
        part = float(below.sum()) / self._count
        half = _half(below, self._counts.sum(axis=1), part * (1 - part), share * (1 - share))
        if half is None or share - half < 0 or share + half > 1:
            return None
        return ranked.at(share - half), ranked.at(share + half)


def _half(sums: Array | NDArray[np.int64], sizes: NDArray[np.int64], spread: float, variance: float) -> float | None:
    """Half the width of the 95 % interval of a mean of `variance`; None with too few slices that hold anything.
    `spread`: the variance by which `sums` over slices of such `sizes` would vary if samples were independent."""
    filled = sizes > 0
    if filled.sum() < FEWEST:
        return None
    return student(int(filled.sum()) - 1) * math.sqrt(variance / effective_of(sums[filled], sizes[filled], spread))


class _Ranked:
    """Quantiles of a histogram by linear interpolation between order statistics, those of a bin spread evenly in it."""

    def __init__(self, counts: NDArray[np.int64], low: float, high: float) -> None:
        self._counts, self._until = counts, np.cumsum(counts)
        self._low, self._high = low, high
        self._last = int(self._until[-1]) - 1

    def at(self, share: float) -> float:
        place = share * self._last
        rank = int(place)
        value = self._value(rank)
        return value + (self._value(min(rank + 1, self._last)) - value) * (place - rank)

    def bin(self, share: float) -> int:
        return int(np.searchsorted(self._until, int(share * self._last), "right"))

    def _value(self, rank: int) -> float:
        """About the value of this rank, counted from 0."""
        place = int(np.searchsorted(self._until, rank, "right"))
        before = int(self._until[place] - self._counts[place])
        low, high = _edges(place)
        value = low + (high - low) * (rank - before + 0.5) / int(self._counts[place])
        return min(max(value, self._low), self._high)


def _bins(values: Array) -> NDArray[np.int64]:
    """The exponent and the first bits of the fraction of a double, read as one integer, number its bin."""
    bins: NDArray[np.int64] = np.ascontiguousarray(values).view(np.int64) >> _SHIFT
    bins -= _BASE
    return np.clip(bins, 0, BINS - 1, out=bins)


def _edges(place: int) -> tuple[float, float]:
    if place == 0:
        return 0.0, 0.0
    low, high = np.array([place + _BASE, place + _BASE + 1], dtype=np.int64) << _SHIFT
    return float(low.view(np.float64)), float(high.view(np.float64))
