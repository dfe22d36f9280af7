"""Values of one metric that come in pieces: sorted at the end, or counted in a histogram if they are too many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loadstone.stats.describe import describe
from loadstone.summary import Metric
from loadstone.units import Array

if TYPE_CHECKING:
    from loadstone.stats.histogram import Histogram

# Most values that are kept and sorted: 80 MB with their instants, and twice as much while they are sorted.
MAX_EXACT = 5_000_000


class Accumulator:
    """Values of one metric, kept up to a limit and counted in a histogram beyond it.

    span: instants in ns between which all values are added.
    exact: how many values are kept, MAX_EXACT by default.
    """

    def __init__(self, span: tuple[float, float], exact: int | None = None) -> None:
        self._span = span
        self._exact = MAX_EXACT if exact is None else exact
        self._kept: list[tuple[Array, NDArray[np.int64]]] = []
        self._count = 0
        self._histogram: Histogram | None = None

    def add(self, values: Array, at: NDArray[np.int64]) -> None:
        """Add values in seconds and the instants (ns) at which they were measured."""
        self._count += len(values)
        if self._histogram is not None:
            self._histogram.add(values, at)
            return
        self._kept.append((values, at))
        if self._count > self._exact:
            from loadstone.stats.histogram import Histogram  # few runs are so large

            self._histogram = Histogram(self._span)
            for kept in self._kept:
                self._histogram.add(*kept)
            self._kept.clear()

    def metric(self, unit: str, note: str | None = None, more: Mapping[str, float] = {}) -> Metric:
        """Return the figures of all values, with the quantiles `more`. The accumulator is empty afterwards."""
        if self._histogram is not None:
            return self._histogram.metric(unit, note, more)
        if not self._count:
            return describe(np.empty(0), unit, note)
        at = np.concatenate([at for _, at in self._kept])
        values = np.concatenate([values for values, _ in self._kept])
        self._kept.clear()
        return describe(values[np.argsort(at, kind="stable")], unit, note, more)
