"""Stretches of a run with a load of their own: a rate or a concurrency, kept, or raised or lowered all the way.

Pure. `30s@2,60s@2..16` are rates in requests/s, `30s@c4,60s@c4..c64` concurrencies; `..` is a straight ramp, and `exp`
behind it (`60s@1..64exp`) one that grows by the same factor each second. What a request's instant is, is arrivals.py's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from loadstone.config.parse import parse_seconds
from loadstone.errors import UsageError
from loadstone.units import Array

_FORM = "TIME@RATE or TIME@cCONCURRENCY, ramps as A..B or A..Bexp, such as 30s@2,60s@2..16 or 30s@c4,60s@c4..c64"
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_STAGE = re.compile(rf"([\d.]+(?:ms|s|m|min|h|))@(c?){_NUMBER}(?:\.\.(c?){_NUMBER}(exp)?)?")


class Stage(Struct, frozen=True):
    """`seconds` long, from level `low` at its begin to `high` at its end: requests/s, or requests in flight."""

    seconds: float
    low: float
    high: float
    concurrency: bool = False
    exponential: bool = False

    @property
    def name(self) -> str:
        mark = "c" if self.concurrency else ""
        ramp = "" if self.low == self.high else f"..{mark}{self.high:g}" + ("exp" if self.exponential else "")
        return f"{self.seconds:g}s@{mark}{self.low:g}{ramp}"

    @property
    def area(self) -> float:
        """Requests that a rate brings in all."""
        if self.exponential and self.low != self.high:
            return self.seconds * (self.high - self.low) / math.log(self.high / self.low)
        return self.seconds * (self.low + self.high) / 2

    def when(self, units: Array) -> Array:
        """Seconds at which so many requests have come: the inverse of the rate's integral."""
        if self.low == self.high:
            return units / self.low
        if self.exponential:
            growth = math.log(self.high / self.low) / self.seconds
            return np.log1p(growth * units / self.low) / growth
        slope = (self.high - self.low) / self.seconds
        bottom = self.low + np.sqrt(np.maximum(self.low**2 + 2 * slope * units, 0.0))
        return np.divide(2 * units, bottom, out=np.zeros_like(units), where=bottom > 0)

    def steps(self) -> Iterator[tuple[float, int]]:
        """(second, level) at which the whole number of a concurrency changes, the first at 0."""
        levels = range(round(self.low), round(self.high) + (1 if self.high >= self.low else -1), self._direction)
        yield from ((self._reached(place, len(levels)), level) for place, level in enumerate(levels))

    @property
    def _direction(self) -> int:
        return 1 if self.high >= self.low else -1

    def _reached(self, place: int, count: int) -> float:
        """The levels of a straight ramp last equally long; those of an exponential one, while it is nearest to them."""
        if not self.exponential or self.low == self.high or place == 0:
            return self.seconds * place / count
        level = round(self.low) + place * self._direction - self._direction / 2
        return self.seconds * math.log(level / self.low) / math.log(self.high / self.low)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """The stages of a `--stages` value. Raises UsageError."""
    stages = tuple(_stage(part.strip()) for part in text.split(","))
    if len({stage.concurrency for stage in stages}) > 1:
        raise UsageError("--stages takes rates (2) or concurrencies (c4), not both in one run")
    return stages


def _stage(text: str) -> Stage:
    match = _STAGE.fullmatch(text)
    if match is None:
        raise UsageError(f"--stages takes {_FORM}, not {text!r}")
    time, mark, low, second_mark, high, growth = match.groups()
    try:
        stage = Stage(parse_seconds(time), float(low), float(high or low), mark == "c", growth is not None)
    except ValueError as exc:
        raise UsageError(f"--stages takes {_FORM}, not {text!r}") from exc
    _check(stage, text, second_mark)
    return stage


def _check(stage: Stage, text: str, second_mark: str | None) -> None:
    if second_mark and not stage.concurrency:
        raise UsageError(f"--stages: {text!r} goes from a rate to a concurrency; write c at both ends or at none")
    if not (stage.seconds > 0 and stage.low >= 0 and stage.high >= 0 and stage.low + stage.high > 0):
        raise UsageError(f"--stages: {text!r} needs a time and a level above 0")
    if stage.exponential and not (stage.low and stage.high):
        raise UsageError(f"--stages: {text!r} grows by a factor, so neither end can be 0")
    whole = stage.low.is_integer() and stage.high.is_integer() and min(stage.low, stage.high) >= 1
    if stage.concurrency and not whole:
        raise UsageError(f"--stages: a concurrency is a whole number from 1, not {text!r}")
