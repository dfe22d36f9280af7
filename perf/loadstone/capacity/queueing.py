"""From a load test that keeps a number of clients busy to requests that arrive at random.

Pure. A server whose throughput is known for each number in flight is treated as a queue that serves at that rate (a
flow-equivalent server: Chandy, Herzog & Woo, Parametric Analysis of Queuing Networks, 1975). With Poisson arrivals the
number in flight is then a birth-death process, and an arrival meets the time average (PASTA: Wolff, 1982).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from loadstone.stats.describe import PERCENTILES
from loadstone.units import Array

# Steps of the bisection for a rate; each halves the error.
BISECTIONS = 50


def arrival_rates(levels: Sequence[float], throughput: Sequence[float], figure: str) -> list[float]:
    """Return for each level the Poisson rate, requests/s, at which a figure has the value that it had there.

    levels: rising numbers of clients that were kept busy
    throughput: requests/s at each level; interpolated between levels, and constant beyond the last
    figure: `mean`, or a percentile such as `p99`

    For a percentile it is the rate at which the fraction of arrivals above the percentile makes more in flight than the
    level; for a mean, the rate at which an arrival makes as many in flight on average.
    """
    # Requests/s with 1, 2, ... in flight, never falling.
    risen = np.maximum.accumulate(np.asarray(throughput, dtype=np.float64))
    served = np.interp(np.arange(1, int(levels[-1]) + 1), [0.0, *levels], [0.0, *risen]).astype(np.float64)
    beyond = 1 - PERCENTILES[figure] if figure in PERCENTILES else None
    rates = []
    for level in levels:
        too_high = _too_high(served, int(level), beyond)
        low, high = 0.0, float(served[-1])
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (low, middle) if too_high(middle) else (middle, high)
        rates.append(low)
    return rates


def _too_high(served: Array, level: int, fraction: float | None) -> Callable[[float], bool]:
    """Return a function that tells whether a rate is too high for a level.

    It is if more than `fraction` of the arrivals meet the level; without a fraction, if they meet one less than it on
    average, or more.
    """
    numbers = np.arange(len(served) + 1)

    def too_high(rate: float) -> bool:
        # Weights of each number in flight up to the highest level, the largest 1; beyond it they fall geometrically.
        logs = np.r_[0.0, np.cumsum(np.log(rate) - np.log(served))]
        weights, ratio = np.exp(logs - logs.max()), rate / served[-1]
        rest = weights[-1] * ratio / (1 - ratio)
        total = weights.sum() + rest
        if fraction is not None:
            return bool(weights[level:].sum() + rest > fraction * total)
        return bool(weights @ numbers + rest * (len(served) + 1 / (1 - ratio)) > (level - 1) * total)

    return too_high
