"""Answers whose tokens come from the simulated engine, as it has them. Who gives them, and when, is `drive`'s business.

What an event looks like, and what most faults do, is as with the answers at given times, of which these are kinds.
"""

from __future__ import annotations

import time
from array import array

from loadstone.sim import stream_events
from loadstone.sim.engine.loop import EngineLoop
from loadstone.sim.response import MIDWAY, STRIKES, ClientConnection, Response, Streamed, Whole
from loadstone.sim.stream_events import ParsedRequest
from loadstone.sim.truth import Row


class BatchedStream(Streamed):
    """An event for each step that has tokens for a choice. Faults in mid-stream strike in the first choice."""

    __slots__ = ("_done", "_drive", "_head", "_left", "_offsets", "_waiting", "numbers")

    def __init__(self, drive: EngineLoop, wire: ClientConnection, row: Row, ask: ParsedRequest) -> None:
        Response.__init__(self, drive.desk, wire, row, ask)
        self._drive = drive
        self._chunks = ask.format.chunks(self.facts([]))
        self._cut = {"empty": 0, **dict.fromkeys(MIDWAY, ask.tokens // 2)}.get(row.fault or "", -1)
        self._done = [0] * ask.choices
        self._left = ask.choices
        self._offsets = array("q")
        self._waiting: list[tuple[int, int, int]] = []
        self.numbers: list[int] = []
        self.due = row.base
        self._head = self.desk.stream_head(wire.keep, ask.format.kind)
        if row.fault != "slow-head":
            self._send_head()

    def _send_head(self) -> None:
        self.wire.send(self._head)
        self._head = b""

    def advance(self, now: int) -> int:  # noqa: ARG002 - the signature of all answers
        """The first time, to get in line; later when the client reads again."""
        if self.over:
            return 0
        if not self.numbers:
            if self._head:
                self._send_head()
            self._drive.enter(self)
        waiting, self._waiting = self._waiting, []
        for choice, tokens, planned in waiting:
            self.give(choice, tokens, planned)
        return 0

    def admitted(self, choice: int, cached: int | None) -> None:
        """A choice is about to have its first token. A prompt is counted once, with the first of its choices."""
        facts, each = self._chunks.facts, self.ask.choices // len(self.ask.prompts)
        if cached is not None and choice % each == 0:
            facts.cached = (facts.cached or 0) + cached

    def give(self, choice: int, tokens: int, planned: int) -> None:
        """New tokens of a choice, of a step that ended at `planned`."""
        if self.over:
            return
        if self.wire.paused:
            self.parked = True
            self._waiting.append((choice, tokens, planned))
            return
        opening = b"" if self.sent or self.row.fault == "empty" else self._chunks.opening()
        first = self._done[choice]
        struck = choice == 0 and first <= self._cut < first + tokens
        if struck and self.row.fault in STRIKES:
            STRIKES[self.row.fault](self, opening)
            return
        data = self._event(choice, tokens, struck)
        stamp = time.monotonic_ns()
        self.wire.send(opening + data if opening else data)
        self.sent.append(stamp)
        self._offsets.append(planned - self.row.base)
        self.row.tokens += tokens
        if not self._left:
            self.settle(stamp, self.ask.finish)
            self.wire.done()

    def _event(self, choice: int, tokens: int, spoilt: bool) -> bytes:
        first = self._done[choice]
        self._done[choice] = done = first + tokens
        piece = self.words(choice, first, done - 1)
        last = done == self.ask.tokens
        render = self._spoil if spoilt else self._chunks.last if last else self._chunks.text
        data = render(choice, piece, done)
        if not last:
            return data
        self._left -= 1
        return data if self._left else data + self._rest()

    def _rest(self) -> bytes:
        """What follows the last token of all."""
        closing = b"" if self.row.fault == "no-done" else self._chunks.closing()
        return self._chunks.ending() + closing + stream_events.END

    def settle(self, end: int | None, reason: str) -> None:
        if not self.over:
            self.row.offsets = self._offsets
            self._drive.leave(self)
        super().settle(end, reason)


class BatchedWhole(Whole):
    """Sent when the last token of all choices is there."""

    __slots__ = ("_cached", "_drive", "_left", "numbers")

    def __init__(self, drive: EngineLoop, wire: ClientConnection, row: Row, ask: ParsedRequest) -> None:
        Response.__init__(self, drive.desk, wire, row, ask)
        self._drive = drive
        self._cached: int | None = None
        self.numbers: list[int] = []
        self.due = row.base

    def advance(self, now: int) -> int:
        if self.over:
            return 0
        if self.numbers:
            return super().advance(now)
        self._drive.enter(self)
        self._left = len(self.numbers) * max(self.ask.tokens, 1)
        return 0

    def admitted(self, choice: int, cached: int | None) -> None:
        """As in a stream."""
        each = max(1, self.ask.choices // len(self.ask.prompts))
        if cached is not None and choice % each == 0:
            self._cached = (self._cached or 0) + cached

    def give(self, choice: int, tokens: int, planned: int) -> None:  # noqa: ARG002 - as in a stream
        """New tokens of a choice, or word that a prompt without an answer is done."""
        self._left -= tokens or 1
        if not self.over and not self._left:
            self.row.offsets = (planned - self.row.base,)
            self._page = self._compose(self._cached)
            self.advance(planned)

    def settle(self, end: int | None, reason: str) -> None:
        if not self.over:
            self._drive.leave(self)
        super().settle(end, reason)
