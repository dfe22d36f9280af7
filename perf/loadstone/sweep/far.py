"""Whether a figure stood far from its limit all through a run. Pure.

Requests that are alike are worth few independent ones, and few of these never tell a small share. Where no stretch of
the run came near the limit that does not matter: stretches are compared with it, not requests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loadstone.metrics.columns import Array
from loadstone.metrics.slo import Judgement
from loadstone.stats.distributions import quantile

STRETCHES = 5
APART = 1.25
"""How many times the figure of each stretch the limit must be, or the other way round."""


def stretches(values: Array, share: float) -> tuple[float, ...]:
    """The percentile in each fifth of the values, which are in the order sent; inf for a failure. None of them where
    a fifth is too small to have it."""
    if len(values) // STRETCHES * (1 - share) < 1:
        return ()
    return tuple(float(np.quantile(part, share, method="higher")) for part in np.array_split(values, STRETCHES))


def call(figures: Sequence[float], limit: float, risk: float) -> Judgement:
    """Met or missed where every stretch is far on one side of the limit, and the limit further from their mean than
    chance explains (Student's t over stretches)."""
    if len(figures) < STRETCHES:
        return "unresolved"
    if min(figures) >= APART * limit and _beyond([min(figure, 1e3 * limit) for figure in figures], limit, risk):
        return "missed"
    met = max(figures) * APART <= limit and _beyond(figures, limit, risk)
    return "met" if met else "unresolved"


def _beyond(figures: Sequence[float], limit: float, risk: float) -> bool:
    error = float(np.std(figures, ddof=1)) / math.sqrt(len(figures))
    return abs(limit - float(np.mean(figures))) > quantile(1 - risk, len(figures) - 1) * error
