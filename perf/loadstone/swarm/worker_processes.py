"""The processes that send the load on this machine, seen from the Locust worker that minds them.

Their pipes are read and written by greenlets; the processes themselves are clean: python -m loadstone.worker, with no
gevent in them. They end when their stdin does, so none outlives its Locust worker.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gevent
from gevent import subprocess
from gevent.event import Event
from gevent.os import make_nonblocking, nb_read, nb_write
from gevent.queue import Queue

from loadstone.engine.worker_messages import (
    FrameSplitter,
    Progress,
    Ready,
    Refusal,
    SetConcurrency,
    StartSignal,
    Stop,
    ToWorker,
    WorkerResult,
    WorkerSpec,
    decode_from_worker,
    encode_frame,
)
from loadstone.host import child_process

SIZE = 1 << 16
Hear = Callable[[Progress], None]


class Engine:
    """One process. `standing`: it is ready; `refusal`: it is not fit; `over`: it has ended, `outcome` is None if it
    died."""

    def __init__(self, commission: WorkerSpec, hear: Hear) -> None:
        self.number = commission.partition.worker
        self.records = commission.records
        self.standing = Event()
        self.over = Event()
        self.refusal: str | None = None
        self.outcome: WorkerResult | None = None
        self.finished = 0
        self._hear = hear
        self._process: Any = child_process.start(
            "loadstone.engine.worker_main",
            popen=subprocess.Popen,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._in, self._out = os.dup(self._process.stdin.fileno()), os.dup(self._process.stdout.fileno())
        self._process.stdin.close()
        self._process.stdout.close()
        for pipe in (self._in, self._out):
            make_nonblocking(pipe)
        self._words: Any = Queue()
        self.tell(commission)
        gevent.spawn(self._write)
        gevent.spawn(self._read)

    def tell(self, message: ToWorker) -> None:
        self._words.put(encode_frame(message))

    def go(self, origin: int) -> None:
        self.tell(StartSignal(origin))

    def level(self, slots: int) -> None:
        self.tell(SetConcurrency(slots))

    def stop(self, reason: str, grace: float) -> None:
        self.tell(Stop(reason, grace))

    def dismiss(self) -> None:
        """Its stdin ends; it writes its records down and ends too."""
        self._words.put(None)

    def _write(self) -> None:
        try:
            while (data := self._words.get()) is not None:
                while data:
                    data = data[nb_write(self._in, data) :]
        except OSError:  # it has died; the reader sees that too
            pass
        finally:
            os.close(self._in)

    def _read(self) -> None:
        frames = FrameSplitter()
        while data := nb_read(self._out, SIZE):
            for body in frames.feed(data):
                self._take(decode_from_worker(body))
        os.close(self._out)
        self._process.wait()
        self.dismiss()
        if not self.standing.is_set() and self.refusal is None:
            self.refusal = f"a process did not begin: it ended with status {self._process.returncode}"
        self.over.set()

    def _take(self, message: Ready | Refusal | Progress | WorkerResult) -> None:
        if isinstance(message, Ready):
            self.standing.set()
        elif isinstance(message, Refusal):
            self.refusal = message.text
        elif isinstance(message, Progress):
            self.finished = message.finished
            self._hear(message)
        else:
            self.outcome = message
