"""The responses: what each writes to its connection when its next chunk is due, and what a fault changes.

A response records its truth row. It takes each timestamp directly before it hands over the bytes. server.py decides
when to call `advance`; http.py is the connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from loadstone.sim import bodies, stream_events
from loadstone.sim.bodies import Page, encode
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import ParsedRequest, ResponseFacts
from loadstone.sim.truth import TruthRow
from loadstone.sim.words import TABLE_SIZE, WORD_TABLE, text_start, text_tokens

# Maximum number of overdue chunks of one response that are written together.
MAX_CHUNKS_PER_WRITE = 64


class ClientConnection(Protocol):
    """What a response needs of its connection (http.py).

    paused: the client reads too slowly, so nothing should be sent.
    keep_alive: the connection stays open after the response.
    """

    paused: bool
    keep_alive: bool

    def send(self, data: bytes) -> None:
        """Send bytes."""

    def finish_response(self) -> None:
        """Close the connection, or go on with its next request."""

    def close(self) -> None:
        """Close the connection after the bytes sent so far."""

    def reset(self) -> None:
        """Close the connection with RST."""


class Response:
    """The base of all responses.

    due: ns, when to call `advance` for the first time.
    blocked: the client reads too slowly; `advance` is due when it reads again.
    finished: the response is over, and its truth row complete.
    sent: timestamps of the chunks so far, ns.
    text_starts: where in WORD_TABLE the text of each choice begins.
    """

    __slots__ = ("blocked", "connection", "due", "finished", "request", "sent", "state", "text_starts", "truth_row")

    def __init__(
        self, state: ServerState, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        self.state, self.connection, self.truth_row, self.request = state, connection, truth_row, request
        self.finished = self.blocked = False
        seed, number = state.settings.seed, truth_row.number
        self.text_starts = [text_start(seed, number, choice) for choice in range(request.choices)]
        self.sent: list[int] = []
        self.due = 0
        if truth_row.fault == "slow-head":
            truth_row.base += state.slow_head_delay
        state.counters.running += 1

    def facts(self, texts: list[str]) -> ResponseFacts:
        """Return what the bodies and events contain besides the text. `texts`: of every choice, for a whole body."""
        return ResponseFacts(self.request, self.truth_row.id, int(time.time()), self.state.settings.model, texts)

    def token_text(self, choice: int, first: int, last: int) -> bytes:
        """Return tokens `first` to `last` (both included) of a choice, escaped for JSON."""
        if self.request.reply_tokens:
            return encode("".join(self.request.reply_tokens[choice][first : last + 1]))[1:-1]
        return text_tokens(self.text_starts[choice], first, last)

    def choice_text(self, choice: int) -> str:
        """Return the whole text of a choice."""
        if self.request.reply_tokens:
            return "".join(self.request.reply_tokens[choice])
        return text_tokens(self.text_starts[choice], 0, self.request.tokens - 1).decode()

    def advance(self, now: int) -> int:
        """Send what is due at `now` (ns). Return when to call this again, 0 for never."""
        raise NotImplementedError

    def finish(self, end: int | None, reason: str) -> None:
        """Record the end of the response, once.

        end: ns, when its last byte was sent; None if it was cut off.
        reason: finish reason for the metrics, one of metrics.FINISHES.
        """
        if self.finished:
            return
        self.finished = True
        self.truth_row.sent = self.sent
        self.truth_row.finish(end)
        counters = self.state.counters
        counters.running -= 1
        counters.finished[reason] += 1
        self.state.truth_rows.append(self.truth_row)

    def disconnect(self) -> None:
        """Record that the client has closed the connection."""
        self.finish(None, "abort")

    def break_off(self, action: Callable[[], None] | None) -> int:
        """Stop the response here, for a fault. `action` closes or resets the connection; None leaves it open."""
        self.finish(None, "abort")
        if action:
            action()
        return 0


class StreamedResponse(Response):
    """A response in events. Step k sends chunk k of every choice.

    _step: next step; -1 before a late head.
    _next_special: the next step that is not an ordinary one (the first, the last, or that of the fault).
    _fault_step: step of the fault, -1 for none.
    _single: one choice, one token per chunk, text from the table: the fast path.
    _opening: bytes to send before the first chunk.
    """

    __slots__ = (
        "_events",
        "_fault_step",
        "_last_step",
        "_next_special",
        "_opening",
        "_single",
        "_step",
        "_tokens_per_chunk",
    )

    def __init__(
        self, state: ServerState, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        super().__init__(state, connection, truth_row, request)
        self._events = request.format.stream_events(self.facts([]))
        self._tokens_per_chunk = state.timing.per_chunk
        self._single = request.choices == self._tokens_per_chunk == 1 and not request.reply_tokens
        offsets = truth_row.offsets = state.timing.offsets(truth_row.number, request.tokens)
        truth_row.choices = request.choices
        self._last_step = len(offsets) - 1
        self._fault_step = fault_index(truth_row.fault, len(offsets))
        self._step = self._next_special = 0

        # The head is sent at once, as vLLM does, unless the first token is due at once as well.
        head = state.stream_head(connection.keep_alive, request.format.content_type)
        self._opening = b"" if truth_row.fault == "empty" else self._events.opening()
        self.due = truth_row.base + offsets[0]
        if truth_row.fault == "slow-head":
            self._step, self.due, self._opening = -1, truth_row.base, head
        elif offsets[0]:
            connection.send(head)
        else:
            self._opening = head + self._opening

    def advance(self, now: int) -> int:
        """Send the chunks that are due at `now`. Return when the next one is due, 0 for never."""
        if self.finished:
            return 0
        if self.connection.paused:
            self.blocked = True
            return 0
        k, stop = self._step, self._next_special

        # The first, the last and the faulty step, and a late head.
        if k >= stop or k < 0:
            return self._advance_special(k)
        row = self.truth_row
        base, offsets = row.base, row.offsets
        due = base + offsets[k + 1]

        # Fast path, nearly every event of nearly every server: one token of one choice, in time.
        if self._single and due > now:
            data = self._events.text(0, WORD_TABLE[(self.text_starts[0] + k) % TABLE_SIZE], k + 1)
            stamp = time.monotonic_ns()
            self.connection.send(data)
            if k == 0:
                self._record_sent(1, stamp)
            else:
                self.state.counters.generated += 1
                row.tokens = self._step = k + 1
                self.sent.append(stamp)
            return due

        # All chunks that are overdue go out in one write.
        chunks = [self._render_step(k)]
        k += 1
        while k < stop and base + offsets[k] <= now and len(chunks) < MAX_CHUNKS_PER_WRITE:
            chunks.append(self._render_step(k))
            k += 1
        stamp = time.monotonic_ns()
        self.connection.send(b"".join(chunks))
        self._record_sent(k, stamp)
        return base + offsets[k]

    def _advance_special(self, k: int) -> int:
        """Send the late head (k < 0), the first step, the last one, or that of a fault."""
        row, opening = self.truth_row, self._opening
        self._opening = b""
        if k < 0:
            self.connection.send(opening)
            self._opening, self._step = self._events.opening(), 0
            return row.base + row.offsets[0]
        if k == self._fault_step and row.fault in FAULT_ACTIONS:
            return FAULT_ACTIONS[row.fault](self, opening)

        chunk = self._render_step(k, corrupt=k == self._fault_step)
        if k == self._last_step:
            chunk += self._events.ending()
            closing = b"" if row.fault == "no-done" else self._events.closing()
            chunk += closing + stream_events.LAST_CHUNK
        data = opening + chunk
        stamp = time.monotonic_ns()
        self.connection.send(data)
        self._record_sent(k + 1, stamp)
        if k == self._last_step:
            self.finish(stamp, self.request.finish_reason)
            self.connection.finish_response()
            return 0
        self._next_special = self._fault_step if k < self._fault_step else self._last_step
        return row.base + row.offsets[k + 1]

    def _record_sent(self, k: int, stamp: int) -> None:
        """Record that the steps up to, not including, `k` were sent at `stamp` (ns)."""
        row, counters, choices = self.truth_row, self.state.counters, self.request.choices
        if self._step == 0:
            counters.prompt += self.request.prompt_tokens
        tokens = choices * min((k - 1) * self._tokens_per_chunk + 1, self.request.tokens)
        counters.generated += tokens - row.tokens
        row.tokens = tokens
        count = (k - self._step) * choices
        if count == 1:
            self.sent.append(stamp)
        else:
            self.sent.extend([stamp] * count)
        self._step = k

    def _render_step(self, k: int, corrupt: bool = False) -> bytes:
        """Return chunk k of every choice."""
        last = min(k * self._tokens_per_chunk, self.request.tokens - 1)
        first = (k - 1) * self._tokens_per_chunk + 1 if k else 0
        render = self._events.last if k == self._last_step else self._events.text
        if corrupt:
            render = self._render_corrupt
        if self.request.choices == 1:
            return render(0, self.token_text(0, first, last), last + 1)
        return b"".join([render(n, self.token_text(n, first, last), last + 1) for n in range(self.request.choices)])

    def _render_corrupt(self, choice: int, piece: bytes, token_count: int) -> bytes:
        """Return an event that the fault makes invalid."""
        if self.truth_row.fault == "bad-json":
            return self._events.invalid_json(choice, piece)
        return self._events.text(choice, piece + stream_events.BAD_UTF8, token_count)

    def fail(self, opening: bytes, action: Callable[[], None] | None) -> int:
        """Send what was due before the first chunk, then break off in mid-stream."""
        if opening:
            self.connection.send(opening)
        return self.break_off(action)

    def finish_early(self, opening: bytes, reason: str) -> int:
        """Send the end of the HTTP response before its stream is complete."""
        stamp = time.monotonic_ns()
        self.connection.send(opening + stream_events.LAST_CHUNK)
        self.finish(stamp, reason)
        self.connection.finish_response()
        return 0


# What to do at the fault's step in place of sending its chunk.
FAULT_ACTIONS: dict[str, Callable[[StreamedResponse, bytes], int]] = {
    "reset-mid": lambda self, opening: self.fail(opening, self.connection.reset),
    "stall": lambda self, opening: self.fail(opening, None),
    "truncate": lambda self, opening: self.fail(opening, self.connection.close),
    "truncate-clean": lambda self, opening: self.finish_early(opening, "abort"),
    "empty": lambda self, opening: self.finish_early(opening, "abort"),
    "error-event": lambda self, opening: self.finish_early(opening + self._events.engine_error(), "error"),
}
MID_STREAM_FAULTS = ("reset-mid", "stall", "truncate", "truncate-clean", "error-event", "bad-json", "bad-utf8")


def fault_index(fault: str | None, count: int) -> int:
    """Return the index of the step (or token) of `count` at which a fault occurs, -1 for never."""
    if fault in MID_STREAM_FAULTS:
        return count // 2
    return 0 if fault == "empty" else -1


class WholeResponse(Response):
    """A response that is not streamed: sent when its last token is due. Faults take the form that is closest."""

    __slots__ = ("_page",)

    def __init__(
        self, state: ServerState, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        super().__init__(state, connection, truth_row, request)
        truth_row.offsets = state.timing.offsets(truth_row.number, max(request.tokens, 1))[-1:]
        self.due = truth_row.base + truth_row.offsets[0]
        self._page = self._compose(None)

    def _compose(self, cached_tokens: int | None) -> Page:
        """Return the page to send. `cached_tokens`: prompt tokens from the cache, None if that is not reported."""
        facts = self.facts([self.choice_text(choice) for choice in range(self.request.choices)])
        facts.cached = cached_tokens
        body = self.request.format.body(facts)
        fault = FAULTY_PAGES.get(self.truth_row.fault or "")
        page = fault(body) if fault else Page(200, body)
        return page if page.status == 200 else self.request.format.error_page(page)

    def advance(self, now: int) -> int:  # noqa: ARG002 - the signature of all responses
        if self.finished:
            return 0
        if self.connection.paused:
            self.blocked = True
            return 0
        # Faults that break off send the head and half of the body.
        row, request, counters = self.truth_row, self.request, self.state.counters
        data = self.state.page_bytes(self._page, self.connection.keep_alive)
        if row.fault in ("reset-mid", "truncate", "stall"):
            self.connection.send(data[: len(data) - len(self._page.body) // 2])
            actions = {"reset-mid": self.connection.reset, "truncate": self.connection.close}
            return self.break_off(actions.get(row.fault))
        stamp = time.monotonic_ns()
        self.connection.send(data)
        if row.fault in ("empty", "error-event"):
            self.finish(stamp, "error" if row.fault == "error-event" else "abort")
        else:
            self.sent.append(stamp)
            row.tokens = request.tokens * request.choices
            counters.prompt += request.prompt_tokens
            counters.generated += row.tokens
            self.finish(stamp, request.finish_reason)
        self.connection.finish_response()
        return 0


def _insert_bad_utf8(body: bytes) -> bytes:
    """Add invalid bytes to the text, which begins with a space; if there is no text, where a value begins."""
    start = b'" ' if b'" ' in body else b'":'
    return body.replace(start, start[:1] + stream_events.BAD_UTF8 + start[2:], 1)


# What to send in place of a whole body.
FAULTY_PAGES: dict[str, Callable[[bytes], Page]] = {
    "bad-json": lambda body: Page(200, body.replace(b'":', b'"', 1)),
    "bad-utf8": lambda body: Page(200, _insert_bad_utf8(body)),
    "truncate-clean": lambda body: Page(200, body[: len(body) // 2]),
    "empty": lambda _: Page(200, b""),
    "error-event": lambda _: bodies.ENGINE_DEAD_PAGE,
}
