"""A request until it has come to its end: held back by the limits a minute, and made again where it failed in passing.

Says when each attempt leaves, and lets the carrier carry it. What is wanted when, and when a run ends, is the runner's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from loadstone.engine.in_flight import InFlightRequest
from loadstone.engine.rate_limit import RateLimiter
from loadstone.engine.requests import PreparedRequest
from loadstone.engine.sender import Sender
from loadstone.records import Failure
from loadstone.units import NS_PER_S

# Waits until an instant of the clock; returns early when the run is stopped, and then `carrier.closing` holds.
Think = Callable[[int], Awaitable[None]]


class Attempts:
    """Of one run. `has_limits`: whether there are limits at all."""

    def __init__(self, carrier: Sender, budget: RateLimiter | None, think: Think) -> None:
        self._carrier = carrier
        self._budget = budget
        self._think = think
        self.has_limits = budget is not None

    @property
    def delayed(self) -> tuple[int, int]:
        """Requests that were held back, and for how many ns all together."""
        return (0, 0) if self._budget is None else self._budget.delayed

    async def wait_for_limits(self, job: PreparedRequest, now: int) -> tuple[int, float]:
        """When a request may go that is ready at `now`, and the tokens it was reckoned to have. Waits until then."""
        if self._budget is None:
            return now, 0.0
        tokens = self._budget.estimate(job.prompt, job.output_len)
        at = self._budget.reserve(now, tokens)
        await self._think(at)
        return at, tokens

    async def send(self, flight: InFlightRequest, ready: int, later: int, tokens: float = 0.0) -> InFlightRequest:
        """Attempt after attempt, until one succeeds, fails for good, or the run ends. Returns the last."""
        await self._carrier.send(flight, ready, later)
        return await self.send_retries(flight, later, tokens)

    async def send_retries(self, flight: InFlightRequest, later: int, tokens: float) -> InFlightRequest:
        """The same from the end of the first attempt on. Nothing is to be done where that was the last, and there are
        no limits."""
        while True:
            if self._budget is not None:
                self._budget.settle(tokens, flight.response.usage)
            if flight.retry_in is None:
                return flight
            ready = self._carrier.clock() + round(flight.retry_in * NS_PER_S)
            await self._think(ready)
            flight = self._carrier.next_attempt(flight)
            if not self._carrier.closing:
                ready, tokens = await self.wait_for_limits(flight.prepared, ready)
            if self._carrier.closing:
                waited = Failure("stopped", "waiting to be made again when the run ended")
                self._carrier.record(flight, waited, later)
                return flight
            await self._carrier.send(flight, ready, later)
