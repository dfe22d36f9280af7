"""Send one request and record it: choose its server, wait for the response, decide on a retry.

`runner.py` decides when a request is sent and what comes after it.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from loadstone.apis import API
from loadstone.apis.response_parser import ResponseParser
from loadstone.engine.in_flight import InFlightRequest, Scheduled, TimeLimits, Timeouts
from loadstone.engine.requests import PreparedRequest, PreparedRequests
from loadstone.engine.retry_policy import RetryPolicy
from loadstone.records import Failure, Phase, Record, next_prompt
from loadstone.schedule.plan import Plan
from loadstone.text import clean
from loadstone.transport import Clock, Transport, TransportError

OnRecord = Callable[[Record], None]
REQUEST_ID = "X-Request-Id"


class Endpoint(Struct, frozen=True):
    """One of the servers: the transport that reaches it, and the path of the API on it."""

    transport: Transport
    path: str


class RequestOptions(Struct, frozen=True, kw_only=True):
    """Options of every request of a run.

    limits: timeouts.
    keep_text: decides whether a record holds the texts of the response; None: no record does.
    request_ids: prefix of the request ids; None: requests have no ids.
    worker: number of this process among those of the run.
    retries: whether and when a failed request is sent again.
    """

    limits: TimeLimits = TimeLimits()
    keep_text: Callable[[InFlightRequest], bool] | None = None
    request_ids: str | None = None
    worker: int = 0
    retries: RetryPolicy = RetryPolicy()


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
        options: RequestOptions | None = None,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self._requests = requests
        self._api = api
        self._endpoints = endpoints
        self._on_record = on_record
        self._options = options or RequestOptions()
        self._timeouts = Timeouts(self._options.limits, clock)
        self._only_index = plan.only_index and self._options.request_ids is None
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
        prompt = next_prompt(previous.prepared.prompt, previous.response_text, first.later[turn - 1])
        return self._requests.builder.build(prompt, self.plan.model(position))

    def build(self, position: int, turn: int, prepared: PreparedRequest, due: int, phase: Phase) -> InFlightRequest:
        """Build the request of a turn (from 0) of a position, due at `due` (ns of the clock)."""
        plan = self.plan
        if self._only_index and not prepared.request.own_headers:
            scheduled = Scheduled(index=position, due=due, phase=phase)
        else:
            index = plan.index(position, turn)
            conversation = plan.conversation(position)
            prefix = self._options.request_ids
            scheduled = Scheduled(
                index=index,
                due=due,
                phase=phase,
                conversation=conversation,
                turn=None if conversation is None else turn + 1,
                stage=plan.stage(position, due - self.origin),
                server=plan.server(position, turn) if len(self._endpoints) > 1 else None,
                request_id=_own_id(prepared) or (None if prefix is None else f"{prefix}{index}"),
                cancelled=plan.cancelled(index),
            )
        keep_text = scheduled.turn is not None or self._options.keep_text is not None
        return InFlightRequest(scheduled, prepared, self._api, self.clock, self._options.limits, keep_text)

    def next_attempt(self, request: InFlightRequest) -> InFlightRequest:
        """Build the retry of a request. It keeps the time at which the request was due."""
        scheduled = request.scheduled
        attempt = scheduled.attempt + 1
        name = scheduled.request_id
        if name is not None and name != _own_id(request.prepared):
            name = f"{name.removesuffix(f'.{scheduled.attempt}') if scheduled.attempt else name}.{attempt}"
        keep_text = scheduled.turn is not None or self._options.keep_text is not None
        scheduled = msgspec.structs.replace(scheduled, attempt=attempt, request_id=name)
        return InFlightRequest(scheduled, request.prepared, self._api, self.clock, self._options.limits, keep_text)

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
        endpoint = self._endpoints[request.scheduled.server or 0]

        # Address the request to this server.
        message = request.prepared.request
        name = request.scheduled.request_id
        if name is not None and name != _own_id(request.prepared):
            message = msgspec.structs.replace(message, own_headers=(*message.own_headers, (REQUEST_ID, name)))
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

    def record(self, request: InFlightRequest, failure: Failure | None, turns_left: int) -> bool:
        """Record how a request ended and decide on its retry. Return True if it succeeded."""
        options = self._options
        exchange = request.exchange
        scheduled = request.scheduled
        try:
            error = request.finish(failure)
            if error is not None and not self.closing:
                request.retry_in = options.retries.wait(
                    error, exchange.status, exchange.header, scheduled.index, scheduled.attempt
                )
            record = request.to_record(error, self.origin, options.keep_text, turns_left, options.worker)
            self._on_record(record)
        except Exception as exc:  # whatever the server sent, it costs this one request and no more
            # Remove what was parsed of the response. The times of the exchange stay.
            request.response = ResponseParser(API(), stream=request.prepared.streamed)
            request.retry_in = None
            error = Failure("protocol", f"recording the response failed: {type(exc).__name__}: {clean(exc)}")
            record = request.to_record(error, self.origin, None, turns_left, options.worker)
            self._on_record(record)
        self.written += 1
        if request.retry_in is None:
            self.finished += 1
            self.failed += record.error is not None and record.error.kind != "cancelled"
        request.succeeded = record.error is None
        return request.succeeded

    def cancel_all(self, failure: Failure) -> None:
        """Cancel all requests in flight."""
        for request in list(self.in_flight):
            request.cancel(failure)


def _own_id(prepared: PreparedRequest) -> str | None:
    """Return the request id that the prompt brings in its own headers, if it has one."""
    return next((value for name, value in prepared.request.own_headers if name.lower() == REQUEST_ID.lower()), None)
