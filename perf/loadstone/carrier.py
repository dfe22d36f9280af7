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
from loadstone.dialogue import following
from loadstone.flight import Flight, Limits, Order
from loadstone.jobs import Job, Jobs
from loadstone.plan import Plan
from loadstone.records import Failure, Phase, Record
from loadstone.transport import Clock, Request, Transport, TransportError

OnRecord = Callable[[Record], None]
REQUEST_ID = "X-Request-Id"


class Door(Struct, frozen=True):
    """One of the servers: how to reach it, and the path of the API on it."""

    transport: Transport
    path: str


class Style(Struct, frozen=True, kw_only=True):
    """What holds for every request. request_ids: what their ids begin with; None for no ids."""

    limits: Limits = Limits()
    keep_text: Callable[[Flight], bool] | None = None
    request_ids: str | None = None


class Carrier:
    """Carries the requests of one run. `flights`: those under way; `lags`: ns from ready to sent, connecting aside."""

    def __init__(
        self,
        plan: Plan,
        jobs: Jobs,
        api: API,
        doors: Sequence[Door],
        on_record: OnRecord,
        *,
        clock: Clock,
        style: Style | None = None,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self._jobs = jobs
        self._api = api
        self._doors = doors
        self._on_record = on_record
        self._style = style or Style()
        self.origin = 0
        self.flights: set[Flight] = set()
        self.finished = self.failed = 0
        self.lags: array[int] = array("q")

    def job(self, place: int) -> Job:
        """The first request of a place."""
        return self._jobs.at(self.plan.row(place), self.plan.model(place))

    def next_job(self, place: int, turn: int, before: Flight) -> Job:
        """The request of a later turn: what `before` asked, its answer, and what is said now."""
        first = self.job(place).prompt
        asked = following(before.job.prompt, before.answer, first.later[turn - 1])
        return self._jobs.maker.make(asked, self.plan.model(place))

    def flight(self, place: int, turn: int, job: Job, scheduled: int, phase: Phase) -> Flight:
        """The request, ready to go. `turn` counts from 0."""
        plan, talking = self.plan, int(self.plan.turns[self.plan.row(place)]) > 1
        index, prefix = plan.index(place, turn), self._style.request_ids
        order = Order(
            index=index,
            scheduled=scheduled,
            phase=phase,
            conversation=plan.conversation(place),
            turn=turn + 1 if talking else None,
            stage=plan.stage(place, scheduled - self.origin),
            server=plan.server(place, turn) if len(self._doors) > 1 else None,
            request_id=_own_id(job) or (None if prefix is None else f"{prefix}{index}"),
            cancelled=plan.cancelled(index),
        )
        collect = talking or self._style.keep_text is not None
        return Flight(order, job, self._api, self.clock, self._style.limits, collect)

    async def carry(self, flight: Flight, ready: int, later: int) -> bool:
        """Send, wait, record; whether it succeeded. `ready`: when nothing but this client kept it from leaving;
        `later`: turns that follow it."""
        self.flights.add(flight)
        failure = await self._exchange(flight)
        self.flights.discard(flight)
        if flight.exchange.sent is not None:
            self.lags.append(flight.exchange.sent - ready - (flight.exchange.connect or 0))
        return self.record(flight, failure, later)

    def record(self, flight: Flight, failure: Failure | None, later: int) -> bool:
        """Write down how a request ended; whether well."""
        record = flight.land(failure, self.origin, self._style.keep_text, later)
        self.finished += 1
        self.failed += record.error is not None and record.error.kind != "cancelled"
        self._on_record(record)
        return record.error is None

    def cut_off(self, failure: Failure) -> None:
        """End whatever is under way."""
        for flight in list(self.flights):
            flight.cut(failure)

    async def _exchange(self, flight: Flight) -> Failure | None:
        task = asyncio.current_task()
        assert task is not None
        door = self._doors[flight.order.server or 0]
        flight.begin(asyncio.get_running_loop(), task)
        try:
            await door.transport.exchange(_addressed(flight, door), flight.exchange)
        except TransportError as exc:
            return exc.failure
        except asyncio.CancelledError:
            if flight.cut_by is None:
                raise
            task.uncancel()
            return flight.cut_by
        return None


def _own_id(job: Job) -> str | None:
    return next((value for name, value in job.request.own if name.lower() == REQUEST_ID.lower()), None)


def _addressed(flight: Flight, door: Door) -> Request:
    """The request as this server is to get it."""
    request, name = flight.job.request, flight.order.request_id
    if name is not None and _own_id(flight.job) is None:
        request = msgspec.structs.replace(request, own=(*request.own, (REQUEST_ID, name)))
    return request if request.path == door.path else msgspec.structs.replace(request, path=door.path)
