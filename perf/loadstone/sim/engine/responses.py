"""Answers whose tokens come from the simulated engine, as it has them. Who gives them, and when, is `drive`'s business.

What an event looks like, and what most faults do, is as with the answers at given times, of which these are kinds.
"""

from __future__ import annotations

import time
from array import array

from loadstone.sim import stream_events
from loadstone.sim.engine.loop import EngineLoop
from loadstone.sim.response import (
    FAULT_ACTIONS,
    MID_STREAM_FAULTS,
    ClientConnection,
    Response,
    StreamedResponse,
    WholeResponse,
)
from loadstone.sim.stream_events import ParsedRequest
from loadstone.sim.truth import TruthRow


class EngineStreamedResponse(StreamedResponse):
    """An event for each step that has tokens for a choice. Faults in mid-stream strike in the first choice."""

    __slots__ = ("_choices_left", "_generated", "_head", "_loop", "_offsets", "_pending", "sequence_numbers")

    def __init__(
        self, loop: EngineLoop, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        Response.__init__(self, loop.state, connection, truth_row, request)
        self._loop = loop
        self._events = request.format.stream_events(self.facts([]))
        self._fault_step = {"empty": 0, **dict.fromkeys(MID_STREAM_FAULTS, request.tokens // 2)}.get(
            truth_row.fault or "", -1
        )
        self._generated = [0] * request.choices
        self._choices_left = request.choices
        self._offsets = array("q")
        self._pending: list[tuple[int, int, int]] = []
        self.sequence_numbers: list[int] = []
        self.due = truth_row.base
        self._head = self.state.stream_head(connection.keep_alive, request.format.content_type)
        if truth_row.fault != "slow-head":
            self._send_head()

    def _send_head(self) -> None:
        self.connection.send(self._head)
        self._head = b""

    def advance(self, now: int) -> int:  # noqa: ARG002 - the signature of all answers
        """The first time, to get in line; later when the client reads again."""
        if self.finished:
            return 0
        if not self.sequence_numbers:
            if self._head:
                self._send_head()
            self._loop.add(self)
        waiting, self._pending = self._pending, []
        for choice, tokens, planned in waiting:
            self.receive(choice, tokens, planned)
        return 0

    def admit(self, choice: int, cached: int | None) -> None:
        """A choice is about to have its first token. A prompt is counted once, with the first of its choices."""
        facts, each = self._events.facts, self.request.choices // len(self.request.prompts)
        if cached is not None and choice % each == 0:
            facts.cached = (facts.cached or 0) + cached

    def receive(self, choice: int, tokens: int, planned: int) -> None:
        """New tokens of a choice, of a step that ended at `planned`."""
        if self.finished:
            return
        if self.connection.paused:
            self.blocked = True
            self._pending.append((choice, tokens, planned))
            return
        opening = b"" if self.sent or self.truth_row.fault == "empty" else self._events.opening()
        first = self._generated[choice]
        struck = choice == 0 and first <= self._fault_step < first + tokens
        if struck and self.truth_row.fault in FAULT_ACTIONS:
            FAULT_ACTIONS[self.truth_row.fault](self, opening)
            return
        data = self._event(choice, tokens, struck)
        stamp = time.monotonic_ns()
        self.connection.send(opening + data if opening else data)
        self.sent.append(stamp)
        self._offsets.append(planned - self.truth_row.base)
        self.truth_row.tokens += tokens
        if not self._choices_left:
            self.finish(stamp, self.request.finish_reason)
            self.connection.finish_response()

    def _event(self, choice: int, tokens: int, spoilt: bool) -> bytes:
        first = self._generated[choice]
        self._generated[choice] = done = first + tokens
        piece = self.token_text(choice, first, done - 1)
        last = done == self.request.tokens
        render = self._corrupt if spoilt else self._events.last if last else self._events.text
        data = render(choice, piece, done)
        if not last:
            return data
        self._choices_left -= 1
        return data if self._choices_left else data + self._rest()

    def _rest(self) -> bytes:
        """What follows the last token of all."""
        closing = b"" if self.truth_row.fault == "no-done" else self._events.closing()
        return self._events.ending() + closing + stream_events.LAST_CHUNK

    def finish(self, end: int | None, reason: str) -> None:
        if not self.finished:
            self.truth_row.offsets = self._offsets
            self._loop.remove(self)
        super().finish(end, reason)


class EngineWholeResponse(WholeResponse):
    """Sent when the last token of all choices is there."""

    __slots__ = ("_cached_tokens", "_loop", "_tokens_left", "sequence_numbers")

    def __init__(
        self, loop: EngineLoop, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        Response.__init__(self, loop.state, connection, truth_row, request)
        self._loop = loop
        self._cached_tokens: int | None = None
        self.sequence_numbers: list[int] = []
        self.due = truth_row.base

    def advance(self, now: int) -> int:
        if self.finished:
            return 0
        if self.sequence_numbers:
            return super().advance(now)
        self._loop.add(self)
        self._tokens_left = len(self.sequence_numbers) * max(self.request.tokens, 1)
        return 0

    def admit(self, choice: int, cached: int | None) -> None:
        """As in a stream."""
        each = max(1, self.request.choices // len(self.request.prompts))
        if cached is not None and choice % each == 0:
            self._cached_tokens = (self._cached_tokens or 0) + cached

    def receive(self, choice: int, tokens: int, planned: int) -> None:  # noqa: ARG002 - as in a stream
        """New tokens of a choice, or word that a prompt without an answer is done."""
        self._tokens_left -= tokens or 1
        if not self.finished and not self._tokens_left:
            self.truth_row.offsets = (planned - self.truth_row.base,)
            self._page = self._compose(self._cached_tokens)
            self.advance(planned)

    def finish(self, end: int | None, reason: str) -> None:
        if not self.finished:
            self._loop.remove(self)
        super().finish(end, reason)
