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
    """Of one run. `limited`: whether there are limits at all."""

    def __init__(self, carrier: Sender, budget: RateLimiter | None, think: Think) -> None:
        self._carrier = carrier
        self._budget = budget
        self._think = think
        self.limited = budget is not None

    @property
    def held(self) -> tuple[int, int]:
        """Requests that were held back, and for how many ns all together."""
        return (0, 0) if self._budget is None else self._budget.waited

    async def allowed(self, job: PreparedRequest, now: int) -> tuple[int, float]:
        """When a request may go that is ready at `now`, and the tokens it was reckoned to have. Waits until then."""
        if self._budget is None:
            return now, 0.0
        tokens = self._budget.tokens(job.prompt, job.asked)
        at = self._budget.book(now, tokens)
        await self._think(at)
        return at, tokens

    async def carry(self, flight: InFlightRequest, ready: int, later: int, tokens: float = 0.0) -> InFlightRequest:
        """Attempt after attempt, until one succeeds, fails for good, or the run ends. Returns the last."""
        await self._carrier.carry(flight, ready, later)
        return await self.go_on(flight, later, tokens)

    async def go_on(self, flight: InFlightRequest, later: int, tokens: float) -> InFlightRequest:
        """The same from the end of the first attempt on. Nothing is to be done where that was the last, and there are
        no limits."""
        while True:
            if self._budget is not None:
                self._budget.settle(tokens, flight.reply.usage)
            if flight.again is None:
                return flight
            ready = self._carrier.clock() + round(flight.again * NS_PER_S)
            await self._think(ready)
            flight = self._carrier.next_attempt(flight)
            if not self._carrier.closing:
                ready, tokens = await self.allowed(flight.job, ready)
            if self._carrier.closing:
                waited = Failure("stopped", "waiting to be made again when the run ended")
                self._carrier.record(flight, waited, later)
                return flight
            await self._carrier.carry(flight, ready, later)
