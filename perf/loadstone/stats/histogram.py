"""Statistics of more values than one would sort: a histogram in bins less than 0.1 % wide, for each slice of time.

The same figures as stats.py gives. Number, mean, deviation, minimum and maximum are exact; percentiles are within the
width of a bin; intervals compare slices of equal time instead of batches of equal size.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from loadstone.stats.autocorrelation import Autocorrelation, autocorrelation
from loadstone.stats.describe import PERCENTILES, describe, enough
from loadstone.stats.intervals import MIN_SAMPLES, Sample, intervals, leaders, too_few
from loadstone.summary import Metric
from loadstone.units import Array

# An octave has 2**10 bins of one width, at most 1/1024 = 0.098 % of any value in it (as in HdrHistogram, G. Tene).
BIN_BITS = 10
# From a nanosecond to twelve days, in seconds. Below is one bin, which stands for 0; above, the last one.
LOW, HIGH = 2.0**-30, 2.0**20
SLICES = 64
# Excess of a slice, of what is in it, that is the rounding of a sum.
ROUNDING = 1e-12
NOTE = f"percentiles from a histogram, within 0.1 %; intervals from {SLICES} slices of time"
_SHIFT = 52 - BIN_BITS
_BASE = (int(np.float64(LOW).view(np.int64)) >> _SHIFT) - 1
BINS = (int(np.float64(HIGH).view(np.int64)) >> _SHIFT) - _BASE + 1


class Histogram:
    """Of values (seconds, not negative) that come in any order, each with its instant, which lies in `span`."""

    def __init__(self, span: tuple[float, float]) -> None:
        self._begin = span[0]
        self._rate = SLICES / max(span[1] - span[0], 1.0)
        self._counts = np.zeros((SLICES, BINS), dtype=np.uint32)
        self._sums = np.zeros(SLICES)
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._min, self._max = math.inf, -math.inf

    def add(self, values: Array, at: NDArray[np.int64]) -> None:
        if not len(values):
            return
        self._moments(values)
        slices = np.clip((at - self._begin) * self._rate, 0, SLICES - 1).astype(np.int64)
        self._sums += np.bincount(slices, weights=values, minlength=SLICES)
        low, high = int(slices.min()), int(slices.max()) + 1
        cells = np.bincount((slices - low) * BINS + _bins(values), minlength=(high - low) * BINS)
        self._counts[low:high] += cells.reshape(high - low, BINS).astype(np.uint32)

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
        ranked = _Ranked(self._counts.sum(axis=0, dtype=np.int64), self._min, self._max)
        shares = {name: share for name, share in PERCENTILES.items() if enough(self._count, share)}
        std = math.sqrt(self._squares / (self._count - 1))
        filled, figures = int((self._counts.any(axis=1)).sum()), ["mean", *shares]
        if filled < MIN_SAMPLES:
            ci95, refused = too_few(filled, figures, "slices of time")
        else:
            sample = Sample(self._count, self._mean, std, ranked.skewness(self._mean), ranked.at)
            ci95, refused = intervals(sample, self._memory(ranked, shares), shares)
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
            **{name.replace(".", ""): ranked.at(share * (self._count - 1)) for name, share in shares.items()},
        )

    def _memory(self, ranked: _Ranked, shares: dict[str, float]) -> Autocorrelation:
        """Of the values, and of whether they are at or below each percentile: what each slice has too much, for the
        number of values in it (the residuals of a ratio: Cochran, Sampling Techniques, chapter 6)."""
        bins = [ranked.bin(share * (self._count - 1)) for share in shares.values()]
        below, sizes = self._until(bins), self._counts.sum(axis=1, dtype=np.int64)
        parts = below.sum(axis=1) / self._count
        excess = np.vstack([self._sums - self._mean * sizes, below - parts[:, None] * sizes])
        excess[np.abs(excess) <= ROUNDING * np.vstack([self._sums, below])] = 0.0
        spread = np.r_[self._squares / self._count, parts * (1 - parts)]
        return autocorrelation(excess * math.sqrt(SLICES / self._count), spread, leaders(["mean", *shares]))

    def _until(self, bins: list[int]) -> NDArray[np.int64]:
        """How many values of each slice are in bins up to each of `bins`, which rise: a row for each of these."""
        edges = np.unique(bins)
        between = np.add.reduceat(self._counts, np.r_[0, edges + 1], axis=1, dtype=np.int64)
        return np.asarray(np.cumsum(between, axis=1).T[np.searchsorted(edges, bins)], dtype=np.int64)


class _Ranked:
    """Quantiles of a histogram by linear interpolation between order statistics, those of a bin spread evenly in it."""

    def __init__(self, counts: NDArray[np.int64], low: float, high: float) -> None:
        self._counts, self._until = counts, np.cumsum(counts)
        self._low, self._high = low, high
        self._last = int(self._until[-1]) - 1

    def at(self, place: float) -> float:
        """The value at a place from 0, with parts between two ranks."""
        rank = int(place)
        value = self._value(rank)
        return value + (self._value(min(rank + 1, self._last)) - value) * (place - rank)

    def bin(self, place: float) -> int:
        return int(np.searchsorted(self._until, int(place), "right"))

    def skewness(self, mean: float) -> float:
        """From the middles of the bins."""
        filled = np.flatnonzero(self._counts)
        apart = np.mean(_edges(filled), axis=0) - mean
        squares = self._counts[filled] * apart**2
        variance = float(squares.sum()) / (self._last + 1)
        return float(squares @ apart) / (self._last + 1) / variance**1.5 if variance else 0.0

    def _value(self, rank: int) -> float:
        """About the value of this rank, counted from 0."""
        place = int(np.searchsorted(self._until, rank, "right"))
        before = int(self._until[place] - self._counts[place])
        low, high = (float(edge[0]) for edge in _edges(np.array([place])))
        value = low + (high - low) * (rank - before + 0.5) / int(self._counts[place])
        return min(max(value, self._low), self._high)


def _bins(values: Array) -> NDArray[np.int64]:
    """The exponent and the first bits of the fraction of a double, read as one integer, number its bin."""
    bins: NDArray[np.int64] = np.ascontiguousarray(values).view(np.int64) >> _SHIFT
    bins -= _BASE
    return np.clip(bins, 0, BINS - 1, out=bins)


def _edges(places: NDArray[np.int64]) -> tuple[Array, Array]:
    """Where each bin begins and ends; the first one stands for 0."""
    low, high = ((places + _BASE + further) << _SHIFT for further in (0, 1))
    return np.where(places, low.view(np.float64), 0.0), np.where(places, high.view(np.float64), 0.0)


# Values that are sorted: 80 MB with their instants, and twice as much for a moment.
MAX_EXACT = 5_000_000


class Accumulator:
    """`span`: instants between which all values come. `exact`: how many are kept; EXACT if not said."""

    def __init__(self, span: tuple[float, float], exact: int | None = None) -> None:
        self._span = span
        self._exact = MAX_EXACT if exact is None else exact
        self._kept: list[tuple[Array, NDArray[np.int64]]] = []
        self._count = 0
        self._histogram: Histogram | None = None

    def add(self, values: Array, at: NDArray[np.int64]) -> None:
        """Values in seconds, and the instants at which they were taken, in ns."""
        self._count += len(values)
        if self._histogram is not None:
            self._histogram.add(values, at)
            return
        self._kept.append((values, at))
        if self._count > self._exact:
            self._histogram = Histogram(self._span)
            for kept in self._kept:
                self._histogram.add(*kept)
            self._kept.clear()

    def metric(self, unit: str, note: str | None = None) -> Metric:
        """Figures of all values. Empties the pool."""
        if self._histogram is not None:
            return self._histogram.metric(unit, note)
        if not self._count:
            return describe(np.empty(0), unit, note)
        at = np.concatenate([at for _, at in self._kept])
        values = np.concatenate([values for values, _ in self._kept])
        self._kept.clear()
        return describe(values[np.argsort(at, kind="stable")], unit, note)
