"""Arrival processes: arrays of offsets in ns from the start of a run, from one generator.

Pure: an arrival process needs no clock. A function of ARRIVALS gives arrivals at one request per unit of time on
average; a rate, or the changing rate of a stage, scales them to seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from loadstone.config.stages import Stage
from loadstone.units import NS_PER_S, Array

Offsets = NDArray[np.int64]


def constant(count: int, _rng: np.random.Generator, _burstiness: float) -> Array:
    """Return evenly spaced arrivals, the first at 0."""
    return np.arange(count, dtype=np.float64)


def poisson(count: int, rng: np.random.Generator, _burstiness: float) -> Array:
    """Return arrivals with independent exponential gaps."""
    return np.cumsum(rng.exponential(1.0, count))


def gamma(count: int, rng: np.random.Generator, burstiness: float) -> Array:
    """Return arrivals with independent gamma gaps of shape `burstiness`, as in vLLM bench.

    1 is poisson, below 1 is burstier, above 1 is more even; the squared coefficient of variation is 1/burstiness.
    """
    return np.cumsum(rng.gamma(burstiness, 1 / burstiness, count))


# By name: (count, generator, burstiness) -> rising arrivals in units, shape (count,).
ARRIVALS: dict[str, Callable[[int, np.random.Generator, float], Array]] = {
    "constant": constant,
    "poisson": poisson,
    "gamma": gamma,
}


class ArrivalProcess:
    """An arrival process with its generator."""

    def __init__(self, name: str, rng: np.random.Generator, burstiness: float = 1.0, rescale: bool = True) -> None:
        """Prepare a process of ARRIVALS.

        rescale: put the last of n arrivals at n units, as vLLM bench does. The offered rate is exact over the run then,
            at the price of a variance that is slightly small.
        """
        self._arrivals = ARRIVALS[name]
        self._rng = rng
        self._burstiness = burstiness
        self._rescale = rescale and name != "constant"  # whose rate is exact as it is

    def at_rate(self, rate: float, count: int) -> Offsets:
        """Return `count` arrivals at `rate` requests/s."""
        return _to_ns(self._units(count) / rate)

    def within(self, rate: float, seconds: float) -> Offsets:
        """Return the arrivals within `seconds`; rescaled, the whole number that the rate gives."""
        return self.over_stages([Stage(seconds, rate, rate)])[0]

    def over_stages(self, stages: Sequence[Stage]) -> list[Offsets]:
        """Return the arrivals of each of several stages that follow each other.

        A fraction of a request that is left over in a stage counts for the next.
        """
        starts = np.cumsum([0.0, *(stage.seconds for stage in stages)])
        areas = np.cumsum([0.0, *(stage.area for stage in stages)])
        offsets = []
        for stage, start, before, after in zip(stages, starts[:-1], areas[:-1], areas[1:], strict=True):
            # Arrivals in units from the start of the stage, which has the units from `before` to `after` of all.
            area = after - before
            slack = 1e-6  # 0.29 x 100 is 28.999999999999996
            if self._arrivals is constant:
                first = math.ceil(before - slack)
                last = math.ceil(after - slack)
                units = np.maximum(np.arange(first, last, dtype=np.float64) - before, 0.0)
            elif self._rescale:
                count = int(after + slack) - int(before + slack)
                units = self._arrivals(count, self._rng, self._burstiness)
                units = np.asarray(units * (area / units[-1]) if count else units)
            else:
                # More than can fall into the area, then those that do.
                units = self._units(int(area) + 10 * int(area**0.5 / min(1.0, self._burstiness**0.5)) + 100)
                units = units[units < area]
            offsets.append(_to_ns(start + stage.when(units)))
        return offsets

    def _units(self, count: int) -> Array:
        units = self._arrivals(count, self._rng, self._burstiness)
        return units * (count / units[-1]) if self._rescale else units


def scale_recorded(times: Sequence[int], speed: float) -> Offsets:
    """Return recorded times (ns), `speed` times as fast."""
    return _to_ns(np.asarray(times, dtype=np.float64) / NS_PER_S / speed)


def _to_ns(seconds: Array) -> Offsets:
    return np.rint(seconds * NS_PER_S).astype(np.int64)
