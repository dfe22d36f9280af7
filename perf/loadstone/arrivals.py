"""When requests are wanted: arrays of offsets in ns from the start of a run, from one generator.

Pure: an arrival process needs no clock. Each takes a rate in requests/s and a count, and gives non-decreasing int64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Offsets = NDArray[np.int64]


def constant(rate: float, count: int, rng: np.random.Generator) -> Offsets:  # noqa: ARG001  all laws have one signature
    """One request every 1/rate seconds, the first at 0."""
    return _whole(np.arange(count, dtype=np.float64) * (1e9 / rate))


def poisson(rate: float, count: int, rng: np.random.Generator) -> Offsets:
    """Independent exponential gaps, rescaled so that the last arrival is at count/rate, as vLLM bench does: the offered
    rate is then exact over the run, at the price of a variance that is slightly small."""
    times = np.cumsum(rng.exponential(1.0, count))
    return _whole(times * (count / rate * 1e9 / times[-1]))


def _whole(times: NDArray[np.float64]) -> Offsets:
    return np.rint(times).astype(np.int64)


ARRIVALS: dict[str, Callable[[float, int, np.random.Generator], Offsets]] = {
    "constant": constant,
    "poisson": poisson,
}
