"""The protocol that brings records to the master: numbered batches, acknowledged, resent if in doubt, then a digest.

Pure: the caller passes the time and does the sending. A batch is whole lines of a records file, so the master only
appends bytes. A sender keeps in memory only the batches that are not acknowledged yet.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import NamedTuple

# Maximum bytes of a batch; a single longer line is a batch of its own.
MAX_BYTES = 256 * 1024
# Seconds after which a smaller batch is sent.
MAX_AGE = 1.0
# Maximum number of unacknowledged batches: what a machine that is cut off keeps in memory.
WINDOW = 8
# Seconds to wait for an acknowledgement before a batch is resent.
ACK_TIMEOUT = 3.0


class Batch(NamedTuple):
    """One batch: its number, from 0, and its bytes."""

    number: int
    lines: bytes


class StreamDigest(NamedTuple):
    """All batches of one process together: how many, how many lines, and the SHA-256 of their bytes."""

    batches: int
    lines: int
    digest: str


class _Digester:
    """Computes a StreamDigest batch by batch."""

    def __init__(self) -> None:
        self.batches = self.lines = 0
        self._digest = hashlib.sha256()

    def add(self, lines: bytes) -> None:
        self.batches += 1
        self.lines += lines.count(b"\n")
        self._digest.update(lines)

    @property
    def digest(self) -> StreamDigest:
        return StreamDigest(self.batches, self.lines, self._digest.hexdigest())


class Outbox:
    """The sending end. Call `add` only while `has_room`."""

    def __init__(self) -> None:
        self._digester = _Digester()
        self._unacknowledged: deque[Batch] = deque()
        self._waiting_since = 0.0

    @property
    def has_room(self) -> bool:
        return len(self._unacknowledged) < WINDOW

    @property
    def empty(self) -> bool:
        """Return True if every batch so far has been acknowledged."""
        return not self._unacknowledged

    @property
    def digest(self) -> StreamDigest:
        return self._digester.digest

    def add(self, lines: bytes, now: float) -> Batch:
        """Return the next batch, for the caller to send."""
        batch = Batch(self._digester.batches, lines)
        self._digester.add(lines)
        if not self._unacknowledged:
            self._waiting_since = now
        self._unacknowledged.append(batch)
        return batch

    def acknowledge(self, count: int, now: float) -> None:
        """Remove the first `count` batches: the other end has them."""
        while self._unacknowledged and self._unacknowledged[0].number < count:
            self._unacknowledged.popleft()
            self._waiting_since = now

    def resends(self, now: float) -> list[Batch]:
        """Return the batches to resend: all, once no acknowledgement has come for ACK_TIMEOUT."""
        if not self._unacknowledged or now - self._waiting_since < ACK_TIMEOUT:
            return []
        self._waiting_since = now
        return list(self._unacknowledged)


class Inbox:
    """The receiving end: accepts each batch once, in order."""

    def __init__(self) -> None:
        self._digester = _Digester()
        self._sent: StreamDigest | None = None

    @property
    def count(self) -> int:
        """Return the number of batches that have arrived, which is what to acknowledge."""
        return self._digester.batches

    @property
    def lines(self) -> int:
        return self._digester.lines

    def accept(self, number: int, lines: bytes) -> bool:
        """Return True if this is the batch to append next; any other came too early, or again."""
        if number != self.count:
            return False
        self._digester.add(lines)
        return True

    def end(self, sent: StreamDigest) -> None:
        """Set the digest of all that the other end has sent."""
        self._sent = sent

    @property
    def complete(self) -> bool:
        """Return True if everything that was sent is here, byte for byte."""
        return self._sent is not None and self._digester.digest == self._sent

    @property
    def missing(self) -> str | None:
        """Return what is missing, in words; None if nothing is."""
        if self._sent is None:
            return f"no end mark after {self.lines} records"
        if self.count < self._sent.batches:
            return f"{self._sent.batches - self.count} of {self._sent.batches} batches of records"
        return None if self.complete else f"{self.lines} records came that are not those that were sent"


def whole_lines(data: bytes) -> bytes:
    """Return the longest prefix of `data` that is whole lines."""
    return data[: data.rfind(b"\n") + 1]
