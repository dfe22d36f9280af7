"""The processes of a run, seen from the one that plans it: this one alone, or several more that it starts and leads.

Each gets its share of the plan and writes its own records; nothing passes between them while requests are sent. One
that dies ends the run: what it had written stays, what it owed is written down as `stopped`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from loadstone.engine import lost_requests, run_folder
from loadstone.engine.lifecycle import Stoppable
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.worker import OnProgress, OnStart, Worker, WorkerInputs
from loadstone.engine.worker_messages import (  # fmt: skip
    FrameSplitter,
    Progress,
    Ready,
    Refusal,
    StartSignal,
    Stop,
    WorkerResult,
    WorkerSpec,
    decode_from_worker,
    encode_frame,
    pack_plan,
)
from loadstone.errors import UsageError
from loadstone.host import child_process, machine, timer
from loadstone.host.client_health import allowed_cores
from loadstone.records import Record
from loadstone.schedule import worker_count
from loadstone.schedule.partition import Partition, known_total, partition
from loadstone.transport import address
from loadstone.units import NS_PER_S

# Rows of which the length of the answers is looked up beforehand.
SAMPLE = 1000
# ns from the word to go to the beginning: each process hears it by then.
START_DELAY = 100_000_000
# Seconds for the others to end when one has died, and for each to end after its time is over.
KILL_AFTER = 5.0


class RunEnd(Struct, frozen=True):
    """How a run ended: why, in words where there was a special reason, and what each process says."""

    ended: str
    because: str | None
    results: list[WorkerResult]


class Workers(Stoppable, Protocol):
    """Whoever carries out a run."""

    # Processes.
    size: int

    async def run(self, on_progress: OnProgress | None, on_start: OnStart = lambda _: None) -> RunEnd:
        """`on_start` is told when the run's time is 0, ns of the clock."""


class InProcess:
    """This process alone."""

    size = 1

    def __init__(self, made: PreparedRun, folder: run_folder.RunFolder, request_ids: str | None) -> None:
        part = WorkerInputs(
            config=made.config, api=made.api, plan=made.plan, requests=made.requests, endpoints=made.endpoints,
            records=folder.path / run_folder.RECORDS, request_ids=request_ids,
        )  # fmt: skip
        self._engine = Worker(part)

    @property
    def in_flight(self) -> int:
        return self._engine.in_flight

    def stop(self, reason: str, grace: float) -> None:
        self._engine.stop(reason, grace)

    async def run(self, on_progress: OnProgress | None, on_start: OnStart = lambda _: None) -> RunEnd:
        outcome = await self._engine.run(on_progress, on_start=on_start)
        return RunEnd(outcome.ended, None, [outcome])


def worker_spec(
    made: PreparedRun, share: Partition, records: Path, request_ids: str | None, live_concurrency: bool = False
) -> WorkerSpec:
    """What a process is told of its share. `live_concurrency`: it will be told, too, how many requests are to be in flight."""
    plan, total = made.plan, known_total(made.plan)
    places = range(len(plan.turns)) if total is None or plan.repeats else share.positions(total).tolist()
    return WorkerSpec(
        partition=share,
        config=made.config,
        plan=pack_plan(plan),
        prompts=made.requests.prompts(plan.rows_of(places)),
        models=made.models,
        records=str(records.absolute()),
        request_ids=request_ids,
        live_concurrency=live_concurrency,
    )


class WorkerPool:
    """Several processes on this machine."""

    def __init__(
        self, prepared: PreparedRun, folder: run_folder.RunFolder, workers: int, request_ids: str | None
    ) -> None:
        self._plan, self._grace, self._folder = prepared.plan, prepared.config.grace, folder
        self._shares = partition(prepared.plan, workers)
        self.size = len(self._shares)
        self._commissions = [
            worker_spec(prepared, share, folder.shard(share.worker), request_ids) for share in self._shares
        ]
        self._hands: list[WorkerProcess] = []
        self._stopped: str | None = None
        self._patience: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        return sum(hand.in_flight for hand in self._hands)

    def stop(self, reason: str, grace: float) -> None:
        if self._stopped is None:
            self._stopped, self._last = reason, timer.clock()
        for hand in self._hands:
            hand.send(Stop(reason, grace))
        if self._patience is not None:
            self._patience.cancel()
        self._patience = asyncio.get_running_loop().call_later(grace + KILL_AFTER, self._kill)

    def _kill(self) -> None:
        """One that hangs would keep us for ever."""
        for hand in self._hands:
            hand.kill()

    async def run(self, on_progress: OnProgress | None, on_start: OnStart = lambda _: None) -> RunEnd:
        """From the start of the processes to the end of the last. Raises UsageError when one of them does not begin."""
        try:
            for wanted in self._commissions:
                self._hands.append(await WorkerProcess.start(wanted, on_progress))
            await asyncio.gather(*(hand.ready() for hand in self._hands))
            self._origin = timer.clock() + START_DELAY
            on_start(self._origin)
            begun = self._stopped is None
            for hand in self._hands if begun else ():
                hand.send(StartSignal(self._origin))
            await asyncio.gather(*(self._followed(hand) for hand in self._hands if begun))
        finally:
            await asyncio.gather(*(hand.close() for hand in self._hands))
            if self._patience is not None:
                self._patience.cancel()
        lost = [hand for hand in self._hands if begun and hand.result is None]
        if lost:
            self._folder.append(self._folder.shard(len(self._hands)), self._owed(lost))
        return self._ending(lost)

    async def _followed(self, hand: WorkerProcess) -> None:
        """To its end; its death ends the others."""
        await hand.ended()
        if hand.result is None:
            self.stop("worker", min(self._grace, KILL_AFTER))
            hand.died = self._last - self._origin  # nothing is due after an end, however long one hung
        elif hand.result.ended.startswith("cannot write"):
            self.stop(hand.result.ended, 0.0)

    def _owed(self, lost: Sequence[WorkerProcess]) -> list[Record]:
        owed: list[Record] = []
        for hand in lost:
            share = self._shares[hand.worker]
            written = lost_requests.WrittenRecords(run_folder.load_records(self._folder.shard(hand.worker)))
            slots = lost_requests.open_slots(self._plan, share, hand.died, hand.in_flight)
            owed += lost_requests.missing_records(
                self._plan, share, written, hand.died, slots, f"its process died: {hand.exit_text}"
            )
        return owed

    def _ending(self, lost: Sequence[WorkerProcess]) -> RunEnd:
        outcomes = [hand.result for hand in self._hands if hand.result is not None]
        if lost:
            number = f"{lost[0].worker + 1} of {len(self._hands)}"
            return RunEnd("worker", f"worker process {number} died: {lost[0].exit_text}", outcomes)
        reasons = [outcome.ended for outcome in outcomes]
        unwritten = next((reason for reason in reasons if reason.startswith("cannot write")), None)
        special = next((reason for reason in reasons if reason != "done"), "done")
        return RunEnd(unwritten or self._stopped or special, None, outcomes)


