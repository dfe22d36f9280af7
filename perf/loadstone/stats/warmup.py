"""Find out whether a series begins with a warm-up, and how long it is.

MSER-5 (White, Simulation 69, 1997; Law, Simulation Modeling and Analysis, 9.5.1) finds the cut after which the mean has
the smallest standard error. It finds one in pure noise as well, so a test decides whether the part before the cut
differs from the rest.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct

from loadstone.stats.autocorrelation import autocorrelation, batches
from loadstone.stats.intervals import MIN_SAMPLES
from loadstone.units import Array

# Values per batch mean (the 5 of MSER-5).
BATCH_SIZE = 5
# With fewer values than this, a warm-up cannot be distinguished from noise.
MIN_VALUES = 100
# Longest warm-up, as a fraction of the series. What takes longer is a drift.
MAX_FRACTION = 0.4
# Standard errors between the part before the cut and the rest. More than usual, as the cut is where noise is greatest;
# tests/bench/warmup.py measures how often noise reaches this.
CRITICAL = 4.5


class Transient(Struct, frozen=True):
    """A warm-up.

    length: number of values.
    shift: by which fraction of the steady mean the warm-up shifts the mean of the series.
    """

    length: int
    shift: float


def find_warmup(values: Array) -> Transient | None:
    """Find the warm-up of values in time order, by their ranks, so that the distribution may have any tail."""
    if len(values) < MIN_VALUES:
        return None
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values)
    length = BATCH_SIZE * mser(ranks[: len(ranks) // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE).mean(axis=1))
    if not 0 < length <= MAX_FRACTION * len(values) or abs(_standard_errors(ranks[:length], ranks[length:])) < CRITICAL:
        return None
    mean, after = float(values.mean()), float(values[length:].mean())
    return Transient(length, (mean - after) / after) if after > 0 else None


def mser(means: Array) -> int:
    """Return how many batch means to cut off so that the standard error of the rest is smallest. At most half."""
    left = np.arange(len(means), 0, -1)
    sums, squares = (np.cumsum(rows[::-1])[::-1] for rows in (means, means**2))
    errors = (squares - sums**2 / left) / left**2
    return int(np.argmin(errors[: len(means) // 2 + 1]))


def _standard_errors(cut: Array, rest: Array) -> float:
    """Return the difference of both means in standard errors; 0 if that is unknown.

    The autocorrelation is that of the second half of the rest, where no warm-up is left.
    """
    late = rest[len(rest) // 2 :]
    correlation = autocorrelation(batches(late)[None], np.array([late.var()]), [0])
    if correlation.segments[0] < MIN_SAMPLES:
        return 0.0
    inflation = max(1.0, float(correlation.inflation[0]))
    error = math.sqrt(inflation * float(rest.var()) * (1 / len(cut) + 1 / len(rest)))
    return float(cut.mean() - rest.mean()) / error if error else 0.0
