"""Responses whose tokens come from the simulated engine, step by step. loop.py calls `receive`.

Events and most faults are those of the responses at given times, which these classes extend.
"""

from __future__ import annotations

import time
from array import array

from loadstone.sim import stream_events
from loadstone.sim.engine.loop import EngineLoop
from loadstone.sim.response import (
    FAULT_ACTIONS,
    ClientConnection,
    Response,
    StreamedResponse,
    WholeResponse,
    fault_index,
)
from loadstone.sim.stream_events import ParsedRequest
from loadstone.sim.truth import TruthRow


class EngineStreamedResponse(StreamedResponse):
    """A stream with an event for each step that has tokens for a choice. Mid-stream faults occur in the first choice.

    sequence_numbers: of its sequences in the engine.
    _generated: tokens of each choice so far.
    _choices_left: choices that are not complete.
    _pending: tokens that arrived while the client read too slowly: choice, tokens, planned time.
    _head: the response head until it is sent.
    """

    __slots__ = ("_choices_left", "_generated", "_head", "_loop", "_offsets", "_pending", "sequence_numbers")

    def __init__(
        self, loop: EngineLoop, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        Response.__init__(self, loop.state, connection, truth_row, request)
        self._loop = loop
        self._events = request.format.stream_events(self.facts([]))
        self._fault_step = fault_index(truth_row.fault, request.tokens)
        self._generated = [0] * request.choices
        self._choices_left = request.choices
        self._offsets = array("q")
        self._pending: list[tuple[int, int, int]] = []
        self.sequence_numbers: list[int] = []
        self.due = truth_row.base
        self._head = self.state.stream_head(connection.keep_alive, request.format.content_type)
        if truth_row.fault != "slow-head":
            connection.send(self._head)
            self._head = b""

    def advance(self, now: int) -> int:  # noqa: ARG002 - the signature of all responses
        """Add the request to the engine the first time; later, when the client reads again, send what is pending."""
        if self.finished:
            return 0
        if not self.sequence_numbers:
            if self._head:
                self.connection.send(self._head)
                self._head = b""
            self._loop.add(self)
        pending, self._pending = self._pending, []
        for choice, tokens, planned in pending:
            self.receive(choice, tokens, planned)
        return 0

    def admit(self, choice: int, cached: int | None) -> None:
        """Add the cached tokens of a choice's prompt, which counts once for all its choices."""
        facts, each = self._events.facts, self.request.choices // len(self.request.prompts)
        if cached is not None and choice % each == 0:
            facts.cached = (facts.cached or 0) + cached

    def receive(self, choice: int, tokens: int, planned: int) -> None:
        """Send new tokens of a choice, from a step that ended at `planned` (ns)."""
        if self.finished:
            return
        if self.connection.paused:
            self.blocked = True
            self._pending.append((choice, tokens, planned))
            return
        fault = self.truth_row.fault
        opening = b"" if self.sent or fault == "empty" else self._events.opening()
        first = self._generated[choice]
        generated = first + tokens
        at_fault = choice == 0 and first <= self._fault_step < generated
        if at_fault and fault in FAULT_ACTIONS:
            FAULT_ACTIONS[fault](self, opening)
            return

        # The event, and after the last token of all choices the end of the stream.
        self._generated[choice] = generated
        last = generated == self.request.tokens
        render = self._render_corrupt if at_fault else self._events.last if last else self._events.text
        data = render(choice, self.token_text(choice, first, generated - 1), generated)
        if last:
            self._choices_left -= 1
            if not self._choices_left:
                closing = b"" if fault == "no-done" else self._events.closing()
                data += self._events.ending() + closing + stream_events.LAST_CHUNK

        stamp = time.monotonic_ns()
        self.connection.send(opening + data if opening else data)
        self.sent.append(stamp)
        self._offsets.append(planned - self.truth_row.base)
        self.truth_row.tokens += tokens
        if not self._choices_left:
            self.finish(stamp, self.request.finish_reason)
            self.connection.finish_response()

    def finish(self, end: int | None, reason: str) -> None:
        """Record the end of the response, and remove it from the engine."""
        if not self.finished:
            self.truth_row.offsets = self._offsets
            self._loop.remove(self)
        super().finish(end, reason)


class EngineWholeResponse(WholeResponse):
    """A whole response, sent when the last token of all choices is there."""

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
        """Add the request to the engine the first time; later, send the page."""
        if self.finished:
            return 0
        if self.sequence_numbers:
            return super().advance(now)
        self._loop.add(self)
        self._tokens_left = len(self.sequence_numbers) * max(self.request.tokens, 1)
        return 0

    def admit(self, choice: int, cached: int | None) -> None:
        """Add the cached tokens of a choice's prompt, as in a stream."""
        each = max(1, self.request.choices // len(self.request.prompts))
        if cached is not None and choice % each == 0:
            self._cached_tokens = (self._cached_tokens or 0) + cached

    def receive(self, choice: int, tokens: int, planned: int) -> None:  # noqa: ARG002 - as in a stream
        """Count new tokens of a choice, 0 if a prompt without any output is done; send after the last one."""
        self._tokens_left -= tokens or 1
        if not self.finished and not self._tokens_left:
            self.truth_row.offsets = (planned - self.truth_row.base,)
            self._page = self._compose(self._cached_tokens)
            self.advance(planned)

    def finish(self, end: int | None, reason: str) -> None:
        """Record the end of the response, and remove it from the engine."""
        if not self.finished:
            self._loop.remove(self)
        super().finish(end, reason)
