"""Run a prepared load test in several worker processes that this one starts and leads.

Each worker gets its partition of the plan and writes its own records; nothing passes between them while requests are
sent. A worker that dies ends the run: what it had written stays, and the requests it owed are recorded as `stopped`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from asyncio.subprocess import Process
from pathlib import Path

from loadstone.engine import run_folder
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.progress_digest import Progress
from loadstone.engine.worker import OnProgress, OnStart, RunEnd, WorkerResult
from loadstone.engine.worker_messages import (  # fmt: skip
    FrameSplitter,
    Ready,
    Refusal,
    StartSignal,
    Stop,
    WorkerSpec,
    decode_from_worker,
    encode_frame,
    pack_plan,
)
from loadstone.errors import ConfigError, UsageError
from loadstone.host import child_process, timer
from loadstone.schedule.partition import Partition, known_total, split_plan
from loadstone.summary import EndReason

# ns from the start signal to the beginning of the run: each process has the signal by then.
START_DELAY = 100_000_000
# Seconds that the other workers have to end when one has died, and each of them when its time is over.
KILL_AFTER = 5.0


def worker_spec(
    prepared: PreparedRun,
    partition: Partition,
    records: Path,
    request_ids: str | None,
    live_concurrency: bool = False,
) -> WorkerSpec:
    """Return the first message to the worker of a partition."""
    plan = prepared.plan
    total = known_total(plan)
    repeats = total is None or plan.repeats
    positions = range(len(plan.turns)) if repeats else partition.positions(total or 0).tolist()
    return WorkerSpec(
        partition=partition,
        config=prepared.config,
        plan=pack_plan(plan),
        prompts=prepared.requests.prompts(map(plan.row, positions)),
        models=prepared.models,
        records=str(records.absolute()),
        request_ids=request_ids,
        live_concurrency=live_concurrency,
    )


class WorkerPool:
    """Runs the load test in several processes on this machine."""

    def __init__(
        self, prepared: PreparedRun, folder: run_folder.RunFolder, workers: int, request_ids: str | None
    ) -> None:
        self._plan = prepared.plan
        self._grace = prepared.config.grace
        self._folder = folder
        self._partitions = split_plan(prepared.plan, workers)
        self.size = len(self._partitions)
        self._specs = [
            worker_spec(prepared, partition, folder.shard(partition.worker), request_ids)
            for partition in self._partitions
        ]
        self._workers: list[WorkerProcess] = []
        self._stop_reason: EndReason | None = None
        self._kill_timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Return the number of requests in flight in all workers."""
        return sum(worker.in_flight for worker in self._workers)

    def stop(self, reason: EndReason, grace: float) -> None:
        """Stop sending; requests in flight have `grace` seconds to end. Workers that hang longer are killed."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self._stopped_at = timer.clock()
        for worker in self._workers:
            worker.send(Stop(reason, grace))
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self._kill_timer = asyncio.get_running_loop().call_later(grace + KILL_AFTER, self._kill)

    def _kill(self) -> None:

        for worker in self._workers:
            worker.kill()

    async def run(self, on_progress: OnProgress | None, on_start: OnStart = lambda _: None) -> RunEnd:
        """Start the workers and run to the end of the last. Raises UsageError when one of them does not start."""
        try:
            for spec in self._specs:
                self._workers.append(await WorkerProcess.start(spec, on_progress))
            await asyncio.gather(*(worker.ready for worker in self._workers))
            self._origin = timer.clock() + START_DELAY
            on_start(self._origin)
            started = self._stop_reason is None
            if started:
                for worker in self._workers:
                    worker.send(StartSignal(self._origin))
                await asyncio.gather(*(self._follow(worker) for worker in self._workers))
        finally:
            await asyncio.gather(*(worker.close() for worker in self._workers))
            if self._kill_timer is not None:
                self._kill_timer.cancel()
        lost = [worker for worker in self._workers if started and worker.result is None]
        if lost:
            from loadstone.engine import lost_requests  # only a run that loses a worker needs it

            # A record for each request that dead workers owed.
            shard = self._folder.shard(len(self._workers))
            for worker in lost:
                partition = self._partitions[worker.worker]
                written = lost_requests.WrittenRecords(run_folder.load_records(self._folder.shard(worker.worker)))
                slots = lost_requests.open_slots(self._plan, partition, worker.died_at, worker.in_flight)
                message = f"its process died: {worker.exit_text}"
                records = lost_requests.missing_records(self._plan, partition, written, worker.died_at, slots, message)
                self._folder.append(shard, records)

        # Why it ended: lost workers come first, then failed writes, then the reason of a stop.
        results = [worker.result for worker in self._workers if worker.result is not None]
        if lost:
            number = f"{lost[0].worker + 1} of {len(self._workers)}"
            return RunEnd(EndReason.WORKER, f"worker process {number} died: {lost[0].exit_text}", results)
        write_error = next((result.write_error for result in results if result.write_error), None)
        if write_error is not None:
            return RunEnd(EndReason.WRITE, write_error, results)
        special = next((result.ended for result in results if result.ended is not EndReason.DONE), EndReason.DONE)
        return RunEnd(self._stop_reason or special, None, results)

    async def _follow(self, worker: WorkerProcess) -> None:
        """Wait for the end of a worker. Stop the others if it died or could not write its records."""
        await worker.receiving
        if worker.result is None:
            self.stop(EndReason.WORKER, min(self._grace, KILL_AFTER))
            worker.died_at = self._stopped_at - self._origin  # nothing is due after a stop, however long a worker hung
        elif worker.result.write_error is not None:
            self.stop(worker.result.ended, 0.0)


class WorkerProcess:
    """One worker process and its messages.

    worker: its number.
    result: its last message; None if it died.
    in_flight: requests in flight, as it reported last.
    died_at: ns of the run's clock.
    ready: done once the worker is ready; raises UsageError if it refuses or ends.
    receiving: applies its messages until it ends.
    """

    def __init__(self, worker: int, process: Process, on_progress: OnProgress | None) -> None:
        self.worker = worker
        self.result: WorkerResult | None = None
        self.in_flight = 0
        self.died_at = 0
        self._process = process
        self._on_progress = on_progress
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.receiving = asyncio.ensure_future(self._receive())

    @classmethod
    async def start(cls, spec: WorkerSpec, on_progress: OnProgress | None) -> WorkerProcess:
        """Start a worker and send it its spec. Raises UsageError."""
        try:
            process = await child_process.start_async("loadstone.engine.worker_main")
        except OSError as exc:
            number = f"{spec.partition.worker + 1} of {spec.partition.workers}"
            raise ConfigError(
                f"cannot start worker process {number}: {exc.strerror}; take fewer with --workers", field="workers"
            ) from exc
        worker = cls(spec.partition.worker, process, on_progress)
        worker.send(spec)
        return worker

    def send(self, message: WorkerSpec | StartSignal | Stop) -> None:
        """Send a message, unless the process is gone."""
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write(encode_frame(message))

    def kill(self) -> None:
        """Kill the process if it still runs."""
        if self._process.returncode is None:
            self._process.kill()

    @property
    def exit_text(self) -> str:
        """Return how the process ended, in words."""
        status = self._process.returncode
        if status is None or status >= 0:
            return f"it ended with status {status}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"

    async def close(self) -> None:
        """Close its stdin, at which it ends, and wait for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self.receiving
        await self._process.wait()

    async def _receive(self) -> None:
        """Apply its messages until it ends."""
        assert self._process.stdout is not None
        splitter = FrameSplitter()
        while data := await self._process.stdout.read(1 << 16):
            for body in splitter.feed(data):
                message = decode_from_worker(body)
                if isinstance(message, Ready):
                    self.ready.set_result(None)
                elif isinstance(message, Refusal):
                    self.ready.set_exception(UsageError(message.text))
                elif isinstance(message, Progress):
                    self.in_flight = message.in_flight
                    if self._on_progress:
                        self._on_progress(message)
                else:
                    self.result = message
                    self.in_flight = 0
        await self._process.wait()
        if not self.ready.done():
            self.ready.set_exception(UsageError(f"a worker process did not begin: {self.exit_text}"))
