"""Parse and draw distributions: `128`, `uniform(64,256)`, `normal(512,128,min=16,max=2048)`.

Pure. One grammar for lengths, turns and think times; the caller knows the unit of the numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
from msgspec import Struct

from loadstone.units import Array

FORMS = (
    "a number, uniform(LOW,HIGH), normal(MEAN,SD), lognormal(MEAN,SD), exp(MEAN), gamma(MEAN,SD), zipf(A)"
    " or choice(A,B,...), each with min=A and max=B if wanted"
)
_CALL = re.compile(r"([a-z]+)\((.*)\)")
# Above it floats cannot hold every whole number, and numpy's integers overflow.
_LARGEST = 1e15


def _lognormal(rng: np.random.Generator, count: int, mean: float, sd: float) -> Array:
    """Draw values with this mean and standard deviation, which are not those of the logarithm."""
    variance = math.log1p((sd / mean) ** 2)
    return rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), count)


def _gamma(rng: np.random.Generator, count: int, mean: float, sd: float) -> Array:
    return rng.gamma((mean / sd) ** 2, sd**2 / mean, count)


class _Kind(Struct, frozen=True):
    """One kind of distribution.

    arguments: how many it takes; None: one or more.
    fits: whether its arguments make sense.
    draw: draws values, from a generator, their count and the arguments.
    """

    arguments: int | None
    fits: Callable[..., bool]
    draw: Callable[..., Array]


DISTRIBUTIONS = {
    "constant": _Kind(1, lambda _value: True, lambda _rng, count, value: np.full(count, value)),
    "uniform": _Kind(2, lambda low, high: low <= high, lambda rng, count, low, high: rng.uniform(low, high, count)),
    "normal": _Kind(2, lambda _mean, sd: sd >= 0, lambda rng, count, mean, sd: rng.normal(mean, sd, count)),
    "lognormal": _Kind(2, lambda mean, sd: 0 <= sd <= 1e3 * mean and mean > 0, _lognormal),
    "exp": _Kind(1, lambda mean: mean >= 0, lambda rng, count, mean: rng.exponential(mean, count)),
    "gamma": _Kind(2, lambda mean, sd: 1e-6 * mean <= sd <= 1e3 * mean and mean > 0, _gamma),
    "zipf": _Kind(1, lambda a: a > 1, lambda rng, count, a: rng.zipf(a, count).astype(np.float64)),
    "choice": _Kind(None, lambda *_values: True, lambda rng, count, *values: rng.choice(values, count)),
}


class Distribution(Struct, frozen=True):
    """A kind of DISTRIBUTIONS with its arguments. Values outside `low` and `high` are moved to them."""

    name: str
    args: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf

    @property
    def constant(self) -> float | None:
        """Return its only value; None if it has several."""
        return min(max(self.args[0], self.low), self.high) if self.name == "constant" else None

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """Draw `count` values, shape (count,)."""
        return np.clip(DISTRIBUTIONS[self.name].draw(rng, count, *self.args), self.low, self.high)

    def draw_integers(self, rng: np.random.Generator, count: int, least: int = 1) -> list[int]:
        """Draw `count` whole numbers of at least `least`. A uniform one has its two ends as often as the rest."""
        if self.name == "uniform":
            low, high = (math.floor(end) for end in self.args)
            drawn = rng.integers(low, high, count, endpoint=True).astype(np.float64)
        else:
            drawn = np.rint(self.draw(rng, count))
        return [max(least, int(value)) for value in np.clip(drawn, np.ceil(self.low), np.floor(self.high))]


def parse(text: str | float, number: Callable[[str], float] = float) -> Distribution:
    """Parse a distribution; `number` parses one argument. Raises ValueError, with what to write instead."""
    wrong = ValueError(f"{text!r} is not {FORMS}")
    bounds: dict[str, float] = {}
    if isinstance(text, int | float):
        name = "constant"
        arguments = [float(text)]
    else:
        call = _CALL.fullmatch(text.strip().lower())
        name, inside = (call[1], call[2]) if call else ("constant", text.strip())
        words = [word.strip().rpartition("=") for word in inside.split(",")]
        try:
            arguments = [number(value) for key, equals, value in words if not equals]
            bounds = {key.strip(): number(value.strip()) for key, equals, value in words if equals}
        except ValueError as exc:
            raise wrong from exc
    kind = DISTRIBUTIONS.get(name)
    if kind is None or not arguments or kind.arguments not in (None, len(arguments)):
        raise wrong
    if not bounds.keys() <= {"min", "max"}:
        raise wrong
    low = bounds.get("min", -math.inf)
    high = bounds.get("max", math.inf)
    if not all(abs(value) <= _LARGEST for value in [*arguments, *bounds.values()]):
        raise wrong
    if not kind.fits(*arguments) or low > high:
        raise wrong
    return Distribution(name, tuple(arguments), low, high)