def create_workers(made: PreparedRun, folder: run_folder.RunFolder, request_ids: str | None) -> Workers:
    """Whoever is to carry out a run: as many processes as its configuration says."""
    workers = made.config.workers
    if workers == "auto":
        workers = 1 if made.config.own_model else _wanted(made)  # each process would make a model of its own
    if len(partition(made.plan, workers)) == 1:
        return InProcess(made, folder, request_ids)
    return WorkerPool(made, folder, workers, request_ids)


def _wanted(made: PreparedRun) -> int:
    """As many as the load needs and this machine can use."""
    config, plan = made.config, made.plan
    lengths = [asked for row in range(min(len(plan.turns), SAMPLE)) if (asked := made.requests.get(row).output_len)]
    output = round(sum(lengths) / len(lengths)) if lengths else None
    recorded = len(plan.offsets) * NS_PER_S / max(1, int(plan.offsets[-1])) if plan.offsets is not None else None
    most = (machine.load_ceiling(config) or {}).get("events_per_second")
    local = any(machine.is_local(address.parse_url(url)[0]) for url in config.urls)
    return worker_count.choose_workers(plan.load, output, len(allowed_cores() or [0]), local, most, recorded)


class WorkerProcess:
    """One process: what it says, and what it is told."""

    def __init__(self, worker: int, process: Process, hear: OnProgress | None) -> None:
        self.worker = worker
        self.result: WorkerResult | None = None
        self.in_flight = self.died = 0
        self._process = process
        self._hear = hear
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, wanted: WorkerSpec, hear: OnProgress | None) -> WorkerProcess:
        """A session of its own keeps Ctrl-C from it: that is for us to hear, and to say what follows."""
        command = child_process.command("loadstone.engine.worker_main")
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, start_new_session=True, env=child_process.environment()
            )
        except OSError as exc:
            number = f"{wanted.partition.worker + 1} of {wanted.partition.workers}"
            raise UsageError(
                f"cannot start worker process {number}: {exc.strerror}; take fewer with --workers"
            ) from exc
        hand = cls(wanted.partition.worker, process, hear)
        hand.send(wanted)
        return hand

    def send(self, message: WorkerSpec | StartSignal | Stop) -> None:
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(encode_frame(message))

    def ready(self) -> Awaitable[None]:
        return self._ready

    async def ended(self) -> None:
        await self._listening

    def kill(self) -> None:
        """The last resort."""
        if self._process.returncode is None:
            self._process.kill()

    @property
    def exit_text(self) -> str:
        """What became of it, in words."""
        status = self._process.returncode
        if status is None or status >= 0:
            return f"it ended with status {status}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"

    async def close(self) -> None:
        """Its stdin ends, so it ends too."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._listening
        await self._process.wait()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        frames = FrameSplitter()
        while data := await self._process.stdout.read(1 << 16):
            for body in frames.feed(data):
                self._take(decode_from_worker(body))
        await self._process.wait()
        if not self._ready.done():
            self._ready.set_exception(UsageError(f"a worker process did not begin: {self.exit_text}"))

    def _take(self, message: Ready | Refusal | Progress | WorkerResult) -> None:
        if isinstance(message, Ready):
            self._ready.set_result(None)
        elif isinstance(message, Refusal):
            self._ready.set_exception(UsageError(message.text))
        elif isinstance(message, Progress):
            self.in_flight = message.in_flight
            if self._hear:
                self._hear(message)
        else:
            self.result, self.in_flight = message, 0
