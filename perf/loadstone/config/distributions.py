"""Distributions by name, as they are typed: `128`, `uniform(64,256)`, `normal(512,128,min=16,max=2048)`.

Pure. One grammar for lengths, turns and think times; what the numbers mean, and in which unit, is the caller's affair.
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
# Above it floats are not whole numbers any more, and numpy's integers overflow.
_LARGEST = 1e15


def _lognormal(rng: np.random.Generator, count: int, mean: float, sd: float) -> Array:
    """`mean` and `sd` are those of the value, not of its logarithm."""
    variance = math.log1p((sd / mean) ** 2)
    return rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), count)


def _gamma(rng: np.random.Generator, count: int, mean: float, sd: float) -> Array:
    return rng.gamma((mean / sd) ** 2, sd**2 / mean, count)


class _Form(Struct, frozen=True):
    """A law: how many arguments it takes (None: one or more), which make sense, how `count` values are drawn."""

    arguments: int | None
    fits: Callable[..., bool]
    draw: Callable[..., Array]


DISTRIBUTIONS = {
    "constant": _Form(1, lambda _value: True, lambda _rng, count, value: np.full(count, value)),
    "uniform": _Form(2, lambda low, high: low <= high, lambda rng, count, low, high: rng.uniform(low, high, count)),
    "normal": _Form(2, lambda _mean, sd: sd >= 0, lambda rng, count, mean, sd: rng.normal(mean, sd, count)),
    "lognormal": _Form(2, lambda mean, sd: 0 <= sd <= 1e3 * mean and mean > 0, _lognormal),
    "exp": _Form(1, lambda mean: mean >= 0, lambda rng, count, mean: rng.exponential(mean, count)),
    "gamma": _Form(2, lambda mean, sd: 1e-6 * mean <= sd <= 1e3 * mean and mean > 0, _gamma),
    "zipf": _Form(1, lambda a: a > 1, lambda rng, count, a: rng.zipf(a, count).astype(np.float64)),
    "choice": _Form(None, lambda *_values: True, lambda rng, count, *values: rng.choice(values, count)),
}


class Distribution(Struct, frozen=True):
    """A law of LAWS with its arguments; values outside `low` and `high` are moved to them."""

    name: str
    args: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf

    @property
    def constant(self) -> float | None:
        """The one value it has, if it has one."""
        return min(max(self.args[0], self.low), self.high) if self.name == "constant" else None

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        """`count` values, shape (count,)."""
        return np.clip(DISTRIBUTIONS[self.name].draw(rng, count, *self.args), self.low, self.high)

    def draw_integers(self, rng: np.random.Generator, count: int, least: int = 1) -> list[int]:
        """`count` whole numbers of at least `least`; a uniform law gives both of its ends as often as the rest."""
        if self.name == "uniform":
            low, high = (math.floor(end) for end in self.args)
            drawn = rng.integers(low, high, count, endpoint=True).astype(np.float64)
        else:
            drawn = np.rint(self.draw(rng, count))
        return [max(least, int(value)) for value in np.clip(drawn, np.ceil(self.low), np.floor(self.high))]


def parse(text: str | float, number: Callable[[str], float] = float) -> Distribution:
    """The law that `text` names; `number` reads one argument. Raises ValueError, with what to write instead."""
    wrong = ValueError(f"{text!r} is not {FORMS}")
    if isinstance(text, int | float):
        name, plain, bounds = "constant", [float(text)], {}
    else:
        call = _CALL.fullmatch(text.strip().lower())
        name, inside = (call[1], call[2]) if call else ("constant", text.strip())
        parts = [part.strip().rpartition("=") for part in inside.split(",")]
        try:
            plain = [number(value) for key, equals, value in parts if not equals]
            bounds = {key.strip(): number(value.strip()) for key, equals, value in parts if equals}
        except ValueError as exc:
            raise wrong from exc
    form = DISTRIBUTIONS.get(name)
    if form is None or not plain or form.arguments not in (None, len(plain)) or not bounds.keys() <= {"min", "max"}:
        raise wrong
    low, high = bounds.get("min", -math.inf), bounds.get("max", math.inf)
    if not all(abs(value) <= _LARGEST for value in [*plain, *bounds.values()]) or not form.fits(*plain) or low > high:
        raise wrong
    return Distribution(name, tuple(plain), low, high)
