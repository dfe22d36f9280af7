"""The engine: has the requests of a plan sent when they are due, one after the other, and knows when to stop.

Works on whatever clock, transport and event loop it is given, so that tests run it in virtual time. It prints nothing,
writes nothing, and leaves the single request to carrier.py and the numbers to measure.py.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from msgspec import Struct

from loadstone.engine.attempts import Attempts
from loadstone.engine.in_flight import InFlightRequest
from loadstone.engine.rate_limit import RateLimiter
from loadstone.engine.requests import PreparedRequest
from loadstone.engine.sender import Sender
from loadstone.records import Failure, Phase, Prompt
from loadstone.schedule.arrivals import Offsets
from loadstone.schedule.partition import Partition
from loadstone.units import NS_PER_S

# Waits until an instant of the run's clock; may return early.
Wait = Callable[[int], Awaitable[None]]
# ns between the first sends of a closed loop: the client's own work of opening connections, some 0.15 ms each, and the
# server's of accepting them would else show as TTFT of the first wave (5 ms on average with 256 streams).
STAGGER = 200_000


# ns after the end of an open loop's time at which it is over: the last arrival may fall on the end itself.
LAST = 1_000_000


class Times(Struct, frozen=True, kw_only=True):
    """duration: seconds from the first measured request on; grace: seconds for what is in flight at an end by time;
    stagger: ns between the slots of a closed loop."""

    duration: float | None = None
    grace: float = 30.0
    stagger: int = STAGGER


class Runner:
    """One run of one plan, or of a share in it, by a carrier, which may be looked at while it goes on. Places go by
    their ordinal in the share. `led`: the number of slots is not the plan's, but told by `set_concurrency`. `budget`: what the
    limits a minute let through; a request that they hold back is wanted when they let it go."""

    def __init__(
        self,
        sender: Sender,
        times: Times | None = None,
        wait: Wait | None = None,
        partition: Partition | None = None,
        live_concurrency: bool = False,
        rate_limiter: RateLimiter | None = None,
    ) -> None:
        self.sender = sender
        self.attempts = Attempts(sender, rate_limiter, self._think)
        self._plan = sender.plan
        self._clock = sender.clock
        self._times = times or Times()
        self._wait = wait or self._sleep
        self._share = partition or Partition()
        self._led = asyncio.Event() if live_concurrency else None
        self._next = 0
        self._total = None if self._plan.total is None else self._share.count(self._plan.total)
        self._due = None if self._plan.offsets is None else self._dues(self._plan.offsets)
        self._level = self._highest = 0
        self._closed: set[int] = set()
        self._warmed = 0
        self._armed = self._cooling = False
        load = self._plan.load
        self._timed = self._plan.offsets is None and bool(load.warmup_time or load.cooldown_time)
        self._mistake: BaseException | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._thinking: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self.origin = 0
        self.ended = "done"
        self.stopping = False
        self.unsent_turns = 0
        """Later turns of conversations that there was no time for."""

    async def run(self, origin: int | None = None) -> str:
        """Run to the end; returns why it ended: `done`, `duration`, or the reason given to `stop`. `origin`: when the
        run begins, ns of the clock; at once if None."""
        self._loop = asyncio.get_running_loop()
        self.origin = self.sender.origin = self._clock() if origin is None else origin
        self._dispatcher = asyncio.ensure_future(self._begin())
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
        return len(self._waiting(self.now))

    def stop(self, reason: str, grace: float = 0.0) -> None:
        """Send nothing more; what is in flight has `grace` seconds to end, then it is cut off. Call again to hurry."""
        if not self.stopping:
            self.stopping, self.ended, self._stopped_at = True, reason, self.now
            self.sender.closing = True
            for waiting in (self._dispatcher, *self._thinking):
                if waiting is not None:
                    waiting.cancel()
        cut = Failure("stopped", f"in flight when the run ended ({reason})")
        self._later(grace, self.sender.cancel_all, cut)

    def set_concurrency(self, slots: int) -> None:
        """From now on so many requests or conversations in flight; more are begun at once, fewer as they end."""
        assert self._led is not None
        self._level = slots
        self._led.set()

    def _dues(self, offsets: Offsets) -> Offsets:
        return offsets[self._share.positions(len(offsets))]

    def _waiting(self, until: int) -> range:
        """Places of an open loop that were due by then and have not begun."""
        return range(0) if self._due is None else range(self._next, int(self._due.searchsorted(until, "right")))

    def _record_overdue(self) -> None:
        """Arrivals that were due but never got a slot before the run was stopped: nothing is dropped silently."""
        waited = Failure("stopped", f"waiting for a slot when the run ended ({self.ended})")
        for ordinal in self._waiting(self._stopped_at) if self.stopping else ():
            assert self._due is not None
            place, due = self._share.position(ordinal), self.origin + int(self._due[ordinal])
            job = self.sender.first_request(place)
            flight = self.sender.build(place, 0, job, due, self._phase(ordinal, due))
            self.sender.record(flight, waited, len(job.prompt.later))

    # who begins when

    async def _begin(self) -> None:
        await self._until(self.origin)
        if self._due is not None:
            await self._open_loop(self._due)
        elif self._led is not None:
            await self._led_loop(self._led)
        else:
            await self._closed_loop()

    async def _led_loop(self, led: asyncio.Event) -> None:
        """Until everything is sent, or for ever."""
        while self._total is None or self._next < self._total:
            await led.wait()
            led.clear()
            await self._open_slots()

    async def _closed_loop(self) -> None:
        for at, level in self._plan.levels:
            await self._until(self.origin + at)
            self._level = self._share.slots(level)
            await self._open_slots()
        if self._plan.end is not None:
            await self._until(self.origin + self._plan.end)
            self.stop("stages", self._times.grace)

    async def _open_slots(self) -> None:
        """As many as the level asks for, and never more than there is work for; those above it close by themselves.
        Processes take turns."""
        begin, share = self._clock(), self._share
        for number, slot in enumerate(self._missing(min(self._level, self._total or self._level))):
            await self._until(begin + (number * share.workers + share.worker) * self._times.stagger)
            self._highest = max(self._highest, slot + 1)
            self._closed.discard(slot)
            self._start(self._slot(slot))

    def _missing(self, level: int) -> list[int]:
        """Slots below the level that are not open: those that have closed, and those never opened."""
        again = sorted(slot for slot in self._closed if slot < level) if level else []
        return [*again, *range(self._highest, level)]

    async def _slot(self, slot: int) -> None:
        """One user: the next request, or conversation, is wanted the moment the one before has ended."""
        free = self._clock()
        while slot < self._level and (ordinal := self._take(free)) is not None:
            await self._converse(ordinal, free, free)
            free = self._clock()
        self._closed.add(slot)
        if self._led is not None:
            self._led.set()

    def _take(self, now: int) -> int | None:
        """The next place of a closed loop, by its ordinal, while there is one."""
        if self._timed and self._total is not None:
            self._extend(now)
        if self.stopping or (self._total is not None and self._next >= self._total):
            return None
        ordinal, self._next = self._next, self._next + 1
        return ordinal

    def _extend(self, now: int) -> None:
        """Warm-up and cool-down by time come on top of the number of places."""
        load = self._plan.load
        assert self._total is not None
        if now - self.origin < load.warmup_time * NS_PER_S:
            self._total, self._warmed = self._total + 1, self._warmed + 1
        if self._next >= self._total and load.cooldown_time and not self._cooling:
            self._cool("done")

    async def _open_loop(self, dues: Offsets) -> None:
        """Absolute times: a late request does not make the next one late. A cap makes requests wait in their order."""
        cap = self._plan.load.concurrency
        slots, granted = asyncio.Semaphore(self._share.slots(cap) if cap else sys.maxsize), 0
        if self._plan.end is not None:
            arrivals = int(dues.searchsorted(self._plan.end, "right"))
            self._later((self._plan.end + LAST) / NS_PER_S, self._over, slots, arrivals)
        for ordinal, offset in enumerate(dues.tolist()):
            due = self.origin + offset
            await self._until(due)
            if slots.locked():
                await slots.acquire()
                granted = self._clock()
            else:
                await slots.acquire()
            task = self._start(self._converse(ordinal, due, max(due, granted)))
            task.add_done_callback(lambda _: slots.release())
            self._next = ordinal + 1

    def _over(self, slots: asyncio.Semaphore, arrivals: int) -> None:
        """The time of an open loop has passed: it ends, unless an arrival is only late, and not for want of a slot."""
        if slots.locked() or self._next >= arrivals:
            self.stop("stages" if self._plan.load.stages else "duration", self._times.grace)
        else:
            self._later(LAST / NS_PER_S, self._over, slots, arrivals)

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

    # one place

    async def _converse(self, ordinal: int, scheduled: int, ready: int) -> None:
        """The first request of a place and, if it ends well, the turns that follow. `ready`: when nothing but this
        client kept it from leaving."""
        job, tokens = self.sender.first_request(self._share.position(ordinal)), 0.0
        later = job.prompt.later
        if self.attempts.has_limits:
            allowed, tokens = await self.attempts.wait_for_limits(job, ready)
            if self.stopping:
                return self._record_held(ordinal, job, scheduled)
            scheduled, ready = (scheduled, ready) if allowed == ready else (allowed, allowed)
        flight = self._flight(ordinal, 0, job, scheduled)
        await self.sender.send(flight, ready, len(later))
        if (
            flight.retry_in is not None or self.attempts.has_limits
        ):  # of most requests this is all, and it is the hot path
            flight = await self.attempts.send_retries(flight, len(later), tokens)
        if flight.succeeded and later:
            await self._follow(ordinal, flight, later)
        return None

    def _record_held(self, ordinal: int, job: PreparedRequest, due: int) -> None:
        """An arrival of an open loop had come; for what a slot would have sent next nobody had asked yet."""
        if self._due is not None:
            flight = self._flight(ordinal, 0, job, due)
            held = Failure("stopped", f"held back by --rpm or --tpm when the run ended ({self.ended})")
            self.sender.record(flight, held, len(job.prompt.later))

    async def _follow(self, ordinal: int, flight: InFlightRequest, later: Sequence[Prompt]) -> None:
        """The later turns, each when the one before has ended well and been thought over."""
        for turn, said in enumerate(later, 1):
            due = self._clock() + round(said.think * NS_PER_S)
            job = self.sender.next_turn(self._share.position(ordinal), turn, flight)
            tokens = 0.0
            if not self.stopping:
                await self._think(due)
            if self.attempts.has_limits and not self.stopping:
                due, tokens = await self.attempts.wait_for_limits(job, due)
            if self.stopping:
                self.unsent_turns += len(later) - turn + 1
                return
            flight = self._flight(ordinal, turn, job, due)
            flight = await self.attempts.send(flight, due, len(later) - turn, tokens)
            if not flight.succeeded:
                return

    def _flight(self, ordinal: int, turn: int, job: PreparedRequest, scheduled: int) -> InFlightRequest:
        phase = self._phase(ordinal, scheduled)
        if not self._armed and phase == "measure":
            self._arm()
        return self.sender.build(self._share.position(ordinal), turn, job, scheduled, phase)

    def _phase(self, ordinal: int, scheduled: int) -> Phase:
        """By time where warm-up or cool-down of a closed loop are times, else by place."""
        if self._cooling:
            return "cooldown"
        if self._timed:
            load, at, end = self._plan.load, scheduled - self.origin, self._plan.end
            if at < load.warmup_time * NS_PER_S:
                return "warmup"
            if end is not None and at >= end - load.cooldown_time * NS_PER_S:
                return "cooldown"
        return self._plan.phase(self._share.position(ordinal - self._warmed))

    # time

    async def _think(self, until: int) -> None:
        """Wait, unless the run is stopped meanwhile. By the event loop's own timer: many think at a time, and `wait` is
        for the one that keeps the schedule."""
        task = asyncio.current_task()
        assert task is not None
        self._thinking.add(task)
        try:
            while until > self._clock() and not self.stopping:  # of a stop that came before nobody would tell it
                await self._sleep(until)
        except asyncio.CancelledError:
            if not self.stopping:
                raise
            task.uncancel()
        finally:
            self._thinking.discard(task)

    async def _until(self, due: int) -> None:
        while due > self._clock():
            await self._wait(due)

    async def _sleep(self, due: int) -> None:
        await asyncio.sleep((due - self._clock()) / NS_PER_S)

    def _later(self, seconds: float, call: Callable[..., None], *given: object) -> None:
        self._timers.append(self._loop.call_later(max(0.0, seconds), call, *given))

    def _arm(self) -> None:
        """In a closed loop the clock of --duration starts with the first measured request; an open one has a plan."""
        self._armed = True
        if self._times.duration is None or self._plan.offsets is not None:
            return
        if self._plan.load.cooldown_time:
            self._later(self._times.duration, self._cool, "duration")
        else:
            self._later(self._times.duration, self.stop, "duration", self._times.grace)

    def _cool(self, reason: str) -> None:
        """The load is kept up, unmeasured, while the last measured requests end."""
        self._cooling, self._total = True, None
        self._later(self._plan.load.cooldown_time, self.stop, reason, self._times.grace)
