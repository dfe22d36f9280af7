"""The demand on a fleet: requests/s, or users with think time, with its peak and its growth. Pure.

It also parses how they are typed on the command line: every mistake is a ConfigError that says what to type.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable

from msgspec import Struct

from loadstone.config.parse import parse_fraction
from loadstone.errors import ConfigError

# Steps of the bisection for a load; each halves the error.
BISECTIONS = 60
_NUMBER = r"[0-9]+\.?[0-9]*|\.[0-9]+"
# Months of each period of growth.
_PERIODS = {"month": 1, "quarter": 3, "year": 12}


class Demand(Struct, frozen=True, kw_only=True):
    """The mean load.

    rate: requests/s
    users: number of users, if `rate` is None
    think: seconds that each user thinks between two requests
    """

    rate: float | None = None
    users: float | None = None
    think: float = 0.0

    @property
    def size(self) -> float:
        """Return the rate or the number of users, whichever is given."""
        return self.rate if self.rate is not None else self.users or 0.0

    def times(self, factor: float) -> Demand:
        """Return the demand multiplied by a factor, such as a peak or growth."""
        rate = None if self.rate is None else self.rate * factor
        users = None if self.users is None else self.users * factor
        return Demand(rate=rate, users=users, think=self.think)

    def __str__(self) -> str:
        """Return the demand for people."""
        if self.rate is not None:
            return f"{self.rate:.4g} requests/s"
        return f"{self.users:,.0f} users, {self.think:g} s think time"


# Returns the mean response time of a replica, s, at a load in requests/s. It does not fall as the load rises.
Response = Callable[[float], float]


def load_per_replica(demand: Demand, replicas: int, response: Response) -> float:
    """Return the load of one of `replicas`, requests/s.

    For users it solves N = X (Z + R(X)), the interactive response time law (Denning & Buzen, The Operational Analysis
    of Queueing Network Models, 1978), by bisection, as its right side rises.
    """
    part = demand.size / replicas
    if demand.rate is not None:
        return part
    low, high = 0.0, part / max(demand.think + response(0.0), 1e-9)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * (demand.think + response(middle)) < part else (low, middle)
    return high


def replicas_needed(demand: Demand, max_load: float, response: Response) -> int:
    """Return the fewest replicas with a load of `max_load` requests/s or less each.

    At that load a replica serves X (Z + R(X)) users.
    """
    served = max_load if demand.rate is not None else max_load * (demand.think + response(max_load))
    return max(1, math.ceil(demand.size / served * (1 - 1e-9)))


def parse_rates(text: str) -> tuple[float, ...]:
    """Parse one rate or several, requests/s: `40` or `10,40,160`."""
    return _parse_numbers(text, "--rate takes requests/s above 0 such as 40 or 10,40,160")


def parse_users(text: str) -> tuple[float, ...]:
    """Parse one number of users or several: `500` or `500,2000`."""
    return _parse_numbers(text, "--users takes numbers above 0 such as 500 or 500,2000")


def parse_prices(text: str) -> tuple[float, ...]:
    """Parse the price of a replica hour, or one for each sweep."""
    form = "--price takes a price above 0 of a replica hour such as 2.50, or one for each sweep: 2.50,4"
    return _parse_numbers(text, form)


def parse_gpus(text: str) -> tuple[int, ...]:
    """Parse the number of GPUs of a replica, or one for each sweep."""
    form = "--gpus takes the number of GPUs of a replica such as 1, or one for each sweep: 1,4"
    values = _parse_numbers(text, form)
    if not all(value.is_integer() for value in values):
        raise ConfigError(f"{form}, not {text!r}")
    return tuple(map(int, values))


def parse_peak(text: str) -> float:
    """Parse the ratio of the busiest time to the mean: `2.5` or `2.5x`."""
    form = "--peak takes a factor of 1 or more such as 2.5: the busiest time over the mean"
    value = _parse_positive(text.strip().removesuffix("x"), text, form)
    if value < 1:
        raise ConfigError(f"{form}, not {text!r}")
    return value


def parse_headroom(text: str) -> float:
    """Parse the fraction of the capacity that is kept free: `20%` or `0.2`."""
    with contextlib.suppress(ValueError):
        if (value := parse_fraction(text)) < 1:
            return value
    raise ConfigError(f"--headroom takes a fraction below 100% such as 20%, not {text!r}")


def parse_growth(text: str) -> float:
    """Parse growth such as `10%/month`, `50%/year` or `-5%/quarter` into the factor of one month, compounded."""
    match = re.fullmatch(rf"([+-]?)({_NUMBER})%\s*(?:/|per|a)\s*(\w+)", text.strip())
    form = f"--growth takes a percentage and a period such as 10%/month ({', '.join(_PERIODS)})"
    if match is None or match[3] not in _PERIODS:
        raise ConfigError(f"{form}, not {text!r}")
    factor = 1 + float(f"{match[1]}{match[2]}") / 100
    if not factor > 0:
        raise ConfigError(f"{form}; less than nothing cannot be left after {text!r}")
    return float(factor ** (1 / _PERIODS[match[3]]))


def _parse_numbers(text: str, form: str) -> tuple[float, ...]:
    return tuple(_parse_positive(part.strip(), text, form) for part in text.split(","))


def _parse_positive(text: str, whole: str, form: str) -> float:
    if not re.fullmatch(_NUMBER, text.strip()) or not float(text) > 0:
        raise ConfigError(f"{form}, not {whole!r}")
    return float(text)
