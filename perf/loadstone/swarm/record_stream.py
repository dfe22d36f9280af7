"""One records file on its way to the master, while it is being written: read, cut into batches, compressed, sent.

What is lost on the way is sent again; the file stays until the master says that it has everything.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from loadstone.swarm import messages
from loadstone.swarm.messages import SwarmMessage
from loadstone.swarm.record_batches import AGE, PATIENCE, SIZE, Batch, Outbox, whole_lines

if TYPE_CHECKING:
    from loadstone.swarm.worker_processes import Engine


class Stream:
    """`done`: the master has everything, end mark included."""

    def __init__(self, run: str, engine: Engine, path: Path, say: Callable[[SwarmMessage], None]) -> None:
        self.path = path
        self.done = False
        self._run, self._engine, self._say = run, engine, say
        self._outbox = Outbox()
        self._file: BinaryIO | None = None
        self._rest = b""
        self._read = self._marked = -PATIENCE

    def acknowledged(self, ack: messages.Ack) -> None:
        if ack.engine == self._engine.number:
            self._outbox.acknowledged(ack.count, time.monotonic())
            self.done = self.done or ack.ended
            if self.done:
                self.close()

    def close(self) -> None:
        """Nothing more is read."""
        if self._file is not None:
            self._file.close()

    def move(self, now: float) -> None:
        """Send what there is to send."""
        if self.done:
            return
        for batch in self._outbox.again(now):
            self._send(batch)
        over = self._engine.over.is_set()
        while self._outbox.room and (lines := self._take(now, over)):
            self._send(self._outbox.put(lines, now))
        if over and self._outbox.empty and not self.done and now - self._marked >= PATIENCE:
            self._marked = now
            self._say(
                messages.End(
                    run=self._run,
                    engine=self._engine.number,
                    mark=self._outbox.mark,
                    outcome=self._engine.outcome,
                    file=str(self.path),
                )
            )

    def _take(self, now: float, over: bool) -> bytes:
        """Whole lines for a batch: when there are enough of them, or they have waited, or no more will come."""
        if self._file is None:
            if not self.path.exists():
                return b""
            self._file = self.path.open("rb")
        while data := self._file.read(SIZE):
            self._rest += data
            if b"\n" in data:
                break
        if len(self._rest) < SIZE and not over and now - self._read < AGE:
            return b""
        lines = whole_lines(self._rest)
        self._rest = self._rest[len(lines) :]
        self._read = now if lines else self._read
        return lines

    def _send(self, batch: Batch) -> None:
        data = zlib.compress(batch.lines, messages.QUICK)
        self._say(messages.Batch(run=self._run, engine=self._engine.number, number=batch.number, data=data))
