"""Statistics of more values than can be sorted: a histogram with bins less than 0.1 % wide, for each slice of time.

accumulator.py uses it beyond a limit. The figures are those of describe.py: number, mean, deviation, minimum and
maximum are exact, percentiles are within the width of a bin, and intervals compare slices of equal time instead of
batches of equal size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from loadstone.stats.autocorrelation import Autocorrelation, autocorrelation
from loadstone.stats.describe import PERCENTILES, enough
from loadstone.stats.intervals import MIN_SAMPLES, Sample, intervals, leaders, too_few
from loadstone.summary import Metric
from loadstone.units import Array

# An octave has 2**10 bins of equal width, at most 1/1024 = 0.098 % of any value in it (as in HdrHistogram, G. Tene).
BIN_BITS = 10
# Range in seconds: a nanosecond to twelve days. Smaller values share a bin for 0, larger ones the last bin.
LOW, HIGH = 2.0**-30, 2.0**20
SLICES = 64
# Excess of a slice, relative to its content, that is rounding.
ROUNDING = 1e-12
NOTE = f"percentiles from a histogram, within 0.1 %; intervals from {SLICES} slices of time"
_SHIFT = 52 - BIN_BITS
_BASE = (int(np.float64(LOW).view(np.int64)) >> _SHIFT) - 1
BINS = (int(np.float64(HIGH).view(np.int64)) >> _SHIFT) - _BASE + 1


class Histogram:
    """Counts of values (seconds, not negative), in any order, by slice of time.

    span: instants in ns between which all values are added.
    """

    def __init__(self, span: tuple[float, float]) -> None:
        self._begin = span[0]
        self._rate = SLICES / max(span[1] - span[0], 1.0)
        self._counts = np.zeros((SLICES, BINS), dtype=np.uint32)
        self._sums = np.zeros(SLICES)
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._min, self._max = math.inf, -math.inf

    def add(self, values: Array, at: NDArray[np.int64]) -> None:
        """Count values and the instants (ns) at which they were measured."""
        if not len(values):
            return
        self._add_moments(values)
        slices = np.clip((at - self._begin) * self._rate, 0, SLICES - 1).astype(np.int64)
        self._sums += np.bincount(slices, weights=values, minlength=SLICES)
        low, high = int(slices.min()), int(slices.max()) + 1
        cells = np.bincount((slices - low) * BINS + _bins(values), minlength=(high - low) * BINS)
        self._counts[low:high] += cells.reshape(high - low, BINS).astype(np.uint32)

    def _add_moments(self, values: Array) -> None:
        """Update mean and sum of squared deviations (Chan, Golub & LeVeque 1983, formula 2.1)."""
        count, total = len(values), self._count + len(values)
        mean = float(values.mean())
        difference = mean - self._mean
        self._squares += float(values.var()) * count + difference**2 * self._count * count / total
        self._mean += difference * count / total
        self._count = total
        self._min, self._max = min(self._min, float(values.min())), max(self._max, float(values.max()))

    def metric(self, unit: str, note: str | None = None, more: Mapping[str, float] = {}) -> Metric:
        """Return the figures of `describe`, with a note on how they were computed."""
        ranked = _Ranked(self._counts.sum(axis=0, dtype=np.int64), self._min, self._max)
        quantiles = {name: q for name, q in (PERCENTILES | dict(more)).items() if enough(self._count, q)}
        points = {name: ranked.at(q * (self._count - 1)) for name, q in quantiles.items()}
        std = math.sqrt(self._squares / (self._count - 1))
        filled = int(self._counts.any(axis=1).sum())
        if filled < MIN_SAMPLES:
            ci95, refused = too_few(filled, ["mean", *quantiles], "slices of time")
        else:
            sample = Sample(self._count, self._mean, std, ranked.skewness(self._mean), ranked.at)
            ci95, refused = intervals(sample, self._autocorrelation(ranked, quantiles), quantiles)
        return Metric(
            unit=unit,
            n=self._count,
            mean=self._mean,
            std=std,
            min=self._min,
            max=self._max,
            ci95=ci95,
            refused=refused,
            note=NOTE if note is None else f"{note}; {NOTE}",
            more={name: points.pop(name) for name in more if name in points} if more else UNSET,
            **{name.replace(".", ""): value for name, value in points.items()},
        )

    def _autocorrelation(self, ranked: _Ranked, quantiles: dict[str, float]) -> Autocorrelation:
        """Estimate the autocorrelation of the values, and of the indicators "at or below this percentile".

        The series are the excess of each slice over what its number of values would give on average: the residuals of
        a ratio (Cochran, Sampling Techniques, chapter 6).
        """
        # How many values of each slice are at or below each percentile: a row for each percentile.
        bins = [ranked.bin(q * (self._count - 1)) for q in quantiles.values()]
        edges = np.unique(bins)
        between = np.add.reduceat(self._counts, np.r_[0, edges + 1], axis=1, dtype=np.int64)
        below = np.cumsum(between, axis=1).T[np.searchsorted(edges, bins)]

        sizes = self._counts.sum(axis=1, dtype=np.int64)
        fractions = below.sum(axis=1) / self._count
        excess = np.vstack([self._sums - self._mean * sizes, below - fractions[:, None] * sizes])
        excess[np.abs(excess) <= ROUNDING * np.vstack([self._sums, below])] = 0.0
        variances = np.r_[self._squares / self._count, fractions * (1 - fractions)]
        return autocorrelation(excess * math.sqrt(SLICES / self._count), variances, leaders(["mean", *quantiles]))


class _Ranked:
    """The values of a histogram in order. Within a bin they are spread evenly."""

    def __init__(self, counts: NDArray[np.int64], low: float, high: float) -> None:
        self._counts, self._cumulated = counts, np.cumsum(counts)
        self._low, self._high = low, high
        self._last = int(self._cumulated[-1]) - 1

    def at(self, position: float) -> float:
        """Return the value at a position, counted from 0, by linear interpolation between two ranks."""
        rank = int(position)
        value = self._value(rank)
        return value + (self._value(min(rank + 1, self._last)) - value) * (position - rank)

    def bin(self, position: float) -> int:
        """Return the number of the bin that holds a position."""
        return int(np.searchsorted(self._cumulated, int(position), "right"))

    def skewness(self, mean: float) -> float:
        """Compute the skewness from the middles of the bins."""
        filled = np.flatnonzero(self._counts)
        centred = np.mean(_edges(filled), axis=0) - mean
        squares = self._counts[filled] * centred**2
        variance = float(squares.sum()) / (self._last + 1)
        return float(squares @ centred) / (self._last + 1) / variance**1.5 if variance else 0.0

    def _value(self, rank: int) -> float:
        """Estimate the value of a rank, counted from 0."""
        index = self.bin(rank)
        before = int(self._cumulated[index] - self._counts[index])
        low, high = (float(edge[0]) for edge in _edges(np.array([index])))
        value = low + (high - low) * (rank - before + 0.5) / int(self._counts[index])
        return min(max(value, self._low), self._high)


def _bins(values: Array) -> NDArray[np.int64]:
    """Return the number of each value's bin: exponent and first bits of the fraction of a double, as one integer."""
    bins: NDArray[np.int64] = np.ascontiguousarray(values).view(np.int64) >> _SHIFT
    bins -= _BASE
    return np.clip(bins, 0, BINS - 1, out=bins)


def _edges(bins: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return the low and the high edge of each bin; both are 0 for the first one."""
    low, high = ((bins + _BASE + step) << _SHIFT for step in (0, 1))
    return np.where(bins, low.view(np.float64), 0.0), np.where(bins, high.view(np.float64), 0.0)
