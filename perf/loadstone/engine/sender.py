"""One request from the plan to its record: what it is, which server it goes to, how it went.

When it is sent, and what comes after it, is the runner's affair.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from loadstone.apis import API
from loadstone.engine.in_flight import InFlightRequest, Scheduled, TimeLimits, Timeouts
from loadstone.engine.requests import PreparedRequest, PreparedRequests
from loadstone.engine.retry_policy import RetryPolicy
from loadstone.records import Failure, Phase, Record, next_prompt
from loadstone.schedule.plan import Plan
from loadstone.text import clean
from loadstone.transport import Clock, Request, Transport, TransportError

OnRecord = Callable[[Record], None]
REQUEST_ID = "X-Request-Id"


class Endpoint(Struct, frozen=True):
    """One of the servers: how to reach it, and the path of the API on it."""

    transport: Transport
    path: str


class RequestOptions(Struct, frozen=True, kw_only=True):
    """What holds for every request. request_ids: what their ids begin with; None for no ids. worker: the number of this
    process among those of the run."""

    limits: TimeLimits = TimeLimits()
    keep_text: Callable[[InFlightRequest], bool] | None = None
    request_ids: str | None = None
    worker: int = 0
    retries: RetryPolicy = RetryPolicy()


class Sender:
    """Carries the requests of one run. `in_flight`: those under way; `send_lags`: ns from ready to sent, connecting aside;
    `written`: records, those of attempts among them; `closing`: nothing is to be made again any more."""

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
        self._jobs = requests
        self._api = api
        self._doors = endpoints
        self._on_record = on_record
        self._style = options or RequestOptions()
        self._watch = Timeouts(self._style.limits, clock)
        self._plain = plan.only_index and self._style.request_ids is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.origin = 0
        self.in_flight: set[InFlightRequest] = set()
        self.finished = self.failed = self.written = 0
        self.closing = False
        self.send_lags: array[int] = array("q")

    def first_request(self, place: int) -> PreparedRequest:
        """The first request of a place."""
        return self._jobs.get(self.plan.row(place), self.plan.model(place))

    def next_turn(self, place: int, turn: int, before: InFlightRequest) -> PreparedRequest:
        """The request of a later turn: what `before` asked, its answer, and what is said now."""
        first = self.first_request(place).prompt
        asked = next_prompt(before.prepared.prompt, before.response_text, first.later[turn - 1])
        return self._jobs.builder.build(asked, self.plan.model(place))

    def build(self, place: int, turn: int, job: PreparedRequest, scheduled: int, phase: Phase) -> InFlightRequest:
        """The request, ready to go. `turn` counts from 0."""
        if self._plain and not job.request.own_headers:
            order = Scheduled(index=place, due=scheduled, phase=phase)
        else:
            order = self._order(place, turn, job, scheduled, phase)
        collect = order.turn is not None or self._style.keep_text is not None
        return InFlightRequest(order, job, self._api, self.clock, self._style.limits, collect)

    def _order(self, place: int, turn: int, job: PreparedRequest, scheduled: int, phase: Phase) -> Scheduled:
        plan, prefix = self.plan, self._style.request_ids
        index, conversation = plan.index(place, turn), plan.conversation(place)
        return Scheduled(
            index=index,
            due=scheduled,
            phase=phase,
            conversation=conversation,
            turn=None if conversation is None else turn + 1,
            stage=plan.stage(place, scheduled - self.origin),
            server=plan.server(place, turn) if len(self._doors) > 1 else None,
            request_id=_own_id(job) or (None if prefix is None else f"{prefix}{index}"),
            cancelled=plan.cancelled(index),
        )

    def _bound(self) -> asyncio.AbstractEventLoop:
        """The loop, looked up once: Python 3.11 asks the kernel for the process id each time."""
        self._loop = asyncio.get_running_loop()
        return self._loop

    def next_attempt(self, flight: InFlightRequest) -> InFlightRequest:
        """The same request once more. It keeps its schedule: what it was wanted for has not come yet."""
        order = flight.scheduled
        attempt, name = order.attempt + 1, order.request_id
        own = _own_id(flight.prepared)
        if name is not None and name != own:
            name = f"{name.removesuffix(f'.{order.attempt}') if order.attempt else name}.{attempt}"
        collect = order.turn is not None or self._style.keep_text is not None
        order = msgspec.structs.replace(order, attempt=attempt, request_id=name)
        return InFlightRequest(order, flight.prepared, self._api, self.clock, self._style.limits, collect)

    async def send(self, flight: InFlightRequest, ready: int, later: int) -> bool:
        """Send, wait, record; whether it succeeded. `ready`: when nothing but this client kept it from leaving;
        `later`: turns that follow it."""
        loop, failure = self._loop or self._bound(), None
        task = asyncio.current_task(loop)
        assert task is not None
        door = self._doors[flight.scheduled.server or 0]
        self.in_flight.add(flight)
        self._watch.start(flight, loop, task)
        try:
            await door.transport.exchange(_addressed(flight, door), flight.exchange)
        except TransportError as exc:
            failure = exc.failure
        except asyncio.CancelledError:
            if flight.cancel_failure is None:
                raise
            task.uncancel()
            failure = flight.cancel_failure
        self.in_flight.discard(flight)
        self._watch.stop(flight)
        if flight.exchange.sent is not None:
            self.send_lags.append(
                flight.exchange.sent - ready - (flight.exchange.connect or 0) - flight.exchange.resend_delay
            )
        well = self.record(flight, failure, later)
        if failure is not None:
            await asyncio.sleep(0)  # for want of a file or a port it fails before it ever waits: let others have a turn
        return well

    def record(self, flight: InFlightRequest, failure: Failure | None, later: int) -> bool:
        """Write down how a request ended; whether well."""
        try:
            record = self._record(flight, failure, later)
            self._on_record(record)
        except Exception as exc:  # whatever the server sent, it costs this one request and no more
            flight.discard_response()
            error = Failure("protocol", f"recording the response failed: {type(exc).__name__}: {clean(exc)}")
            record = flight.to_record(error, self.origin, None, later, self._style.worker)
            self._on_record(record)
        self.written += 1
        if flight.retry_in is None:
            self.finished += 1
            self.failed += record.error is not None and record.error.kind != "cancelled"
        flight.succeeded = record.error is None
        return flight.succeeded

    def _record(self, flight: InFlightRequest, failure: Failure | None, later: int) -> Record:
        error, exchange, order = flight.finish(failure), flight.exchange, flight.scheduled
        if error is not None and not self.closing:
            retries = self._style.retries
            flight.retry_in = retries.wait(error, exchange.status, exchange.header, order.index, order.attempt)
        return flight.to_record(error, self.origin, self._style.keep_text, later, self._style.worker)

    def cancel_all(self, failure: Failure) -> None:
        """End whatever is under way."""
        for flight in list(self.in_flight):
            flight.cancel(failure)


def _own_id(job: PreparedRequest) -> str | None:
    return next((value for name, value in job.request.own_headers if name.lower() == REQUEST_ID.lower()), None)


def _addressed(flight: InFlightRequest, door: Endpoint) -> Request:
    """The request as this server is to get it."""
    request, name = flight.prepared.request, flight.scheduled.request_id
    if name is not None and name != _own_id(flight.prepared):
        request = msgspec.structs.replace(request, own_headers=(*request.own_headers, (REQUEST_ID, name)))
    return request if request.path == door.path else msgspec.structs.replace(request, path=door.path)
