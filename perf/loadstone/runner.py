"""The engine: sends the requests of a plan when they are due, and makes one record of each.

Works on whatever clock, transport and event loop it is given, so that tests run it in virtual time. It prints nothing,
writes nothing, and leaves the numbers to measure.py.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Awaitable, Callable, Coroutine, Sequence

import msgspec
from msgspec import Struct

from loadstone.apis import API
from loadstone.dialogue import following
from loadstone.flight import NS, Flight, Limits, Order
from loadstone.jobs import Job, Jobs
from loadstone.plan import Plan
from loadstone.records import Failure, Phase, Record
from loadstone.transport import Clock, Request, Transport, TransportError

OnRecord = Callable[[Record], None]
Wait = Callable[[int], Awaitable[None]]
"""Waits until an instant of the run's clock; may return early."""
STAGGER = 200_000
"""ns between the first sends of a closed loop: the client's own work of opening connections, some 0.15 ms each, and the
server's of accepting them would else show as TTFT of the first wave (5 ms on average with 256 streams)."""
REQUEST_ID = "X-Request-Id"


class Door(Struct, frozen=True):
    """One of the servers: how to reach it, and the path of the API on it."""

    transport: Transport
    path: str


class Ways(Struct, frozen=True, kw_only=True):
    """How a run is carried out. duration: seconds from the first measured request on; grace: seconds for what is in
    flight at an end by time; request_ids: what the ids of requests begin with, None for no ids."""

    limits: Limits = Limits()
    duration: float | None = None
    grace: float = 30.0
    keep_text: Callable[[Flight], bool] | None = None
    request_ids: str | None = None
    stagger: int = STAGGER


