"""What is asked of a fleet: requests a second or users with think time, their peak and their growth. Pure.

Also how these are typed on the command line: every mistake is a UsageError that says what to type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from msgspec import Struct

from loadstone.errors import UsageError

BISECTIONS = 60
_NUMBER = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_PERIODS = {"month": 1, "quarter": 3, "year": 12}


class Demand(Struct, frozen=True, kw_only=True):
    """Mean load: `rate` in requests/s, or `users` of whom each thinks for `think` seconds between two requests."""

    rate: float | None = None
    users: float | None = None
    think: float = 0.0

    @property
    def size(self) -> float:
        """The one that was given."""
        return self.rate if self.rate is not None else self.users or 0.0

    def times(self, factor: float) -> Demand:
        """So many times as much: a peak, or growth."""
        rate = None if self.rate is None else self.rate * factor
        users = None if self.users is None else self.users * factor
        return Demand(rate=rate, users=users, think=self.think)

    def __str__(self) -> str:
        if self.rate is not None:
            return f"{self.rate:.4g} requests/s"
        return f"{self.users:,.0f} users, {self.think:g} s think time"


# Mean response time in seconds of a replica at a load in requests/s, which does not fall as the load rises.
Response = Callable[[float], float]


def load_per_replica(demand: Demand, replicas: int, response: Response) -> float:
    """Requests/s that one of `replicas` gets. Of users, N = X (Z + R(X)), the interactive response time law (Denning &
    Buzen, The Operational Analysis of Queueing Network Models, 1978), solved by bisection: its right side rises."""
    share = demand.size / replicas
    if demand.rate is not None:
        return share
    low, high = 0.0, share / max(demand.think + response(0.0), 1e-9)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * (demand.think + response(middle)) < share else (low, middle)
    return high


def replicas_needed(demand: Demand, most: float, response: Response) -> int:
    """The fewest replicas of which none gets more than `most` requests/s; of users, each holds X (Z + R(X)) of them."""
    held = most if demand.rate is not None else most * (demand.think + response(most))
    return max(1, math.ceil(demand.size / held * (1 - 1e-9)))


def parse_rates(text: str) -> tuple[float, ...]:
    """`40`, or several: `10,40,160`; requests/s."""
    return tuple(
        _positive(part, text, "--rate takes requests/s above 0 such as 40 or 10,40,160") for part in _parts(text)
    )


def parse_users(text: str) -> tuple[float, ...]:
    return tuple(
        _positive(part, text, "--users takes numbers above 0 such as 500 or 500,2000") for part in _parts(text)
    )


def parse_prices(text: str) -> tuple[float, ...]:
    form = "--price takes a price above 0 of a replica hour such as 2.50, or one for each sweep: 2.50,4"
    return tuple(_positive(part, text, form) for part in _parts(text))


def parse_gpus(text: str) -> tuple[int, ...]:
    form = "--gpus takes the number of GPUs of a replica such as 1, or one for each sweep: 1,4"
    found = tuple(_positive(part, text, form) for part in _parts(text))
    if not all(value.is_integer() for value in found):
        raise UsageError(f"{form}, not {text!r}")
    return tuple(map(int, found))


def parse_peak(text: str) -> float:
    """How many times the mean the busiest time is."""
    form = "--peak takes a factor of 1 or more such as 2.5: the busiest time over the mean"
    value = _positive(text.strip().removesuffix("x"), text, form)
    if value < 1:
        raise UsageError(f"{form}, not {text!r}")
    return value


def parse_headroom(text: str) -> float:
    """Share of the capacity that is kept free: `20%` or `0.2`."""
    form = "--headroom takes a share below 100% such as 20%"
    match = re.fullmatch(rf"({_NUMBER})(%?)", text.strip())
    if match is None or not 0 <= (value := float(match[1]) / (100 if match[2] else 1)) < 1:
        raise UsageError(f"{form}, not {text!r}")
    return value


def parse_growth(text: str) -> float:
    """`10%/month`, `50%/year`, `-5%/quarter`: the factor of one month, compounded."""
    match = re.fullmatch(rf"([+-]?)({_NUMBER})%\s*(?:/|per|a)\s*(\w+)", text.strip())
    form = f"--growth takes a percentage and a period such as 10%/month ({', '.join(_PERIODS)})"
    if match is None or match[3] not in _PERIODS:
        raise UsageError(f"{form}, not {text!r}")
    factor = 1 + float(f"{match[1]}{match[2]}") / 100
    if not factor > 0:
        raise UsageError(f"{form}; less than nothing cannot be left after {text!r}")
    return float(factor ** (1 / _PERIODS[match[3]]))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _positive(text: str, whole: str, form: str) -> float:
    if not re.fullmatch(_NUMBER, text.strip()) or not float(text) > 0:
        raise UsageError(f"{form}, not {whole!r}")
    return float(text)
