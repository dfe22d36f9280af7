"""Send requests and record them: choose the server, wait for the response, the rate limits and the retries.

`runner.py` decides when a request is due, what comes after it, and when the run ends.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec
from msgspec import Struct

from loadstone.apis import API
from loadstone.apis.response_parser import ResponseParser
from loadstone.config.redact import hide_in_url
from loadstone.config.schema import Config
from loadstone.engine.history import continue_conversation
from loadstone.engine.in_flight import InFlightRequest, Timeouts
from loadstone.engine.requests import PreparedRequest, PreparedRequests
from loadstone.engine.retry_policy import RetryPolicy
from loadstone.records import Failure, FailureCause, Phase, Record
from loadstone.schedule.plan import Plan
from loadstone.text import clean
from loadstone.transport import Clock, Transport, TransportError
from loadstone.units import NS_PER_S

if TYPE_CHECKING:
    from loadstone.engine.rate_limit import RateLimiter

OnRecord = Callable[[Record], None]
# Waits until an instant of the clock (ns). Returns early when the run is stopped; `Sender.closing` is True then.
WaitUntil = Callable[[int], Awaitable[None]]
REQUEST_ID = "X-Request-Id"


class Endpoint(Struct, frozen=True):
    """One of the servers.

    transport: reaches it.
    path: of the API on it.
    models_path: of its list of models.
    url: its address, without secrets.
    origin: the address of its root, which paths follow.
    """

    transport: Transport
    path: str
    models_path: str = "/v1/models"
    url: str = ""
    origin: str = ""

    def asked(self, method: str, path: str) -> str:
        """Return method and whole address of a request, without secrets, for messages."""
        return f"{method} {hide_in_url(self.origin + path)}"


# Timeouts where no settings are given.
DEFAULT_LIMITS = Config()


class Sender:
    """Sends the requests of one run.

    origin: ns of the clock at which the run's time is 0.
    in_flight: requests that are being sent or answered.
    finished, failed: requests that ended, and those of them that failed (cancelled ones aside).
    written: records, those of retried attempts among them.
    closing: True when the run ends; nothing is retried any more.
    send_lags: ns from ready to sent of each request, without the time to connect.
    """

    def __init__(
        self,
        plan: Plan,
        requests: PreparedRequests,
        api: API,
        endpoints: Sequence[Endpoint],
        on_record: OnRecord,
        *,
        clock: Clock,
        limits: Config = DEFAULT_LIMITS,
        keep_text: Callable[[InFlightRequest], bool] | None = None,
        request_ids: str | None = None,
        worker: int = 0,
        retries: RetryPolicy | None = None,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        """Prepare to send.

        on_record: called with each record.
        limits: settings with the timeouts of each request, and the time after which it may be cancelled.
        keep_text: decides whether a record holds the texts of the response; None: no record does.
        request_ids: prefix of the request ids; None: requests have no ids.
        worker: number of this process among those of the run.
        retries: whether and when a failed request is sent again.
        rate_limiter: limits of requests and tokens per minute.
        """
        self.plan = plan
        self.clock = clock
        self.rate_limiter = rate_limiter
        self._requests = requests
        self._api = api
        self._endpoints = endpoints
        self._on_record = on_record
        self._limits = limits
        self._keep_text = keep_text
        self._request_ids = request_ids
        self._worker = worker
        self._retries = retries or RetryPolicy()
        self._timeouts = Timeouts(self._limits, clock)
        self._only_index = plan.only_index and request_ids is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.origin = 0
        self.in_flight: set[InFlightRequest] = set()
        self.finished = self.failed = self.written = 0
        self.closing = False
        self.send_lags: array[int] = array("q")

    def first_request(self, position: int) -> PreparedRequest:
        """Return the first request of a position of the plan."""
        return self._requests.get(self.plan.row(position), self.plan.model(position))

    def next_turn(self, position: int, turn: int, previous: InFlightRequest) -> PreparedRequest:
        """Build the request of a later turn: the history of `previous`, its response, and this turn's messages."""
        first = self.first_request(position).prompt
        prompt = continue_conversation(
            previous.prepared.prompt, previous.response, first.later[turn - 1], self._limits.send_reasoning
        )
        return self._requests.build(prompt, self.plan.model(position))

    def build(self, position: int, turn: int, prepared: PreparedRequest, due: int, phase: Phase) -> InFlightRequest:
        """Build the request of a turn (from 0) of a position, due at `due` (ns of the clock)."""
        plan = self.plan
        if self._only_index and not prepared.request.own_headers:
            response = ResponseParser(self._api, stream=prepared.streamed, keep_text=self._keep_text is not None)
            return InFlightRequest(prepared, response, self.clock, self._limits, position, due, phase)
        index = plan.index(position, turn)
        conversation = plan.conversation(position)
        keep_text = conversation is not None or self._keep_text is not None  # the next turn holds the answer
        prefix = self._request_ids
        return InFlightRequest(
            prepared,
            ResponseParser(self._api, stream=prepared.streamed, keep_text=keep_text),
            self.clock,
            self._limits,
            index,
            due,
            phase,
            conversation=conversation,
            turn=None if conversation is None else turn + 1,
            stage=plan.stage(position, due - self.origin),
            server=plan.server(position, turn) if len(self._endpoints) > 1 else None,
            request_id=_own_id(prepared) or (None if prefix is None else f"{prefix}{index}"),
            cancelled=plan.cancelled(index),
        )

    async def wait_for_limits(self, request: PreparedRequest, now: int, wait_until: WaitUntil) -> tuple[int, float]:
        """Wait until the rate limits let a request go that is ready at `now`.

        Return that instant (ns) and the tokens estimated for the request.
        """
        if self.rate_limiter is None:
            return now, 0.0
        tokens = self.rate_limiter.estimate(request.prompt, request.output_len)
        at = self.rate_limiter.reserve(now, tokens)
        await wait_until(at)
        return at, tokens

    async def send(self, request: InFlightRequest, ready_at: int, turns_left: int) -> bool:
        """Send one request, wait for its response and record it. Return True if it succeeded.

        ready_at: ns; from here on only this client's own lag delays the request (basis of `send_lag`).
        turns_left: later turns of the conversation, recorded as abandoned if this one fails.
        """
        loop = self._loop
        if loop is None:  # looked up once: Python 3.11 asks the kernel for the process id each time
            loop = self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        endpoint = self._endpoints[request.server or 0]

        # Address the request to this server.
        message = request.prepared.request
        name = request.request_id
        if name is not None and name != _own_id(request.prepared):
            message = msgspec.structs.replace(message, own_headers=(*message.own_headers, (REQUEST_ID, name)))
        if self._limits.session_header is not None:
            session = (self._limits.session_header, self._session(request))
            message = msgspec.structs.replace(message, own_headers=(*message.own_headers, session))
        if message.path != endpoint.path:
            message = msgspec.structs.replace(message, path=endpoint.path)

        # Send it and wait for the response, or until a timeout or the end of the run cancels it.
        failure = None
        self.in_flight.add(request)
        self._timeouts.start(request, loop, task)
        try:
            await endpoint.transport.exchange(message, request.exchange)
        except TransportError as exc:
            failure = exc.failure
        except asyncio.CancelledError:
            if request.cancel_failure is None:
                raise
            task.uncancel()
            failure = request.cancel_failure
        self.in_flight.discard(request)
        self._timeouts.stop(request)

        # Record it.
        exchange = request.exchange
        if exchange.sent is not None:
            self.send_lags.append(exchange.sent - ready_at - (exchange.connect or 0) - exchange.resend_delay)
        succeeded = self.record(request, failure, turns_left)
        if failure is not None:
            # Without a free file or port a request fails before it ever waits: let other tasks have a turn.
            await asyncio.sleep(0)
        return succeeded

    async def send_retries(
        self, request: InFlightRequest, turns_left: int, tokens: float, wait_until: WaitUntil
    ) -> InFlightRequest:
        """Send the retries of a request whose first attempt has ended. Return the last attempt.

        turns_left: later turns of the conversation.
        tokens: estimate that the rate limiter reserved.

        A caller may skip this when there are no limits and `request.retry_in` is None.
        """
        while True:
            if self.rate_limiter is not None:
                self.rate_limiter.settle(tokens, request.response.usage)
            if request.retry_in is None:
                return request
            ready_at = self.clock() + round(request.retry_in * NS_PER_S)
            await wait_until(ready_at)

            # The next attempt. It keeps the time at which the request was due.
            name = request.request_id
            attempt = request.attempt + 1
            if name is not None and name != _own_id(request.prepared):
                name = f"{name.removesuffix(f'.{request.attempt}') if request.attempt else name}.{attempt}"
            keep_text = request.turn is not None or self._keep_text is not None
            request = InFlightRequest(
                request.prepared,
                ResponseParser(self._api, stream=request.prepared.streamed, keep_text=keep_text),
                self.clock,
                self._limits,
                request.index,
                request.due,
                request.phase,
                conversation=request.conversation,
                turn=request.turn,
                stage=request.stage,
                server=request.server,
                request_id=name,
                cancelled=request.cancelled,
                attempt=attempt,
            )
            if not self.closing:
                ready_at, tokens = await self.wait_for_limits(request.prepared, ready_at, wait_until)
            if self.closing:
                self.record(
                    request, Failure(FailureCause.STOPPED, "waiting for its retry when the run ended"), turns_left
                )
                return request
            await self.send(request, ready_at, turns_left)

    def record(self, request: InFlightRequest, failure: Failure | None, turns_left: int) -> bool:
        """Record how a request ended and decide on its retry. Return True if it succeeded."""
        exchange = request.exchange
        try:
            # A response without a body has not begun yet.
            if exchange.status is not None and request.response.status is None:
                request.start_response()
            error = request.response.finish(failure)
            if error is not None and not self.closing:
                request.retry_in = self._retries.wait(
                    error, exchange.status, exchange.header, request.index, request.attempt
                )
            record = request.to_record(error, self.origin, self._keep_text, turns_left, self._worker)
            self._on_record(record)
        except Exception as exc:  # whatever the server sent, it costs this one request and no more
            # Remove what was parsed of the response. The times of the exchange stay.
            request.response = ResponseParser(API(), stream=request.prepared.streamed)
            request.retry_in = None
            error = Failure(FailureCause.PROTOCOL, f"recording the response failed: {type(exc).__name__}: {clean(exc)}")
            record = request.to_record(error, self.origin, None, turns_left, self._worker)
            self._on_record(record)
        self.written += 1
        if request.retry_in is None:
            self.finished += 1
            self.failed += record.error is not None and record.error.kind != FailureCause.CANCELLED
        request.succeeded = record.error is None
        return request.succeeded

    def _session(self, request: InFlightRequest) -> str:
        """Return the name of a request's conversation for a header. A single request is one of its own."""
        name = request.conversation if request.conversation is not None else str(request.index)
        return quote(f"{self.plan.load.seed}-{name}", safe="#")

    def cancel_all(self, failure: Failure) -> None:
        """Cancel all requests in flight."""
        for request in list(self.in_flight):
            request.cancel(failure)


def _own_id(prepared: PreparedRequest) -> str | None:
    """Return the request id that the prompt brings in its own headers, if it has one."""
    return next((value for name, value in prepared.request.own_headers if name.lower() == REQUEST_ID.lower()), None)
