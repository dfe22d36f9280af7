"""Send one request until it succeeds or fails for good: wait for the rate limits, retry what failed in passing.

Decides when each attempt leaves; `sender.py` sends it. The runner decides which request is due, and when a run ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from loadstone.engine.in_flight import InFlightRequest
from loadstone.engine.rate_limit import RateLimiter
from loadstone.engine.requests import PreparedRequest
from loadstone.engine.sender import Sender
from loadstone.records import Failure
from loadstone.units import NS_PER_S

# Waits until an instant of the clock (ns). Returns early when the run is stopped; `sender.closing` is True then.
WaitUntil = Callable[[int], Awaitable[None]]


class Attempts:
    """The attempts of all requests of one run.

    has_limits: True if there are limits of requests or tokens per minute.
    """

    def __init__(self, sender: Sender, rate_limiter: RateLimiter | None, wait_until: WaitUntil) -> None:
        self._sender = sender
        self._rate_limiter = rate_limiter
        self._wait_until = wait_until
        self.has_limits = rate_limiter is not None

    async def wait_for_limits(self, request: PreparedRequest, now: int) -> tuple[int, float]:
        """Wait until the rate limits let a request go that is ready at `now`.

        Return that instant (ns) and the tokens estimated for the request.
        """
        if self._rate_limiter is None:
            return now, 0.0
        tokens = self._rate_limiter.estimate(request.prompt, request.output_len)
        at = self._rate_limiter.reserve(now, tokens)
        await self._wait_until(at)
        return at, tokens

    async def send_retries(self, request: InFlightRequest, turns_left: int, tokens: float) -> InFlightRequest:
        """Send the retries of a request whose first attempt has ended. Return the last attempt.

        turns_left: later turns of the conversation.
        tokens: estimate that the rate limiter reserved.

        A caller may skip this when there are no limits and `request.retry_in` is None.
        """
        while True:
            if self._rate_limiter is not None:
                self._rate_limiter.settle(tokens, request.response.usage)
            if request.retry_in is None:
                return request
            ready_at = self._sender.clock() + round(request.retry_in * NS_PER_S)
            await self._wait_until(ready_at)
            request = self._sender.next_attempt(request)
            if not self._sender.closing:
                ready_at, tokens = await self.wait_for_limits(request.prepared, ready_at)
            if self._sender.closing:
                self._sender.record(request, Failure("stopped", "waiting for its retry when the run ended"), turns_left)
                return request
            await self._sender.send(request, ready_at, turns_left)
