"""How sure a mean of correlated neighbours is: overlapping blocks of a length that the series itself asks for.

The variance is that of the circular block bootstrap (Politis & Romano 1992) in closed form, as if resampled for ever:
no seed, and no error of its own. Pure numpy, on values in time order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from msgspec import Struct

from loadstone.units import Array

# Politis & White's length gives the variance with the least mean squared error, a little too small a variance; longer
# blocks give intervals that hold (tests/bench/verdicts.py).
LENGTH_FACTOR = 2.0
# Blocks: more would be too short wherever chance makes a series look less correlated than it is.
MIN_BLOCKS, MAX_BLOCKS = 4, 20


class BlockVariance(Struct, frozen=True):
    """Variance of a mean, the degrees of freedom behind it, and the length of the blocks it was found by."""

    variance: float
    freedom: float
    block: int


def block_variance(values: Array, least: float = 1.0, floor: bool = True) -> BlockVariance:
    """Of the mean of at least two values, by blocks of `least` values or longer. `floor`: never less than independent
    values would have; without, neighbours may make up for each other, as counts of consecutive slices of time do.

    What correlation across the ends of blocks leaves out is made up for by how much longer blocks vary more than
    shorter ones (the lugsail of Vats & Flegal 2021, with r = 3 and c = 1/2)."""
    count, independent = len(values), float(values.var(ddof=1)) / len(values)
    block = min(
        math.ceil(max(LENGTH_FACTOR * block_length(values), least, count / MAX_BLOCKS)), max(1, count // MIN_BLOCKS)
    )
    apart = values - values.mean()
    long = _variance(apart, block)
    found = max(long, 2 * long - _variance(apart, max(1, block // 3)), independent if floor else 0.0)
    return BlockVariance(found, max(1.0, 0.75 * (count / block - 1)), block)


def _variance(apart: Array, block: int) -> float:
    """By the means of all blocks, those across the end too, which go on at the beginning: else the first values would
    count little. Corrected for blocks that are no small part of it all."""
    count = len(apart)
    sums = np.cumsum(np.r_[0.0, apart, apart[: block - 1]])
    means = (sums[block:] - sums[:-block]) / block
    return float(means @ means) * block / ((count - block) * count)


def longest_block(series: Iterable[Array]) -> float:
    """Length of blocks for all figures of a run, from the `series` that show the state of the server best. A figure
    with much noise of its own, as latency has by the lengths of answers, hides how slowly the state changes below."""
    return max([1.0, *(LENGTH_FACTOR * block_length(values) for values in series if len(values) > 1)])


def block_length(values: Array) -> float:
    """Length of blocks for a series, from its own correlations: Politis & White 2004, as corrected by Patton, Politis &
    White 2009, for the circular block bootstrap. At least 1."""
    count = len(values)
    apart = values - values.mean()
    most = math.ceil(min(3 * math.sqrt(count), count / 3))
    if not apart.any() or count < 10:
        return 1.0
    run = max(5, math.ceil(math.sqrt(math.log10(count))))
    lags = min(math.ceil(math.sqrt(count)) + run, count - 1)
    covariances = _covariances(apart, lags)
    reach = _reach(covariances / covariances[0], run, 2 * math.sqrt(math.log10(count) / count))
    lag = np.arange(1, min(2 * max(reach, 1), lags) + 1)
    weights = np.clip(2 * (1 - lag / len(lag)), 0.0, 1.0)
    weighted = weights * covariances[lag]
    long_run = float(covariances[0] + 2 * weighted.sum())
    slope = float(2 * (lag * weighted).sum())
    if long_run <= 0:
        return 1.0
    return float(min(max((1.5 * slope**2 / long_run**2) ** (1 / 3) * count ** (1 / 3), 1.0), most))


def _covariances(apart: Array, lags: int) -> Array:
    """Autocovariances from lag 0 to `lags`, by the Fourier transform."""
    count = len(apart)
    size = 1 << (2 * count - 1).bit_length()
    power = np.abs(np.fft.rfft(apart, size)) ** 2
    return np.asarray(np.fft.irfft(power, size)[: lags + 1] / count, dtype=np.float64)


def _reach(correlations: Array, run: int, limit: float) -> int:
    """The lag after which `run` correlations in a row are none; the last lag where there is no such stretch."""
    none = np.abs(correlations[1:]) < limit
    sums = np.convolve(none, np.ones(run), "valid")
    found = np.flatnonzero(sums == run)
    return int(found[0]) if len(found) else len(correlations) - 1
