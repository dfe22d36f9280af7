"""The worker's side of a swarm: a Locust worker that supervises processes and sends their records to the master.

It carries out the master's messages, starts the processes, and converts Locust users to slots and progress to
statistics. It does nothing per request: the processes do, and they go on while the master cannot be reached.
"""

from __future__ import annotations

import platform
import socket
import time
from typing import Any

import gevent
import msgspec
import numpy

from loadstone.engine.progress_digest import Progress
from loadstone.engine.worker_messages import SetConcurrency, StartSignal, Stop
from loadstone.errors import UsageError
from loadstone.swarm import messages, settings
from loadstone.swarm.channel import MessageChannel, log
from loadstone.swarm.locust_stats import LocustStats
from loadstone.swarm.members import split_users
from loadstone.swarm.record_stream import RecordStream
from loadstone.swarm.worker_processes import LoadProcess
from loadstone.version import __version__

# Seconds between two rounds of work, and between two heartbeats.
TICK, HEARTBEAT_INTERVAL = 0.1, 1.0
# Seconds for the processes to be ready.
START_TIMEOUT = 60.0
# Seconds for the records to reach the master when this worker is stopped.
DRAIN_TIMEOUT = 10.0


def versions() -> dict[str, str]:
    """Return the versions that must be the same on all machines, so that the same plan gives the same requests."""
    return {"loadstone": __version__, "python": platform.python_version(), "numpy": numpy.__version__}


