"""Send the requests of a plan when they are due, and decide when the run stops.

Works on any clock, transport and event loop, so that tests run it in virtual time. It prints and writes nothing.
`sender.py` sends the single request; `metrics/` computes the numbers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine

from loadstone.engine.in_flight import InFlightRequest
from loadstone.engine.requests import PreparedRequest
from loadstone.engine.sender import Sender
from loadstone.records import Failure, FailureCause, Phase
from loadstone.schedule.arrivals import Offsets
from loadstone.schedule.partition import Partition
from loadstone.summary import EndReason
from loadstone.units import NS_PER_S

# Waits until an instant of the run's clock (ns); may return early.
Wait = Callable[[int], Awaitable[None]]
# ns between the first sends of a closed loop. The client needs about 0.15 ms to open a connection, and the server some
# time to accept it; without a stagger that shows as TTFT of the first wave (5 ms on average with 256 streams).
STAGGER = 200_000
# ns after the end of an open loop's time at which it is over: the last arrival may be due at the end itself.
LAST = 1_000_000


class Runner:
    """One run of one plan, or of one partition of it.

    An ordinal counts the positions of this partition; `Partition.position` gives the position in the plan.

    sender: sends the requests.
    origin: ns of the clock at which the run's time is 0.
    ended: why the run ended (see `run`).
    stopping: True once nothing more is sent.
    unsent_turns: later turns of conversations that there was no time for.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        wait: Wait | None = None,
        partition: Partition | None = None,
        duration: float | None = None,
        grace: float = 30.0,
        stagger: int = STAGGER,
        live_concurrency: bool = False,
    ) -> None:
        """Prepare a run.

        wait: waits for the next due request; the event loop's sleep if None.
        duration: seconds from the first measured request on.
        grace: seconds that requests in flight have when a time ends the run.
        stagger: ns between the first requests of the slots of a closed loop.
        live_concurrency: the number of slots comes from `set_concurrency`, not from the plan.
        """
        self.sender = sender
        plan = self._plan = sender.plan
        self._clock = sender.clock
        self._duration = duration
        self._grace = grace
        self._stagger = stagger
        self._wait = wait or self._sleep
        self._partition = partition or Partition()
        self._concurrency_changed = asyncio.Event() if live_concurrency else None

        # Positions of this partition: the next ordinal, how many there are, and when they are due (open loop).
        self._next = 0
        self._total = None if plan.total is None else self._partition.count(plan.total)
        self._due = None if plan.offsets is None else plan.offsets[self._partition.positions(len(plan.offsets))]

        # Slots of a closed loop: how many are to be open, how many ever were, and which of these have closed.
        self._level = self._highest = 0
        self._closed: set[int] = set()

        # Phases of a closed loop that are times: requests sent as warm-up, and whether cool-down has begun.
        self._timed = plan.offsets is None and bool(plan.load.warmup_time or plan.load.cooldown_time)
        self._warmup_sent = 0
        self._cooling_down = False
        self._duration_started = False

        self._error: BaseException | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._thinking: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self.origin = 0
        self.ended = EndReason.DONE
        self.stopping = False
        self.unsent_turns = 0

    async def run(self, origin: int | None = None) -> EndReason:
        """Run to the end. Return why it ended: `done`, `duration`, `stages` or the reason given to `stop`.

        origin: when the run begins, ns of the clock; at once if None.
        """
        self._loop = asyncio.get_running_loop()
        self.origin = self.sender.origin = self._clock() if origin is None else origin
        self._dispatcher = asyncio.ensure_future(self._dispatch())

        # Wait until nothing more is to be sent, then for the requests in flight.
        await asyncio.wait([self._dispatcher])
        if not self._dispatcher.cancelled():
            self._dispatcher.result()
        while self._sending:
            await asyncio.wait(self._sending)
        if self._error is not None:
            raise self._error

        if self.stopping and self._due is not None:
            # Arrivals that were due but got no slot before the run was stopped have a record too.
            failure = Failure(FailureCause.STOPPED, f"waiting for a slot when the run ended ({self.ended})")
            for ordinal in self._overdue(self._due, self._stopped_at):
                due_at = self.origin + int(self._due[ordinal])
                prepared = self.sender.first_request(self._partition.position(ordinal))
                request = self._build(ordinal, 0, prepared, due_at)
                self.sender.record(request, failure, len(prepared.prompt.later))
        for timer in self._timers:
            timer.cancel()
        return self.ended

    @property
    def now(self) -> int:
        """Return ns since the run began."""
        return self._clock() - self.origin

    @property
    def overdue(self) -> int:
        """Return how many arrivals wait for a slot."""
        return 0 if self._due is None else len(self._overdue(self._due, self.now))

    def stop(self, reason: EndReason, grace: float = 0.0) -> None:
        """Stop sending. Requests in flight have `grace` seconds to end, then they are cancelled.

        A second call may shorten the grace; the reason of the first call stays.
        """
        if not self.stopping:
            self.stopping = True
            self.ended = reason
            self._stopped_at = self.now
            self.sender.closing = True
            for waiting in (self._dispatcher, *self._thinking):
                if waiting is not None:
                    waiting.cancel()
        failure = Failure(FailureCause.STOPPED, f"in flight when the run ended ({reason})")
        self._call_later(grace, self.sender.cancel_all, failure)

    def set_concurrency(self, slots: int) -> None:
        """Set how many requests or conversations are in flight: more start at once, fewer as they end."""
        assert self._concurrency_changed is not None
        self._level = slots
        self._concurrency_changed.set()

    def _overdue(self, due: Offsets, until: int) -> range:
        """Return the ordinals of an open loop that were due by `until` (ns of the run) and have not started."""
        return range(self._next, int(due.searchsorted(until, "right")))

    # Which request starts when

    async def _dispatch(self) -> None:
        """Start every request when it is due."""
        await self._until(self.origin)
        if self._due is not None:
            await self._run_open_loop(self._due)
            return
        if self._concurrency_changed is not None:
            while self._total is None or self._next < self._total:
                await self._concurrency_changed.wait()
                self._concurrency_changed.clear()
                await self._open_slots()
            return
        for at, level in self._plan.levels:
            await self._until(self.origin + at)
            self._level = self._partition.slots(level)
            await self._open_slots()
        if self._plan.end is not None:
            await self._until(self.origin + self._plan.end)
            self.stop(EndReason.STAGES, self._grace)

    async def _open_slots(self) -> None:
        """Open as many slots as the level asks for, but not more than there are requests.

        Slots above the level close by themselves. Processes take turns, so that their first sends are staggered too.
        """
        level = min(self._level, self._total or self._level)
        reopened = sorted(slot for slot in self._closed if slot < level) if level else []
        start = self._clock()
        partition = self._partition
        for number, slot in enumerate([*reopened, *range(self._highest, level)]):
            await self._until(start + (number * partition.workers + partition.worker) * self._stagger)
            self._highest = max(self._highest, slot + 1)
            self._closed.discard(slot)
            self._start(self._run_slot(slot))

    async def _run_slot(self, slot: int) -> None:
        """Run one user: the next request, or conversation, is due the moment the previous one has ended."""
        load = self._plan.load
        while slot < self._level:
            free_at = self._clock()

            # Warm-up and cool-down by time come on top of the number of requests.
            if self._timed and self._total is not None:
                if free_at - self.origin < load.warmup_time * NS_PER_S:
                    self._total += 1
                    self._warmup_sent += 1
                if self._next >= self._total and load.cooldown_time and not self._cooling_down:
                    self._start_cooldown(EndReason.DONE)
            if self.stopping or (self._total is not None and self._next >= self._total):
                break

            # Take the next position.
            ordinal = self._next
            self._next += 1
            await self._send_position(ordinal, free_at, free_at)
        self._closed.add(slot)
        if self._concurrency_changed is not None:
            self._concurrency_changed.set()

    async def _run_open_loop(self, due: Offsets) -> None:
        """Start each request at its own absolute time, so that a late one does not make the next one late.

        A cap on the concurrency makes requests wait in their order.
        """
        cap = self._plan.load.concurrency
        slots = asyncio.Semaphore(self._partition.slots(cap) if cap else sys.maxsize)
        slot_free_at = 0
        if self._plan.end is not None:
            arrivals = int(due.searchsorted(self._plan.end, "right"))
            self._call_later((self._plan.end + LAST) / NS_PER_S, self._end_open_loop, slots, arrivals)
        for ordinal, offset in enumerate(due.tolist()):
            due_at = self.origin + offset
            await self._until(due_at)
            if slots.locked():
                await slots.acquire()
                slot_free_at = self._clock()
            else:
                await slots.acquire()
            task = self._start(self._send_position(ordinal, due_at, max(due_at, slot_free_at)))
            task.add_done_callback(lambda _: slots.release())
            self._next = ordinal + 1

    def _end_open_loop(self, slots: asyncio.Semaphore, arrivals: int) -> None:
        """Stop an open loop whose time has passed, unless an arrival is late although there are free slots."""
        if slots.locked() or self._next >= arrivals:
            self.stop(EndReason.STAGES if self._plan.load.stages else EndReason.DURATION, self._grace)
        else:
            self._call_later(LAST / NS_PER_S, self._end_open_loop, slots, arrivals)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._on_task_end)
        return task

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        """Stop the run if a task raised: failures of requests are records, so an exception is a bug of this program."""
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self.stop(EndReason.ERROR)

    # One position: a request, or a whole conversation

    async def _send_position(self, ordinal: int, due: int, ready_at: int) -> None:
        """Send the first request of a position and, if it succeeds, the turns that follow.

        due: ns of the clock, as recorded.
        ready_at: ns; from here on only this client's own lag delayed the request.
        """
        prepared = self.sender.first_request(self._partition.position(ordinal))
        later = prepared.prompt.later
        has_limits = self.sender.rate_limiter is not None  # a request that they delay is due when they let it go
        tokens = 0.0
        if has_limits:
            allowed_at, tokens = await self.sender.wait_for_limits(prepared, ready_at, self._think)
            if self.stopping:
                # An arrival of an open loop was due. In a closed loop nobody had asked for the next request yet.
                if self._due is not None:
                    request = self._build(ordinal, 0, prepared, due)
                    failure = Failure(
                        FailureCause.STOPPED, f"held back by --rpm or --tpm when the run ended ({self.ended})"
                    )
                    self.sender.record(request, failure, len(later))
                return
            if allowed_at != ready_at:
                due = ready_at = allowed_at
        request = self._build(ordinal, 0, prepared, due)
        await self.sender.send(request, ready_at, len(later))
        # Hot path: most requests are neither retried nor limited, and have no later turns.
        if request.retry_in is not None or has_limits:
            request = await self.sender.send_retries(request, len(later), tokens, self._think)
        if not request.succeeded:
            return

        # Later turns: each is due when the previous one has succeeded and its think time has passed.
        for turn, prompt in enumerate(later, 1):
            due = self._clock() + round(prompt.think * NS_PER_S)
            prepared = self.sender.next_turn(self._partition.position(ordinal), turn, request)
            tokens = 0.0
            if not self.stopping:
                await self._think(due)
            if has_limits and not self.stopping:
                due, tokens = await self.sender.wait_for_limits(prepared, due, self._think)
            if self.stopping:
                self.unsent_turns += len(later) - turn + 1
                return
            request = self._build(ordinal, turn, prepared, due)
            await self.sender.send(request, due, len(later) - turn)
            request = await self.sender.send_retries(request, len(later) - turn, tokens, self._think)
            if not request.succeeded:
                return

    def _build(self, ordinal: int, turn: int, prepared: PreparedRequest, due: int) -> InFlightRequest:
        """Build a request with its phase. The first measured one of a closed loop starts the time of --duration."""
        load = self._plan.load
        position = self._partition.position(ordinal)

        # The phase: by time where warm-up or cool-down of a closed loop are times, else by position.
        end = self._plan.end
        phase: Phase
        if self._cooling_down:
            phase = "cooldown"
        elif self._timed and due - self.origin < load.warmup_time * NS_PER_S:
            phase = "warmup"
        elif self._timed and end is not None and due - self.origin >= end - load.cooldown_time * NS_PER_S:
            phase = "cooldown"
        elif self._warmup_sent:
            phase = self._plan.phase(self._partition.position(ordinal - self._warmup_sent))
        else:
            phase = self._plan.phase(position)

        if not self._duration_started and phase == "measure":
            self._duration_started = True
            if self._duration is not None and self._plan.offsets is None:
                if load.cooldown_time:
                    self._call_later(self._duration, self._start_cooldown, "duration")
                else:
                    self._call_later(self._duration, self.stop, "duration", self._grace)
        return self.sender.build(position, turn, prepared, due, phase)

    # Time

    async def _think(self, until: int) -> None:
        """Wait until `until` (ns), or until the run is stopped.

        Uses the event loop's own timer, as many users think at a time; `wait` is for the one task that keeps the
        schedule.
        """
        task = asyncio.current_task()
        assert task is not None
        self._thinking.add(task)
        try:
            while until > self._clock() and not self.stopping:  # a stop that came before cannot cancel this task
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

    def _call_later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        self._timers.append(self._loop.call_later(max(0.0, seconds), call, *arguments))

    def _start_cooldown(self, reason: EndReason) -> None:
        """Keep up the load, unmeasured, while the last measured requests end; then stop for `reason`."""
        self._cooling_down = True
        self._total = None
        self._call_later(self._plan.load.cooldown_time, self.stop, reason, self._grace)
