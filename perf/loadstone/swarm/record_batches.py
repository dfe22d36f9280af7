"""Records on their way to the master: numbered batches, acknowledged, sent again when in doubt, up to an end mark.

Pure: it is told the time, and sends nothing itself. A batch is whole lines of a records file, so the master only
appends bytes. The file is what is sent again from, as far as the window reaches back; nothing else is kept.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import NamedTuple

# Bytes of a batch at most, but for a line that is longer.
SIZE = 256 * 1024
# Seconds after which a smaller one is sent.
AGE = 1.0
# Batches under way at a time: what a machine that is cut off keeps in memory.
WINDOW = 8
# Seconds to wait for an acknowledgement.
PATIENCE = 3.0


class Batch(NamedTuple):
    number: int
    lines: bytes


class StreamDigest(NamedTuple):
    """What all batches together are: how many, how many lines, and the digest of their bytes."""

    batches: int
    lines: int
    digest: str


class _Tally:
    def __init__(self) -> None:
        self._batches = self._lines = 0
        self._digest = hashlib.sha256()

    def add(self, lines: bytes) -> None:
        self._batches += 1
        self._lines += lines.count(b"\n")
        self._digest.update(lines)

    @property
    def mark(self) -> StreamDigest:
        return StreamDigest(self._batches, self._lines, self._digest.hexdigest())


class Outbox:
    """The sending end. `put` only while there is `room`."""

    def __init__(self) -> None:
        self._tally = _Tally()
        self._waiting: deque[Batch] = deque()
        self._asked = 0.0

    @property
    def room(self) -> bool:
        return len(self._waiting) < WINDOW

    @property
    def empty(self) -> bool:
        """Whether everything that was put has arrived."""
        return not self._waiting

    @property
    def mark(self) -> StreamDigest:
        return self._tally.mark

    def put(self, lines: bytes, now: float) -> Batch:
        """The next batch, to be sent."""
        batch = Batch(self._tally.mark.batches, lines)
        self._tally.add(lines)
        if not self._waiting:
            self._asked = now
        self._waiting.append(batch)
        return batch

    def acknowledged(self, count: int, now: float) -> None:
        """The other end has the first `count` batches."""
        while self._waiting and self._waiting[0].number < count:
            self._waiting.popleft()
            self._asked = now

    def again(self, now: float) -> list[Batch]:
        """What is to be sent once more: all that is under way, when nothing has been heard of it for long."""
        if not self._waiting or now - self._asked < PATIENCE:
            return []
        self._asked = now
        return list(self._waiting)


class Inbox:
    """The receiving end: takes each batch once, in their order."""

    def __init__(self) -> None:
        self._tally = _Tally()
        self._end: StreamDigest | None = None

    @property
    def count(self) -> int:
        """Batches that are here: what to acknowledge."""
        return self._tally.mark.batches

    @property
    def lines(self) -> int:
        return self._tally.mark.lines

    def take(self, number: int, lines: bytes) -> bool:
        """Whether this is the batch to append; any other comes too early, or again."""
        if number != self.count:
            return False
        self._tally.add(lines)
        return True

    def close(self, end: StreamDigest) -> None:
        self._end = end

    @property
    def whole(self) -> bool:
        """Whether everything up to the end mark is here, byte for byte."""
        return self._end is not None and self._tally.mark == self._end

    @property
    def missing(self) -> str | None:
        """What is not here, in words; None when all is."""
        mark = self._tally.mark
        if self._end is None:
            return f"no end mark after {mark.lines} records"
        if mark.batches < self._end.batches:
            return f"{self._end.batches - mark.batches} of {self._end.batches} batches of records"
        return None if self.whole else f"{mark.lines} records came that are not those that were sent"


def whole_lines(data: bytes) -> bytes:
    """The beginning of `data` that is whole lines."""
    return data[: data.rfind(b"\n") + 1]
