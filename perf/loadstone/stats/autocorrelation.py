"""How far a series in time order hangs together: by how much its mean varies, how sure that is, and when it is not.

The mean of n values varies by the spectrum at frequency 0 over n. The squares of the first cosine coefficients estimate
it, and with k of them Student's t with k degrees of freedom holds as long as the spectrum is flat over them (U. Müller,
J. Econometrics 141, 2007; Lazarus, Lewis, Stock & Watson, JBES 36, 2018). A test says how far it is.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.units import Array

# Batches that a longer series is put into: correlation within one does not matter, and quick it stays.
MAX_BATCHES = 4096
# Batches below which nothing is tested but the values themselves.
MIN_TESTED = 40
# Standard deviations by which neighbours must be alike to be called so.
CRITICAL = 2.5
# Of the frequency at which the spectrum of such neighbours falls to a half, how much is used.
FLAT_FRACTION = 0.5
# Coefficients, where nothing speaks against as many.
MIN_COEFFICIENTS = 8
# Distance to the mean, of the mean, that is the rounding of a sum: a constant series has no correlation.
ROUNDING = 1e-12
# The least inflation believed: values that alternate are no surer than four times as many.
MIN_INFLATION = 0.25


class Autocorrelation(Struct, frozen=True):
    """An entry for each series. `inflation`: the variance of its mean over that of as many independent values.
    `freedom`: degrees of freedom of that. `segments`: how many stretches independent of each other it consists of;
    infinite where nothing shows that neighbours are alike."""

    inflation: Array
    freedom: NDArray[np.int64]
    segments: Array


def autocorrelation(series: Array, spread: Array, leaders: list[int]) -> Autocorrelation:
    """Of the rows of `series`, whose values would have the variances `spread` were they independent. What shows in the
    `leaders` among them counts for all: a rare event does not tell how long it lasts."""
    count = series.shape[1]
    middle = series.mean(axis=1, keepdims=True)
    centred = np.where(np.abs(series - middle) > ROUNDING * np.abs(middle), series - middle, 0.0)
    own = corner_frequencies(centred)
    corner = np.minimum(own, own[leaders].min())
    most = min(max(MIN_COEFFICIENTS, 0.4 * count ** (2 / 3)), count - 1)
    freedom = np.maximum(np.minimum(most, FLAT_FRACTION * corner * count / math.pi), 1).astype(np.int64)
    level = np.cumsum(power_spectrum(centred), axis=1)[np.arange(len(series)), freedom - 1] / freedom
    inflation = np.divide(level * _bend((freedom + 0.5) * math.pi / count / corner), spread,
                          out=np.ones(len(series)), where=spread > 0)  # fmt: skip
    return Autocorrelation(np.maximum(inflation, MIN_INFLATION), freedom, corner * count / 2)


def batches(values: NDArray[np.generic]) -> Array:
    """Sums of consecutive values, over the root of how many: no more than COLUMNS, with the variance of single values
    where these are independent. Leaves out what does not fill a batch."""
    size = -(-len(values) // MAX_BATCHES)
    if size == 1:
        return np.asarray(values, dtype=np.float64)
    whole = values[: len(values) // size * size].reshape(-1, size)
    sums = np.count_nonzero(whole, axis=1) if whole.dtype == bool else whole.sum(axis=1, dtype=np.float64)
    return np.asarray(sums / math.sqrt(size), dtype=np.float64)


def power_spectrum(centred: Array) -> Array:
    """Squares of the coefficients 1, 2 ... of the cosine transform (DCT-II) of each row: the rows and their mirror
    images have no others."""
    count = centred.shape[1]
    both = np.fft.rfft(np.concatenate([centred, centred[:, ::-1]], axis=1), axis=1)[:, 1:count]
    squares: Array = (both.real**2 + both.imag**2) / (2 * count)
    return squares


def corner_frequencies(centred: Array) -> Array:
    """For each row the lowest frequency (radians a column) at which the spectrum of an autoregressive series as alike
    as its batch means would have fallen to a half, over batches of 1, 2, 4 ... columns of which neighbours are
    significantly alike (von Neumann's ratio is 2 less twice this correlation). Infinite where none are."""
    lowest: Array = np.full(len(centred), np.inf)
    size = 1
    while True:
        lowest = np.minimum(lowest, _corner(centred) / size)
        half = centred.shape[1] // 2
        if half < MIN_TESTED:
            return lowest
        centred = centred[:, : 2 * half].reshape(len(centred), half, 2).mean(axis=2)
        centred -= centred.mean(axis=1, keepdims=True)
        size *= 2


def _corner(centred: Array) -> Array:
    """The estimate of the correlation is too low by about (1 + 3 rho) / n (Kendall, Biometrika 41, 1954)."""
    count = centred.shape[1]
    total = np.einsum("ij,ij->i", centred, centred)
    shared = np.einsum("ij,ij->i", centred[:, 1:], centred[:, :-1])
    rho = np.divide(shared, total, out=np.zeros(len(centred)), where=total > 0) + 1 / count
    fair = np.clip(rho * (1 + 3 / count), 1e-9, 0.999)
    alike = rho > CRITICAL / math.sqrt(count)
    corner: Array = np.where(alike, (1 - fair) / np.sqrt(fair), np.inf)
    return corner


def _bend(reach: Array) -> Array:
    """What the mean of 1 / (1 + x^2) up to x = `reach` lacks to 1, as a factor."""
    bend: Array = np.divide(reach, np.arctan(reach), out=np.ones(len(reach)), where=reach > 0)
    return bend
