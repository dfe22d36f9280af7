"""Sends one records file to the master while it is being written: reads, cuts into batches, compresses, sends.

Lost batches are sent again; the file stays until the master confirms that it has everything.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from loadstone.swarm import messages
from loadstone.swarm.messages import SwarmMessage
from loadstone.swarm.record_batches import ACK_TIMEOUT, MAX_AGE, MAX_BYTES, Batch, Outbox, whole_lines

if TYPE_CHECKING:
    from loadstone.swarm.worker_processes import LoadProcess


class RecordStream:
    """The records of one process on their way.

    run: id of the run.
    path: the records file, which the process appends to.
    send: sends a message to the master.
    complete: the master has everything, StreamEnd included.
    """

    def __init__(self, run: str, process: LoadProcess, path: Path, send: Callable[[SwarmMessage], object]) -> None:
        self.path = path
        self.complete = False
        self._run, self._process, self._send_message = run, process, send
        self._outbox = Outbox()
        self._file: BinaryIO | None = None
        self._rest = b""
        self._taken_at = self._end_sent_at = -ACK_TIMEOUT

    def acknowledge(self, ack: messages.BatchAck) -> None:
        """Take in an acknowledgement, if it is for this process."""
        if ack.process == self._process.number:
            self._outbox.acknowledge(ack.count, time.monotonic())
            self.complete = self.complete or ack.ended
            if self.complete:
                self.close()

    def close(self) -> None:
        """Close the file; nothing more is read."""
        if self._file is not None:
            self._file.close()

    def send_due(self, now: float) -> None:
        """Send what is due at `now` (monotonic seconds): resends, new batches, and the end."""
        if self.complete:
            return
        for batch in self._outbox.resends(now):
            self._send(batch)
        ended = self._process.ended.is_set()
        while self._outbox.has_room and (lines := self._take_lines(now, ended)):
            self._send(self._outbox.add(lines, now))
        if ended and self._outbox.empty and not self.complete and now - self._end_sent_at >= ACK_TIMEOUT:
            self._end_sent_at = now
            self._send_message(
                messages.StreamEnd(
                    run=self._run,
                    process=self._process.number,
                    digest=self._outbox.digest,
                    result=self._process.result,
                    file=str(self.path),
                )
            )

    def _take_lines(self, now: float, ended: bool) -> bytes:
        """Return whole lines for a batch, once there are enough, or they are old enough, or no more will come."""
        if self._file is None:
            if not self.path.exists():
                return b""
            self._file = self.path.open("rb")
        while data := self._file.read(MAX_BYTES):
            self._rest += data
            if b"\n" in data:
                break
        if len(self._rest) < MAX_BYTES and not ended and now - self._taken_at < MAX_AGE:
            return b""
        lines = whole_lines(self._rest)
        self._rest = self._rest[len(lines) :]
        self._taken_at = now if lines else self._taken_at
        return lines

    def _send(self, batch: Batch) -> None:
        data = zlib.compress(batch.lines, messages.COMPRESSION_LEVEL)
        self._send_message(
            messages.RecordBatch(run=self._run, process=self._process.number, number=batch.number, data=data)
        )
