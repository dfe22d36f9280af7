"""The variance of a mean of correlated values, from overlapping blocks whose length follows from the correlation.

It is the variance of the circular block bootstrap (Politis & Romano 1992) in closed form, the limit of infinitely many
resamples: no seed, and no sampling error. Pure numpy, on values in time order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from msgspec import Struct

from loadstone.units import Array

# Factor on the length of Politis & White. Theirs minimizes the mean squared error of the variance, which is then a
# little too small; longer blocks give intervals with the right coverage (tests/bench/verdicts.py).
LENGTH_FACTOR = 2.0
# Number of blocks. More of them are too short if chance makes a series look less correlated than it is.
MIN_BLOCKS, MAX_BLOCKS = 4, 20


class BlockVariance(Struct, frozen=True):
    """The variance of a mean, its degrees of freedom, and the length of the blocks in values."""

    variance: float
    freedom: float
    block: int


def block_variance(values: Array, least: float = 1.0, floor: bool = True) -> BlockVariance:
    """Estimate the variance of the mean of at least two values.

    least: smallest length of a block.
    floor: never return less than the variance of independent values. Without it, neighbours may compensate each other,
        as the counts of consecutive slices of time do.

    Blocks miss the correlation across their ends. The difference between long and short blocks corrects for that (the
    lugsail estimator of Vats & Flegal 2021, with r = 3 and c = 1/2).
    """
    count, independent = len(values), float(values.var(ddof=1)) / len(values)
    block = min(
        math.ceil(max(LENGTH_FACTOR * block_length(values), least, count / MAX_BLOCKS)), max(1, count // MIN_BLOCKS)
    )
    centred = values - values.mean()
    long, short = _variance(centred, block), _variance(centred, max(1, block // 3))
    variance = max(long, 2 * long - short, independent if floor else 0.0)
    return BlockVariance(variance, max(1.0, 0.75 * (count / block - 1)), block)


def _variance(centred: Array, block: int) -> float:
    """Return the variance from the means of all blocks.

    Blocks that reach beyond the end continue at the beginning, so that all values count alike. The result is corrected
    for blocks that are a large part of the series.
    """
    count = len(centred)
    sums = np.cumsum(np.r_[0.0, centred, centred[: block - 1]])
    means = (sums[block:] - sums[:-block]) / block
    return float(means @ means) * block / ((count - block) * count)


def longest_block(series: Iterable[Array]) -> float:
    """Return the length of blocks for all figures of a run, from the `series` that show the state of the server best.

    A figure with much noise of its own, such as latency with responses of many lengths, hides how slowly the state
    changes.
    """
    return max([1.0, *(LENGTH_FACTOR * block_length(values) for values in series if len(values) > 1)])


def block_length(values: Array) -> float:
    """Return the best length of blocks for a series, at least 1, for the circular block bootstrap.

    By Politis & White 2004, as corrected by Patton, Politis & White 2009.
    """
    count = len(values)
    centred = values - values.mean()
    longest = math.ceil(min(3 * math.sqrt(count), count / 3))
    if not centred.any() or count < 10:
        return 1.0

    # Autocovariances up to lag `lags`, by the Fourier transform.
    quiet = max(5, math.ceil(math.sqrt(math.log10(count))))
    lags = min(math.ceil(math.sqrt(count)) + quiet, count - 1)
    size = 1 << (2 * count - 1).bit_length()
    power = np.abs(np.fft.rfft(centred, size)) ** 2
    covariances: Array = np.asarray(np.fft.irfft(power, size)[: lags + 1] / count, dtype=np.float64)

    # The flat-top window reaches twice as far as the last significant correlation.
    last = _last_significant(covariances / covariances[0], quiet, 2 * math.sqrt(math.log10(count) / count))
    lag = np.arange(1, min(2 * max(last, 1), lags) + 1)
    weights = np.clip(2 * (1 - lag / len(lag)), 0.0, 1.0)
    weighted = weights * covariances[lag]
    long_run = float(covariances[0] + 2 * weighted.sum())
    slope = float(2 * (lag * weighted).sum())
    if long_run <= 0:
        return 1.0
    return float(min(max((1.5 * slope**2 / long_run**2) ** (1 / 3) * count ** (1 / 3), 1.0), longest))


def _last_significant(correlations: Array, quiet: int, limit: float) -> int:
    """Return the lag after which `quiet` correlations in a row are below `limit`; the last lag if there is none."""
    insignificant = np.abs(correlations[1:]) < limit
    sums = np.convolve(insignificant, np.ones(quiet), "valid")
    starts = np.flatnonzero(sums == quiet)
    return int(starts[0]) if len(starts) else len(correlations) - 1
