"""The demand on a fleet: requests/s, or users with think time. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

from msgspec import Struct

# Steps of the bisection for a load; each halves the error.
BISECTIONS = 60


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
