"""The autocorrelation of a series in time order: how much its mean varies, and how well that is known.

The variance of a mean of n values is the spectrum at frequency 0 divided by n. The squares of the first cosine
coefficients estimate the spectrum there. With k of them, Student's t with k degrees of freedom applies if the spectrum
is flat over them (U. Müller, J. Econometrics 141, 2007; Lazarus, Lewis, Stock & Watson, JBES 36, 2018). A test
estimates up to which frequency it is flat.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.units import Array

# A longer series is averaged into this many batches: fast, and correlation within a batch does not matter.
MAX_BATCHES = 4096
# With fewer batches than this, only the values themselves are tested for correlation.
MIN_TESTED = 40
# Standard deviations from which on the correlation of neighbours is significant.
CRITICAL = 2.5
# Fraction of the corner frequency, where the spectrum falls to a half, over which it is taken to be flat.
FLAT_FRACTION = 0.5
# Number of coefficients at least, if the test does not limit them.
MIN_COEFFICIENTS = 8
# Distance from the mean, relative to it, that is rounding: a constant series has no correlation.
ROUNDING = 1e-12
# Smallest inflation: values that alternate count for no more than four times as many.
MIN_INFLATION = 0.25


class Autocorrelation(Struct, frozen=True):
    """The autocorrelation of several series, an entry for each.

    inflation: variance of the mean over that of as many independent values.
    freedom: degrees of freedom of the inflation.
    segments: number of independent segments in the series; infinite if no correlation is significant.
    """

    inflation: Array
    freedom: NDArray[np.int64]
    segments: Array


def autocorrelation(series: Array, variances: Array, leaders: list[int]) -> Autocorrelation:
    """Estimate the autocorrelation of each row of `series`.

    variances: of the values of each row if they were independent.
    leaders: rows whose correlation applies to all rows: a series of rare events does not show how long it lasts.
    """
    count = series.shape[1]
    mean = series.mean(axis=1, keepdims=True)
    centred = np.where(np.abs(series - mean) > ROUNDING * np.abs(mean), series - mean, 0.0)

    # The number of coefficients over which the spectrum is flat is the number of degrees of freedom.
    own = corner_frequencies(centred)
    corner = np.minimum(own, own[leaders].min())
    limit = min(max(MIN_COEFFICIENTS, 0.4 * count ** (2 / 3)), count - 1)
    freedom = np.maximum(np.minimum(limit, FLAT_FRACTION * corner * count / math.pi), 1).astype(np.int64)

    # Their mean estimates the spectrum at 0. `reach / atan(reach)` makes up for its fall within them: it is the inverse
    # of the mean of 1 / (1 + x^2) from 0 to `reach`.
    level = np.cumsum(power_spectrum(centred), axis=1)[np.arange(len(series)), freedom - 1] / freedom
    reach = (freedom + 0.5) * math.pi / count / corner
    fall: Array = np.divide(reach, np.arctan(reach), out=np.ones(len(reach)), where=reach > 0)
    inflation = np.divide(level * fall, variances, out=np.ones(len(series)), where=variances > 0)
    return Autocorrelation(np.maximum(inflation, MIN_INFLATION), freedom, corner * count / 2)


def batches(values: NDArray[np.generic]) -> Array:
    """Return sums of consecutive values over the square root of their number, at most MAX_BATCHES of them.

    If the values are independent, the batches have the same variance. Values that do not fill a batch are left out.
    """
    size = -(-len(values) // MAX_BATCHES)
    if size == 1:
        return np.asarray(values, dtype=np.float64)
    whole = values[: len(values) // size * size].reshape(-1, size)
    sums = np.count_nonzero(whole, axis=1) if whole.dtype == bool else whole.sum(axis=1, dtype=np.float64)
    return np.asarray(sums / math.sqrt(size), dtype=np.float64)


def power_spectrum(centred: Array) -> Array:
    """Return the squares of the coefficients 1, 2 ... of the cosine transform (DCT-II) of each row.

    They are those of the Fourier transform of each row followed by its mirror image.
    """
    count = centred.shape[1]
    mirrored = np.fft.rfft(np.concatenate([centred, centred[:, ::-1]], axis=1), axis=1)[:, 1:count]
    squares: Array = (mirrored.real**2 + mirrored.imag**2) / (2 * count)
    return squares


def corner_frequencies(centred: Array) -> Array:
    """Return for each row the frequency (radians per column) at which its spectrum has fallen to a half.

    It is that of an autoregressive series with the correlation of neighbours found in the row, and the lowest over
    batches of 1, 2, 4 ... columns whose neighbours are significantly correlated (von Neumann's ratio is 2 minus twice
    this correlation). Infinite if none are. The estimate of the correlation is too low by about (1 + 3 rho) / n
    (Kendall, Biometrika 41, 1954).
    """
    lowest: Array = np.full(len(centred), np.inf)
    size = 1
    while True:
        # The correlation of neighbouring columns, and the corner frequency of a series that has it.
        count = centred.shape[1]
        total = np.einsum("ij,ij->i", centred, centred)
        products = np.einsum("ij,ij->i", centred[:, 1:], centred[:, :-1])
        rho = np.divide(products, total, out=np.zeros(len(centred)), where=total > 0) + 1 / count
        unbiased = np.clip(rho * (1 + 3 / count), 1e-9, 0.999)
        significant = rho > CRITICAL / math.sqrt(count)
        corner: Array = np.where(significant, (1 - unbiased) / np.sqrt(unbiased), np.inf)
        lowest = np.minimum(lowest, corner / size)
        # Twice as many columns in each batch.
        half = count // 2
        if half < MIN_TESTED:
            return lowest
        centred = centred[:, : 2 * half].reshape(len(centred), half, 2).mean(axis=2)
        centred -= centred.mean(axis=1, keepdims=True)
        size *= 2