class WorkerRun:
    """One run on this machine.

    chunks: of the plan, by number.
    user_driven: the number of Locust's users is the concurrency.
    sends_progress: the master has stop conditions, which need the progress.
    stop: the reason and grace of the last StopSending.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        self.chunks: dict[int, bytes] = {}
        self.processes: list[LoadProcess] = []
        self.streams: list[RecordStream] = []
        self.user_driven = self.sends_progress = False
        self.started = self.stats_sent = self.over = False
        self.stop: tuple[str, float] | None = None

    def close(self) -> None:
        """Let the processes write their records and end."""
        for process in self.processes:
            process.close()


class Worker:
    """Bound to a Locust worker's environment. Call `change_users` as its users come and go."""

    def __init__(self, environment: Any, worker_settings: settings.WorkerSettings) -> None:
        self._settings = worker_settings
        self._environment = environment
        self._stats = LocustStats(environment.stats)
        self._early_progress: list[Progress] | None = []
        self._run: WorkerRun | None = None
        self._users = 0
        self._concurrency: list[int] = []  # the slots that each process was given last
        self._channel = MessageChannel(environment.runner, self._receive)
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.quitting.add_listener(self._on_quitting)
        gevent.spawn(self._work)

    def change_users(self, change: int) -> None:
        """Add a user (1) or remove one (-1)."""
        self._users += change

    # Messages

    def _receive(self, _: str, message: messages.AnyMessage) -> None:
        run = self._run
        if isinstance(message, messages.Invite):
            if run is None or run.run != message.run:
                if run is not None:
                    run.close()
                self._run = WorkerRun(message.run)
                self._early_progress, self._concurrency = [], []
                self._stats = LocustStats(self._environment.stats)
            host, processes = socket.gethostname(), self._settings.process_count
            self._channel.send(messages.Join(run=message.run, host=host, processes=processes, versions=versions()))
        elif run is None or message.run != run.run:
            return
        elif isinstance(message, messages.Ping):
            self._channel.send(messages.Pong(run=run.run, number=message.number, at=time.monotonic_ns()))
        elif isinstance(message, messages.PlanChunk):
            is_new = message.number not in run.chunks
            run.chunks[message.number] = message.data
            self._channel.send(messages.ChunkReceived(run=run.run, number=message.number))
            if is_new and len(run.chunks) == message.count:
                gevent.spawn(self._start_processes, run)
        elif isinstance(message, messages.Start):
            if not run.started:
                run.started = True
                for process in run.processes:
                    process.send(StartSignal(message.origin))
        elif isinstance(message, messages.BatchAck):
            for stream in run.streams:
                stream.acknowledge(message)
        elif isinstance(message, messages.StopSending):
            if run.stop != (message.reason, message.grace):
                run.stop = (message.reason, message.grace)
                for process in run.processes:
                    process.send(Stop(message.reason, message.grace))
        elif isinstance(message, messages.RunOver):
            run.close()
            run.over = True
            for stream in run.streams:
                stream.close()
                if message.complete:
                    stream.path.unlink(missing_ok=True)
                else:
                    log.warning("records of this worker stay in %s", stream.path)

    def _start_processes(self, run: WorkerRun) -> None:
        """Start the processes, wait until all are ready, and report that to the master, or why they are not."""
        try:
            data = b"".join(run.chunks[number] for number in range(len(run.chunks)))
            run.chunks = dict.fromkeys(run.chunks, b"")  # the numbers tell a repeated chunk; the data may go
            self._settings.folder.mkdir(parents=True, exist_ok=True)
            for spec in messages.unpack_specs(data):
                path = self._settings.folder.absolute() / f"{run.run}.{spec.partition.worker}.jsonl"
                process = LoadProcess(msgspec.structs.replace(spec, records=str(path)), self._on_progress)
                run.user_driven = spec.live_concurrency
                run.sends_progress = spec.config.stop_error_rate is not None or spec.config.stop_saturated
                run.processes.append(process)
                run.streams.append(RecordStream(run.run, process, path, self._channel.send))
            with gevent.Timeout(START_TIMEOUT, UsageError(f"its processes were not ready within {START_TIMEOUT:g} s")):
                while not all(process.ready.is_set() for process in run.processes):
                    for process in run.processes:
                        if process.refusal is not None:
                            raise UsageError(process.refusal)
                    gevent.sleep(TICK / 5)
            self._channel.send(messages.MachineReady(run=run.run))
        except (UsageError, OSError, msgspec.MsgspecError, RecursionError) as exc:
            self._channel.send(messages.Refused(run=run.run, text=str(exc)))
            if self._run is not None:
                self._run.close()

    # Periodic work

    def _work(self) -> None:
        """Set the concurrency, send records and heartbeats, as long as there is a run."""
        last_heartbeat = 0.0
        while True:
            gevent.sleep(TICK)
            run, now = self._run, time.monotonic()
            if run is None or run.over or not run.processes:
                continue
            try:
                concurrency = split_users(self._users, len(run.processes))
                if run.user_driven and run.started and concurrency != self._concurrency:
                    self._concurrency = concurrency
                    for process, slots in zip(run.processes, concurrency, strict=True):
                        process.send(SetConcurrency(slots))
                # Statistics: once, before the StreamEnd. Locust itself would send them up to 3 s later.
                if not run.stats_sent and all(process.ended.is_set() for process in run.processes):
                    run.stats_sent = True
                    data: dict[str, Any] = {}
                    runner = self._environment.runner
                    self._environment.events.report_to_master.fire(client_id=runner.client_id, data=data)
                    runner.send_message("stats", data)
                for stream in run.streams:
                    stream.send_due(now)
                if now - last_heartbeat >= HEARTBEAT_INTERVAL:
                    last_heartbeat = now
                    finished = sum(process.finished for process in run.processes)
                    slots_now = self._concurrency
                    self._channel.send(
                        messages.Heartbeat(run=run.run, started=run.started, concurrency=slots_now, finished=finished)
                    )
            except Exception:  # the run goes on without it; missing records are reported at the end
                log.exception("minding the processes failed")

    # Statistics

    def _on_progress(self, progress: Progress) -> None:
        if self._run is not None and self._run.sends_progress:
            without_bins = msgspec.structs.replace(progress, **{name: {} for name in messages.BIN_FIELDS})
            self._channel.send(messages.ProgressUpdate(run=self._run.run, progress=without_bins))
        # Locust clears its statistics when the first users come: progress from before is added after that.
        if self._early_progress is not None:
            self._early_progress.append(progress)
        else:
            self._stats.add(progress)

    def _on_test_start(self, **_: Any) -> None:
        early, self._early_progress = self._early_progress or [], None
        for progress in early:
            self._stats.add(progress)

    def _on_quitting(self, **_: Any) -> None:
        """Stop the processes when Locust ends, and send what they wrote while the master still reads."""
        run = self._run
        if run is None:
            return
        run.close()
        if run.over:
            return
        with gevent.Timeout(DRAIN_TIMEOUT, False):
            while not all(stream.complete for stream in run.streams):
                gevent.sleep(TICK)
        for stream in run.streams:
            if not stream.complete:
                log.warning("records of this worker stay in %s", stream.path)
