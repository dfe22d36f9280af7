"""The processes that send the load on this machine, as the Locust worker that supervises them sees them.

Greenlets read and write their pipes; the processes themselves (python -m loadstone.engine.worker_main) run without
gevent. They end when their stdin is closed, so none outlives its Locust worker.
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

from loadstone.engine.progress_digest import Progress
from loadstone.engine.worker import WorkerResult
from loadstone.engine.worker_messages import (
    FrameSplitter,
    Ready,
    Refusal,
    ToWorker,
    WorkerSpec,
    decode_from_worker,
    encode_frame,
)
from loadstone.host import child_process

# Bytes that are read from a pipe at once.
READ_SIZE = 1 << 16


class LoadProcess:
    """One process.

    number: of the process, over all machines.
    records: path of its records.
    ready, ended: events.
    refusal: why it cannot take part, None if it can.
    result: None until it has ended, and if it died.
    finished: requests that it has finished so far.
    """

    def __init__(self, spec: WorkerSpec, on_progress: Callable[[Progress], None]) -> None:
        self.number = spec.partition.worker
        self.records = spec.records
        self.ready = Event()
        self.ended = Event()
        self.refusal: str | None = None
        self.result: WorkerResult | None = None
        self.finished = 0
        self._on_progress = on_progress
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self._process = child_process.start("loadstone.engine.worker_main", popen=subprocess.Popen, **pipes)
        self._in, self._out = os.dup(self._process.stdin.fileno()), os.dup(self._process.stdout.fileno())
        self._process.stdin.close()
        self._process.stdout.close()
        for pipe in (self._in, self._out):
            make_nonblocking(pipe)
        self._messages: Any = Queue()
        self.send(spec)
        gevent.spawn(self._write_messages)
        gevent.spawn(self._read_messages)

    def send(self, message: ToWorker) -> None:
        """Queue a message to the process."""
        self._messages.put(encode_frame(message))

    def close(self) -> None:
        """Close its stdin: it then writes its records and ends."""
        self._messages.put(None)

    def _write_messages(self) -> None:
        try:
            while (data := self._messages.get()) is not None:
                while data:
                    data = data[nb_write(self._in, data) :]
        except OSError:  # it has died, which the reader notices as well
            pass
        finally:
            os.close(self._in)

    def _read_messages(self) -> None:
        frames = FrameSplitter()
        while data := nb_read(self._out, READ_SIZE):
            for body in frames.feed(data):
                message = decode_from_worker(body)
                if isinstance(message, Ready):
                    self.ready.set()
                elif isinstance(message, Refusal):
                    self.refusal = message.text
                elif isinstance(message, Progress):
                    self.finished = message.finished
                    self._on_progress(message)
                else:
                    self.result = message
        os.close(self._out)
        self._process.wait()
        self.close()
        if not self.ready.is_set() and self.refusal is None:
            self.refusal = f"a process did not begin: it ended with status {self._process.returncode}"
        self.ended.set()
