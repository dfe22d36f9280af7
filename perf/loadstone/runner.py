"""The engine: sends the requests of a plan when they are due, and makes one record of each.

Works on whatever clock, transport and event loop it is given, so that tests run it in virtual time. It prints nothing,
writes nothing, and leaves the numbers to measure.py.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from loadstone.apis import API
from loadstone.flight import Flight, Limits
from loadstone.jobs import Job
from loadstone.plan import Plan
from loadstone.records import Failure, Record
from loadstone.transport import Clock, Transport, TransportError

OnRecord = Callable[[Record], None]
Wait = Callable[[int], Awaitable[None]]
"""Waits until an instant of the run's clock; may return early."""
STAGGER = 200_000
"""ns between the first sends of a closed loop: the client's own work of opening connections, some 0.15 ms each, and the
server's of accepting them would else show as TTFT of the first wave (5 ms on average with 256 streams)."""


class Runner:
    """One run of one plan. `finished`, `failed` and `flights` may be looked at while it goes on."""

    def __init__(
        self,
        plan: Plan,
        jobs: Sequence[Job],
        api: API,
        transport: Transport,
        on_record: OnRecord,
        *,
        clock: Clock,
        limits: Limits | None = None,
        duration: float | None = None,
        grace: float = 30.0,
        keep_text: Callable[[Flight], bool] | None = None,
        stagger: int = STAGGER,
        wait: Wait | None = None,
    ) -> None:
        self._plan = plan
        self._jobs = jobs
        self._api = api
        self._transport = transport
        self._on_record = on_record
        self._clock = clock
        self._limits = limits or Limits()
        self._duration = duration
        self._grace = grace
        self._keep_text = keep_text
        self._stagger = stagger
        self._wait = wait or self._sleep
        self._next = 0
        self._armed = False
        self._mistake: BaseException | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._sending: set[asyncio.Task[None]] = set()
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

    def stop(self, reason: str, grace: float = 0.0) -> None:
        """Send nothing more; what is in flight has `grace` seconds to end, then it is cut off. Call again to hurry."""
        if not self.stopping:
            self.stopping, self.ended, self._stopped_at = True, reason, self._clock()
            if self._plan.offsets is not None and self._dispatcher is not None:
                self._dispatcher.cancel()
        self._timers.append(self._loop.call_later(grace, self._cut_off, reason))

    def _cut_off(self, reason: str) -> None:
        for flight in list(self.flights):
            flight.cut(Failure("stopped", f"in flight when the run ended ({reason})"))

    def _record_overdue(self) -> None:
        """Arrivals that were due but never got a slot before the run was stopped: nothing is dropped silently."""
        if not self.stopping or self._plan.offsets is None:
            return
        waited = Failure("stopped", f"waiting for a slot when the run ended ({self.ended})")
        until = self._stopped_at - self.origin
        for index in range(self._next, int(self._plan.offsets.searchsorted(until, "right"))):
            due = self.origin + int(self._plan.offsets[index])
            self._record(self._flight(index, due).land(waited, self.origin, None))

    async def _closed_loop(self) -> None:
        slots = self._plan.load.concurrency or 1
        if self._plan.total is not None:
            slots = min(slots, self._plan.total)
        for slot in range(slots):
            await self._until(self.origin + slot * self._stagger)
            if self.stopping:
                break
            self._start(self._slot())

    async def _slot(self) -> None:
        """One user: the next request is wanted the moment the one before has ended."""
        free = self._clock()
        while not self.stopping and (self._plan.total is None or self._next < self._plan.total):
            index, self._next = self._next, self._next + 1
            await self._send(index, free, free)
            free = self._clock()

    async def _open_loop(self) -> None:
        """Absolute times: a late request does not make the next one late. A cap makes requests wait in their order."""
        offsets, cap = self._plan.offsets, self._plan.load.concurrency
        assert offsets is not None
        slots, granted = asyncio.Semaphore(cap or sys.maxsize), 0
        for index, offset in enumerate(offsets.tolist()):
            due = self.origin + offset
            self._next = index
            await self._until(due)
            if slots.locked():
                await slots.acquire()
                granted = self._clock()
            else:
                await slots.acquire()
            task = self._start(self._send(index, due, max(due, granted)))
            task.add_done_callback(lambda _: slots.release())
        self._next = len(offsets)

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
        await asyncio.sleep((due - self._clock()) / 1e9)

    async def _send(self, index: int, scheduled: int, ready: int) -> None:
        """`ready`: when nothing but this client kept the request from leaving."""
        flight = self._flight(index, scheduled)
        self.flights.add(flight)
        if flight.phase == "measure" and not self._armed:
            self._arm()
        failure = await self._carry(flight)
        self.flights.discard(flight)
        if flight.exchange.sent is not None:
            self.lags.append(flight.exchange.sent - ready - (flight.exchange.connect or 0))
        self._record(flight.land(failure, self.origin, self._keep_text))

    def _flight(self, index: int, scheduled: int) -> Flight:
        job, collect = self._jobs[self._plan.row(index)], self._keep_text is not None
        phase = self._plan.phase(index)
        return Flight(index, phase, job, self._api, scheduled, self._clock, self._limits, collect)

    async def _carry(self, flight: Flight) -> Failure | None:
        task = asyncio.current_task()
        assert task is not None
        flight.begin(self._loop, task)
        try:
            await self._transport.exchange(flight.job.request, flight.exchange)
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
        self.failed += record.error is not None
        self._on_record(record)

    def _arm(self) -> None:
        """The clock of --duration starts with the first measured request."""
        self._armed = True
        if self._duration is not None:
            self._timers.append(self._loop.call_later(self._duration, self.stop, "duration", self._grace))
