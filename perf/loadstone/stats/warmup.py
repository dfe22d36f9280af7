"""Whether a series begins with a warm-up that nobody has cut off, and how much of it that is.

MSER-5 (White, Simulation 69, 1997; Law, Simulation Modeling and Analysis, 9.5.1) says where to cut: where what is left
knows its mean best. It cuts somewhere in chance alone too, so a test says whether what is cut off was different.
"""

from __future__ import annotations

import math

import numpy as np
from msgspec import Struct

from loadstone.stats.autocorrelation import autocorrelation, batches
from loadstone.stats.intervals import MIN_SAMPLES
from loadstone.units import Array

BATCH_SIZE = 5
# Values below which no warm-up is told from chance.
MIN_VALUES = 100
# Of the series. What takes longer to settle is a drift.
MAX_FRACTION = 0.4
# Standard errors between what is cut off and the rest: the cut is where chance is at its greatest, so more than usual
# are called for. tests/bench/warmup.py tells how often chance gets there.
CRITICAL = 4.5


class Transient(Struct, frozen=True):
    """`length` values from the first, without which the mean would change by the share `shift` of it."""

    length: int
    shift: float


def find_warmup(values: Array) -> Transient | None:
    """Of values in time order, which may have any tail: where is found, and tested, in their ranks."""
    if len(values) < MIN_VALUES:
        return None
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable") / len(values)
    length = BATCH_SIZE * mser(ranks[: len(ranks) // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE).mean(axis=1))
    if not 0 < length <= MAX_FRACTION * len(values) or abs(_apart(ranks[:length], ranks[length:])) < CRITICAL:
        return None
    mean, after = float(values.mean()), float(values[length:].mean())
    return Transient(length, (mean - after) / after) if after > 0 else None


def mser(means: Array) -> int:
    """How many batch means to cut off: those without which the standard error of the rest is least. Up to half."""
    left = np.arange(len(means), 0, -1)
    sums, squares = (np.cumsum(rows[::-1])[::-1] for rows in (means, means**2))
    errors = (squares - sums**2 / left) / left**2
    return int(np.argmin(errors[: len(means) // 2 + 1]))


def _apart(cut: Array, rest: Array) -> float:
    """Standard errors between the means of both; 0 where that cannot be told. How the rest hangs together is looked up
    in its second half, where nothing is left of what fades."""
    late = rest[len(rest) // 2 :]
    found = autocorrelation(batches(late)[None], np.array([late.var()]), [0])
    if found.segments[0] < MIN_SAMPLES:
        return 0.0
    inflation = max(1.0, float(found.inflation[0]))
    error = math.sqrt(inflation * float(rest.var()) * (1 / len(cut) + 1 / len(rest)))
    return float(cut.mean() - rest.mean()) / error if error else 0.0
