"""When requests are wanted: arrays of offsets in ns from the start of a run, from one generator.

Pure: an arrival process needs no clock. A law gives instants at one request per unit of time on average; a rate, or the
changing rate of a stage, stretches them.
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
    """Evenly, the first at 0."""
    return np.arange(count, dtype=np.float64)


def poisson(count: int, rng: np.random.Generator, _burstiness: float) -> Array:
    """Independent exponential gaps."""
    return np.cumsum(rng.exponential(1.0, count))


def gamma(count: int, rng: np.random.Generator, burstiness: float) -> Array:
    """Independent gamma gaps of shape `burstiness`, as in vLLM bench: 1 is poisson, below 1 bursts, above 1 is evener;
    their squared coefficient of variation is 1/burstiness."""
    return np.cumsum(rng.gamma(burstiness, 1 / burstiness, count))


# Laws by name: count, generator, burstiness -> rising instants, shape (count,).
ARRIVALS: dict[str, Callable[[int, np.random.Generator, float], Array]] = {
    "constant": constant,
    "poisson": poisson,
    "gamma": gamma,
}


class ArrivalProcess:
    """A law with its generator. `rescale`: the last of n arrivals is at n units, as vLLM bench does it, so that the
    offered rate is exact over the run, at the price of a variance that is slightly small."""

    def __init__(self, law: str, rng: np.random.Generator, burstiness: float = 1.0, rescale: bool = True) -> None:
        self._law = ARRIVALS[law]
        self._rng = rng
        self._burstiness = burstiness
        self._rescale = rescale and law != "constant"  # whose rate is exact as it is

    def at_rate(self, rate: float, count: int) -> Offsets:
        """`count` arrivals at `rate` requests/s."""
        return _whole(self._units(count) / rate)

    def within(self, rate: float, seconds: float) -> Offsets:
        """As many arrivals as fall into so many seconds; rescaled, the whole number that the rate brings."""
        return self.over_stages([Stage(seconds, rate, rate)])[0]

    def over_stages(self, stages: Sequence[Stage]) -> list[Offsets]:
        """Arrivals at the rates of stages that follow each other, those of each stage apart. What is left of a stage's
        last request counts for the next."""
        begins = np.cumsum([0.0, *(stage.seconds for stage in stages)])
        areas = np.cumsum([0.0, *(stage.area for stage in stages)])
        return [
            _whole(begins[place] + stage.when(self._fitting(areas[place], areas[place + 1])))
            for place, stage in enumerate(stages)
        ]

    def _fitting(self, before: float, after: float) -> Array:
        """Units from the begin of a stage, which reaches from `before` to `after` of all units."""
        area, slack = after - before, 1e-6  # 0.29 x 100 is 28.999999999999996
        if self._law is constant:
            first, last = math.ceil(before - slack), math.ceil(after - slack)
            return np.maximum(np.arange(first, last, dtype=np.float64) - before, 0.0)
        if self._rescale:
            count = int(after + slack) - int(before + slack)
            units = self._law(count, self._rng, self._burstiness)
            return np.asarray(units * (area / units[-1]) if count else units)
        units = self._units(int(area) + 10 * int(area**0.5 / min(1.0, self._burstiness**0.5)) + 100)
        return units[units < area]

    def _units(self, count: int) -> Array:
        units = self._law(count, self._rng, self._burstiness)
        return units * (count / units[-1]) if self._rescale else units


def scale_recorded(instants: Sequence[int], speed: float) -> Offsets:
    """Recorded instants (ns), `speed` times as fast."""
    return _whole(np.asarray(instants, dtype=np.float64) / NS_PER_S / speed)


def _whole(seconds: Array) -> Offsets:
    return np.rint(seconds * NS_PER_S).astype(np.int64)
