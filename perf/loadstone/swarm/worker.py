"""A machine's side of a swarm: a Locust worker that minds engine processes and sends their records to the master.

It reads what the master writes, starts the processes, turns users into slots and pulses into statistics. It does
nothing for a request: all that happens in the processes, which go on while the master cannot be reached.
"""

from __future__ import annotations

import platform
import socket
import time
from typing import Any

import gevent
import msgspec
import numpy

from loadstone.engine.worker_messages import Progress
from loadstone.errors import UsageError
from loadstone.swarm import messages, settings
from loadstone.swarm.channel import MessageChannel, log
from loadstone.swarm.locust_stats import Figures
from loadstone.swarm.members import levels
from loadstone.swarm.messages import SwarmMessage
from loadstone.swarm.record_stream import Stream
from loadstone.swarm.worker_processes import Engine
from loadstone.version import __version__

TICK, BEAT = 0.1, 1.0
# Seconds for the processes to be ready; and, when this worker is told to end, for their records to leave.
START, DRAIN = 60.0, 10.0


def versions() -> dict[str, str]:
    """What has to be the same on all machines, for the same plan to be the same requests."""
    return {"loadstone": __version__, "python": platform.python_version(), "numpy": numpy.__version__}


class Task:
    """One run, as far as it is this machine's."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.pieces: dict[int, bytes] = {}
        self.engines: list[Engine] = []
        self.streams: list[Stream] = []
        self.led = self.watched = self.begun = self.reported = self.over = False
        self.halt: tuple[str, float] | None = None


class Worker:
    """Bound to a Locust worker's environment; `seat` is called as its users come and go."""

    def __init__(self, environment: Any, here: settings.Here) -> None:
        self._here = here
        self._environment = environment
        self._stats = Figures(environment.stats)
        self._early: list[Progress] | None = []
        self._task: Task | None = None
        self._seats = 0
        self._told: list[int] = []
        self._post = MessageChannel(environment.runner, self._take)
        environment.events.test_start.add_listener(self._started)
        environment.events.quitting.add_listener(self._quitting)
        gevent.spawn(self._work)

    def seat(self, change: int) -> None:
        """A user has come (1) or gone (-1)."""
        self._seats += change

    # letters

    def _take(self, _: str, letter: messages.Any_) -> None:
        if isinstance(letter, messages.Call):
            self._called(letter.run)
        elif self._task is None or letter.run != self._task.run:
            return
        elif isinstance(letter, messages.Ping):
            self._say(messages.Pong(run=letter.run, number=letter.number, at=time.monotonic_ns()))
        elif isinstance(letter, messages.PlanChunk):
            self._parcel(self._task, letter)
        elif isinstance(letter, messages.Begin):
            self._begin(self._task, letter.origin)
        elif isinstance(letter, messages.Ack):
            for stream in self._task.streams:
                stream.acknowledged(letter)
        elif isinstance(letter, messages.Halt):
            self._halt(self._task, letter)
        elif isinstance(letter, messages.Over):
            self._finish(self._task, letter.whole)

    def _say(self, letter: SwarmMessage) -> None:
        self._post.send(letter)

    def _called(self, run: str) -> None:
        if self._task is None or self._task.run != run:
            self._dismiss()
            self._task, self._early, self._told = Task(run), [], []
            self._stats = Figures(self._environment.stats)
        host = socket.gethostname()
        self._say(messages.Hello(run=run, host=host, processes=self._here.processes, versions=versions()))

    def _parcel(self, task: Task, parcel: messages.PlanChunk) -> None:
        news = parcel.number not in task.pieces
        task.pieces[parcel.number] = parcel.data
        self._say(messages.Got(run=task.run, number=parcel.number))
        if news and len(task.pieces) == parcel.of:
            gevent.spawn(self._start, task)

    def _start(self, task: Task) -> None:
        """Start the processes and wait for them; the answer goes to the master."""
        try:
            self._hire(task)
            self._say(messages.Standing(run=task.run))
        except (UsageError, OSError, msgspec.MsgspecError) as exc:
            self._say(messages.Declined(run=task.run, text=str(exc)))
            self._dismiss()

    def _hire(self, task: Task) -> None:
        data = b"".join(task.pieces[number] for number in range(len(task.pieces)))
        task.pieces = dict.fromkeys(task.pieces, b"")
        self._here.spool.mkdir(parents=True, exist_ok=True)
        for wanted in messages.unpacked(data):
            path = self._here.spool.absolute() / f"{task.run}.{wanted.partition.worker}.jsonl"
            engine = Engine(msgspec.structs.replace(wanted, records=str(path)), self._pulse)
            task.led, task.watched = wanted.live_concurrency, settings.watched(wanted.config)
            task.engines.append(engine)
            task.streams.append(Stream(task.run, engine, path, self._say))
        with gevent.Timeout(START, UsageError(f"its processes were not ready within {START:g} s")):
            while not all(engine.standing.is_set() for engine in task.engines):
                for engine in task.engines:
                    if engine.refusal is not None:
                        raise UsageError(engine.refusal)
                gevent.sleep(TICK / 5)

    def _begin(self, task: Task, origin: int) -> None:
        if not task.begun:
            task.begun = True
            for engine in task.engines:
                engine.go(origin)

    def _halt(self, task: Task, letter: messages.Halt) -> None:
        if task.halt != (letter.reason, letter.grace):
            task.halt = (letter.reason, letter.grace)
            for engine in task.engines:
                engine.stop(letter.reason, letter.grace)

    def _finish(self, task: Task, whole: bool) -> None:
        self._dismiss()
        task.over = True
        for stream in task.streams:
            stream.close()
            if whole:
                stream.path.unlink(missing_ok=True)
            else:
                log.warning("records of this worker stay in %s", stream.path)

    # work that goes on

    def _work(self) -> None:
        """Slots, records and signs of life, as long as there is a run."""
        beaten = 0.0
        while True:
            gevent.sleep(TICK)
            task, now = self._task, time.monotonic()
            if task is None or task.over or not task.engines:
                continue
            try:
                self._lead(task)
                if all(engine.over.is_set() for engine in task.engines):
                    self._report(task)
                for stream in task.streams:
                    stream.move(now)
                if now - beaten >= BEAT:
                    beaten = now
                    self._beat(task)
            except Exception:  # the run goes on without whatever that was; what is missing is found at the end
                log.exception("minding the processes failed")

    def _lead(self, task: Task) -> None:
        wanted = levels(self._seats, len(task.engines))
        if task.led and task.begun and wanted != self._told:
            self._told = wanted
            for engine, slots in zip(task.engines, wanted, strict=True):
                engine.level(slots)

    def _beat(self, task: Task) -> None:
        finished = sum(engine.finished for engine in task.engines)
        self._say(messages.Beat(run=task.run, begun=task.begun, levels=self._told, finished=finished))

    # statistics

    def _pulse(self, pulse: Progress) -> None:
        """Locust clears its statistics when the first users come: what was told before is added after."""
        if self._task is not None and self._task.watched:
            slim = msgspec.structs.replace(pulse, **{name: {} for name in messages.BINS})
            self._say(messages.Note(run=self._task.run, pulse=slim))
        if self._early is not None:
            self._early.append(pulse)
        else:
            self._stats.add(pulse)

    def _started(self, **_: Any) -> None:
        early, self._early = self._early or [], None
        for pulse in early:
            self._stats.add(pulse)

    def _report(self, task: Task) -> None:
        """Statistics that Locust would send within 3 s: at the end they go before the end mark."""
        if task.reported:
            return
        task.reported = True
        data: dict[str, Any] = {}
        runner = self._environment.runner
        self._environment.events.report_to_master.fire(client_id=runner.client_id, data=data)
        runner.send_message("stats", data)

    # ends

    def _dismiss(self) -> None:
        for engine in self._task.engines if self._task else ():
            engine.dismiss()

    def _quitting(self, **_: Any) -> None:
        """Locust ends. Its processes end with it; what they wrote is sent while there is somebody to read it."""
        task = self._task
        self._dismiss()
        if task is None or task.over:
            return
        with gevent.Timeout(DRAIN, False):
            while not all(stream.done for stream in task.streams):
                gevent.sleep(TICK)
        for stream in task.streams:
            if not stream.done:
                log.warning("records of this worker stay in %s", stream.path)
