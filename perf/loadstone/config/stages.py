"""Parse stages: parts of a run with a load of their own, a rate or a concurrency, constant or as a ramp.

Pure. `30s@2,60s@2..16` are rates in requests/s, `30s@c4,60s@c4..c64` are concurrencies. `..` is a straight ramp; with
`exp` behind it (`60s@1..64exp`) it grows by the same factor each second. `schedule/arrivals.py` makes the arrivals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from loadstone.config.kinds import parse_seconds
from loadstone.errors import ConfigError
from loadstone.units import Array

_FORM = "TIME@RATE or TIME@cCONCURRENCY, ramps as A..B or A..Bexp, such as 30s@2,60s@2..16 or 30s@c4,60s@c4..c64"
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_STAGE = re.compile(rf"([\d.]+(?:ms|s|m|min|h|))@(c?){_NUMBER}(?:\.\.(c?){_NUMBER}(exp)?)?")


class Stage(Struct, frozen=True):
    """A stage of `seconds`, from level `low` at its start to `high` at its end: requests/s, or requests in flight."""

    seconds: float
    low: float
    high: float
    concurrency: bool = False
    exponential: bool = False

    @property
    def name(self) -> str:
        """Return the stage as it is written in `--stages`."""
        mark = "c" if self.concurrency else ""
        ramp = "" if self.low == self.high else f"..{mark}{self.high:g}" + ("exp" if self.exponential else "")
        return f"{self.seconds:g}s@{mark}{self.low:g}{ramp}"

    @property
    def area(self) -> float:
        """Return the requests that a rate gives over the whole stage."""
        if self.exponential and self.low != self.high:
            return self.seconds * (self.high - self.low) / math.log(self.high / self.low)
        return self.seconds * (self.low + self.high) / 2

    def when(self, units: Array) -> Array:
        """Return the seconds at which the rate has given so many requests: the inverse of its integral."""
        if self.low == self.high:
            return units / self.low
        if self.exponential:
            growth = math.log(self.high / self.low) / self.seconds
            return np.log1p(growth * units / self.low) / growth
        slope = (self.high - self.low) / self.seconds
        bottom = self.low + np.sqrt(np.maximum(self.low**2 + 2 * slope * units, 0.0))
        return np.divide(2 * units, bottom, out=np.zeros_like(units), where=bottom > 0)

    def steps(self) -> Iterator[tuple[float, int]]:
        """Yield (second, level) where the whole number of a concurrency changes, the first at 0.

        The levels of a straight ramp last equally long; those of an exponential one while it is nearest to them.
        """
        direction = 1 if self.high >= self.low else -1
        levels = range(round(self.low), round(self.high) + direction, direction)
        for index, level in enumerate(levels):
            if not self.exponential or self.low == self.high or index == 0:
                yield self.seconds * index / len(levels), level
            else:
                reached = level - direction / 2
                yield self.seconds * math.log(reached / self.low) / math.log(self.high / self.low), level


def parse_stages(value: str) -> tuple[Stage, ...]:
    """Parse the value of `--stages`. Raises UsageError."""
    stages = []
    for text in map(str.strip, value.split(",")):
        match = _STAGE.fullmatch(text)
        if match is None:
            raise ConfigError(f"--stages takes {_FORM}, not {text!r}")
        time, mark, low, second_mark, high, growth = match.groups()
        try:
            stage = Stage(parse_seconds(time), float(low), float(high or low), mark == "c", growth is not None)
        except ValueError as exc:
            raise ConfigError(f"--stages takes {_FORM}, not {text!r}") from exc
        if second_mark and not stage.concurrency:
            raise ConfigError(f"--stages: {text!r} goes from a rate to a concurrency; write c at both ends or at none")
        if not (stage.seconds > 0 and stage.low >= 0 and stage.high >= 0 and stage.low + stage.high > 0):
            raise ConfigError(f"--stages: {text!r} needs a time and a level above 0")
        if stage.exponential and not (stage.low and stage.high):
            raise ConfigError(f"--stages: {text!r} grows by a factor, so neither end can be 0")
        whole = stage.low.is_integer() and stage.high.is_integer() and min(stage.low, stage.high) >= 1
        if stage.concurrency and not whole:
            raise ConfigError(f"--stages: a concurrency is a whole number from 1, not {text!r}")
        stages.append(stage)

    if len({stage.concurrency for stage in stages}) > 1:
        raise ConfigError("--stages takes rates (2) or concurrencies (c4), not both in one run")
    return tuple(stages)
