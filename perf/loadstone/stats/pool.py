"""The distribution of values pooled over many requests, which come chunk by chunk and are not in order of time.

Exact, by stats.py, for as many as can be sorted in the memory there is; by histogram.py from there on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadstone.stats.histogram import Histogram
from loadstone.records import Metric
from loadstone.stats.describe import describe

Array = NDArray[np.float64]
EXACT = 5_000_000
"""Values that are sorted: 80 MB with their instants, and twice as much for a moment."""


class Pool:
    """`span`: instants between which all values come. `exact`: how many are kept; EXACT if not said."""

    def __init__(self, span: tuple[float, float], exact: int | None = None) -> None:
        self._span = span
        self._exact = EXACT if exact is None else exact
        self._kept: list[tuple[Array, NDArray[np.int64]]] = []
        self._count = 0
        self._histogram: Histogram | None = None

    def add(self, values: Array, at: NDArray[np.int64]) -> None:
        """Values in seconds, and the instants at which they were taken, in ns."""
        self._count += len(values)
        if self._histogram is not None:
            self._histogram.add(values, at)
            return
        self._kept.append((values, at))
        if self._count > self._exact:
            self._histogram = Histogram(self._span)
            for kept in self._kept:
                self._histogram.add(*kept)
            self._kept.clear()

    def metric(self, unit: str, note: str | None = None) -> Metric:
        """Figures of all values. Empties the pool."""
        if self._histogram is not None:
            return self._histogram.metric(unit, note)
        if not self._count:
            return describe(np.empty(0), unit, note)
        at = np.concatenate([at for _, at in self._kept])
        values = np.concatenate([values for values, _ in self._kept])
        self._kept.clear()
        return describe(values[np.argsort(at, kind="stable")], unit, note)
