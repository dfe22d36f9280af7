"""From a load test that keeps a number of clients busy to requests that come at random: what the first says of these.

Pure. A server whose throughput is known for each number in flight is taken for a queue that serves at that rate (a
flow-equivalent server: Chandy, Herzog & Woo, Parametric Analysis of Queuing Networks, 1975). At Poisson arrivals the
number in flight then is a birth-death process, and an arrival finds what there is on average (PASTA: Wolff, 1982).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from loadstone.stats.describe import PERCENTILES
from loadstone.units import Array

BISECTIONS = 50


def arrival_rates(levels: Sequence[float], throughput: Sequence[float], figure: str) -> list[float]:
    """For each level, rising numbers of clients that were kept busy, the Poisson rate (requests/s) at which a figure is
    taken to be what it was there: for a percentile, that at which the share of arrivals which it leaves out makes more
    in flight than that; for a mean, that at which an arrival makes so many in flight on average.

    `throughput`: requests/s at each level. Between two it is interpolated; beyond the last it does not rise."""
    served = _served(levels, throughput)
    beyond = 1 - PERCENTILES[figure] if figure in PERCENTILES else None
    return [_rate(served, _above(served, int(level), beyond)) for level in levels]


def _served(levels: Sequence[float], throughput: Sequence[float]) -> Array:
    """Requests/s with 1, 2, ... in flight, never falling."""
    risen = np.maximum.accumulate(np.asarray(throughput, dtype=np.float64))
    return np.asarray(np.interp(np.arange(1, int(levels[-1]) + 1), [0.0, *levels], [0.0, *risen]), dtype=np.float64)


def _above(served: Array, level: int, share: float | None) -> Callable[[float], bool]:
    """Whether a rate is too high for a level: more than `share` of the arrivals find it full or, without a share, they
    find one less than it on average, or more."""
    numbers = np.arange(len(served) + 1)

    def found(rate: float) -> bool:
        weights, ratio = _weights(served, rate), rate / served[-1]
        rest = weights[-1] * ratio / (1 - ratio)
        total = weights.sum() + rest
        if share is not None:
            return bool(weights[level:].sum() + rest > share * total)
        return bool(weights @ numbers + rest * (len(served) + 1 / (1 - ratio)) > (level - 1) * total)

    return found


def _weights(served: Array, rate: float) -> Array:
    """Of each number in flight up to the highest level, the largest 1; beyond it they fall geometrically."""
    logs = np.r_[0.0, np.cumsum(np.log(rate) - np.log(served))]
    return np.asarray(np.exp(logs - logs.max()))


def _rate(served: Array, above: Callable[[float], bool]) -> float:
    low, high = 0.0, float(served[-1])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if above(middle) else (middle, high)
    return low