class Runner:
    """One run of one plan. `finished`, `failed` and `flights` may be looked at while it goes on."""

    def __init__(
        self,
        plan: Plan,
        jobs: Jobs,
        api: API,
        doors: Sequence[Door],
        on_record: OnRecord,
        *,
        clock: Clock,
        ways: Ways | None = None,
        wait: Wait | None = None,
    ) -> None:
        self._plan = plan
        self._jobs = jobs
        self._api = api
        self._doors = doors
        self._on_record = on_record
        self._clock = clock
        self._ways = ways or Ways()
        self._wait = wait or self._sleep
        self._next = 0
        self._total = plan.total
        self._slots: set[int] = set()
        self._level = 0
        self._warmed = 0
        self._armed = self._cooling = False
        self._mistake: BaseException | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._thinking: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self.origin = 0
        self.ended = "done"
        self.stopping = False
        self.flights: set[Flight] = set()
        self.finished = self.failed = 0
        self.lags: array[int] = array("q")
        """ns from ready to sent, connecting aside, of each request."""

    async def run(self) -> str:
        """Run to the end; returns why it ended: `done`, `duration`, or the reason given to `stop`."""
        self._loop = asyncio.get_running_loop()
        self.origin = self._clock()
        work = self._open_loop() if self._plan.offsets is not None else self._closed_loop()
        self._dispatcher = asyncio.ensure_future(work)
        await asyncio.wait([self._dispatcher])
        if not self._dispatcher.cancelled():
            self._dispatcher.result()
        while self._sending:
            await asyncio.wait(self._sending)
        if self._mistake is not None:
            raise self._mistake
        self._record_overdue()
        for timer in self._timers:
            timer.cancel()
        return self.ended

    @property
    def now(self) -> int:
        """ns since the run began."""
        return self._clock() - self.origin

    @property
    def overdue(self) -> int:
        """Arrivals that wait for a slot."""
        offsets = self._plan.offsets
        return 0 if offsets is None else max(0, int(offsets.searchsorted(self.now, "right")) - self._next)

    def stop(self, reason: str, grace: float = 0.0) -> None:
        """Send nothing more; what is in flight has `grace` seconds to end, then it is cut off. Call again to hurry."""
        if not self.stopping:
            self.stopping, self.ended, self._stopped_at = True, reason, self._clock()
            for waiting in (self._dispatcher, *self._thinking):
                if waiting is not None:
                    waiting.cancel()
        self._later(grace, self._cut_off, reason)

    def _cut_off(self, reason: str) -> None:
        for flight in list(self.flights):
            flight.cut(Failure("stopped", f"in flight when the run ended ({reason})"))

    def _record_overdue(self) -> None:
        """Arrivals that were due but never got a slot before the run was stopped: nothing is dropped silently."""
        if not self.stopping or self._plan.offsets is None:
            return
        waited = Failure("stopped", f"waiting for a slot when the run ended ({self.ended})")
        until = self._stopped_at - self.origin
        for place in range(self._next, int(self._plan.offsets.searchsorted(until, "right"))):
            due = self.origin + int(self._plan.offsets[place])
            self._record(self._flight(place, 0, self._job(place), due).land(waited, self.origin, None))

    # who sends when

    async def _closed_loop(self) -> None:
        for at, level in self._plan.levels:
            await self._until(self.origin + at)
            self._level = level
            await self._open_slots()
        if self._plan.end is not None:
            await self._until(self.origin + self._plan.end)
            self.stop("done", self._ways.grace)

    async def _open_slots(self) -> None:
        """As many as the level asks for, and never more than there is work for; those above it close by themselves."""
        missing = [slot for slot in range(min(self._level, self._total or self._level)) if slot not in self._slots]
        begin = self._clock()
        for number, slot in enumerate(missing):
            await self._until(begin + number * self._ways.stagger)
            self._slots.add(slot)
            self._start(self._slot(slot))

    async def _slot(self, slot: int) -> None:
        """One user: the next request, or conversation, is wanted the moment the one before has ended."""
        free = self._clock()
        while slot < self._level and (place := self._take(free)) is not None:
            await self._converse(place, free, free)
            free = self._clock()
        self._slots.discard(slot)

    def _take(self, now: int) -> int | None:
        """The next place of a closed loop, while there is one. Warm-up and cool-down by time come on top of the
        number of places."""
        load = self._plan.load
        if self._total is not None and now - self.origin < load.warmup_time * NS:
            self._total, self._warmed = self._total + 1, self._warmed + 1
        if self._total is not None and self._next >= self._total and load.cooldown_time and not self._cooling:
            self._total = None
            self._cool("done")
        if self.stopping or (self._total is not None and self._next >= self._total):
            return None
        place, self._next = self._next, self._next + 1
        return place

    async def _open_loop(self) -> None:
        """Absolute times: a late request does not make the next one late. A cap makes requests wait in their order."""
        offsets, cap = self._plan.offsets, self._plan.load.concurrency
        assert offsets is not None
        slots, granted = asyncio.Semaphore(cap or sys.maxsize), 0
        for place, offset in enumerate(offsets.tolist()):
            due = self.origin + offset
            await self._until(due)
            if slots.locked():
                await slots.acquire()
                granted = self._clock()
            else:
                await slots.acquire()
            task = self._start(self._converse(place, due, max(due, granted)))
            task.add_done_callback(lambda _: slots.release())
            self._next = place + 1
        if self._plan.end is not None:
            self._later((self.origin + self._plan.end - self._clock()) / NS, self.stop, "done", self._ways.grace)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Failures of requests are records; an exception here is a mistake of ours, and ends the run."""
        self._sending.discard(task)
        if not task.cancelled() and (mistake := task.exception()) is not None:
            self._mistake = self._mistake or mistake
            self.stop("error")

    async def _until(self, due: int) -> None:
        while due > self._clock():
            await self._wait(due)

    async def _sleep(self, due: int) -> None:
        await asyncio.sleep((due - self._clock()) / NS)

    def _later(self, seconds: float, call: Callable[..., None], *given: object) -> None:
        self._timers.append(self._loop.call_later(max(0.0, seconds), call, *given))

    # one place

    async def _converse(self, place: int, scheduled: int, ready: int) -> None:
        """The turns of a place, each when the one before has ended well and been thought over. `ready`: when nothing
        but this client kept the first request from leaving."""
        job, turn = self._job(place), 0
        later = job.prompt.later
        while True:
            flight = self._flight(place, turn, job, scheduled, talking=bool(later))
            if not await self._send(flight, ready, len(later) - turn) or turn == len(later) or self.stopping:
                return
            said = later[turn]
            scheduled = ready = self._clock() + round(said.think * NS)
            job = self._jobs.maker.make(following(job.prompt, flight.answer, said), self._plan.model(place))
            await self._think(scheduled)
            turn += 1
            if self.stopping:
                return

    async def _think(self, until: int) -> None:
        """Wait, unless the run is stopped meanwhile. By the event loop's own timer: many think at a time, and `wait` is
        for the one that keeps the schedule."""
        task = asyncio.current_task()
        assert task is not None
        self._thinking.add(task)
        try:
            while until > self._clock():
                await self._sleep(until)
        except asyncio.CancelledError:
            if not self.stopping:
                raise
            task.uncancel()
        finally:
            self._thinking.discard(task)

    def _job(self, place: int) -> Job:
        return self._jobs.at(self._plan.row(place), self._plan.model(place))

    async def _send(self, flight: Flight, ready: int, later: int) -> bool:
        """Whether the request succeeded."""
        self.flights.add(flight)
        if flight.order.phase == "measure" and not self._armed:
            self._arm()
        failure = await self._carry(flight)
        self.flights.discard(flight)
        if flight.exchange.sent is not None:
            self.lags.append(flight.exchange.sent - ready - (flight.exchange.connect or 0))
        record = flight.land(failure, self.origin, self._ways.keep_text, later)
        self._record(record)
        return record.error is None

    def _flight(self, place: int, turn: int, job: Job, scheduled: int, talking: bool = False) -> Flight:
        plan, prefix = self._plan, self._ways.request_ids
        index, conversation = plan.index(place, turn), plan.conversation(place)
        order = Order(
            index=index,
            scheduled=scheduled,
            phase=self._phase(place, scheduled),
            conversation=conversation,
            turn=None if conversation is None else turn + 1,
            stage=plan.stage(place, scheduled - self.origin),
            server=plan.server(place, turn) if len(self._doors) > 1 else None,
            request_id=_own_id(job) or (None if prefix is None else f"{prefix}{index}"),
            cancelled=plan.cancelled(index),
        )
        collect = talking or self._ways.keep_text is not None
        return Flight(order, job, self._api, self._clock, self._ways.limits, collect)

    def _phase(self, place: int, scheduled: int) -> Phase:
        """By time where warm-up or cool-down of a closed loop are times, else by place."""
        if self._cooling:
            return "cooldown"
        closed = self._plan.offsets is None
        if closed and scheduled - self.origin < self._plan.load.warmup_time * NS:
            return "warmup"
        return self._plan.phase(place - self._warmed)

    async def _carry(self, flight: Flight) -> Failure | None:
        task = asyncio.current_task()
        assert task is not None
        door = self._doors[flight.order.server or 0]
        flight.begin(self._loop, task)
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

    def _record(self, record: Record) -> None:
        self.finished += 1
        self.failed += record.error is not None and record.error.kind != "cancelled"
        self._on_record(record)

    # time

    def _arm(self) -> None:
        """The clock of --duration starts with the first measured request."""
        self._armed = True
        if self._ways.duration is None:
            return
        if self._plan.offsets is None and self._plan.load.cooldown_time:
            self._later(self._ways.duration, self._cool, "duration")
        else:
            whole = self._ways.duration + self._plan.load.cooldown_time
            self._later(whole, self.stop, "duration", self._ways.grace)

    def _cool(self, reason: str) -> None:
        """The load is kept up, unmeasured, while the last measured requests end."""
        self._cooling = True
        self._later(self._plan.load.cooldown_time, self.stop, reason, self._ways.grace)


def _own_id(job: Job) -> str | None:
    return next((value for name, value in job.request.own if name.lower() == REQUEST_ID.lower()), None)


def _addressed(flight: Flight, door: Door) -> Request:
    """The request as this server is to get it."""
    request, name = flight.job.request, flight.order.request_id
    if name is not None and _own_id(flight.job) is None:
        request = msgspec.structs.replace(request, own=(*request.own, (REQUEST_ID, name)))
    return request if request.path == door.path else msgspec.structs.replace(request, path=door.path)
