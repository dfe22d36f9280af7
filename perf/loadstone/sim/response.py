"""One answer on its way: what is written to the connection when its next chunk is due, and what a fault makes of it.

Writes down the truth: each stamp is taken directly before the bytes are handed over. Who calls, and when, is `http`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from loadstone.sim import bodies, stream_events
from loadstone.sim.bodies import Page, encode
from loadstone.sim.settings import TABLE_SIZE, WORD_TABLE, text_start, text_tokens
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import ParsedRequest, ResponseFacts
from loadstone.sim.truth import TruthRow

# Chunks of one answer written together when all of them are overdue.
MAX_CHUNKS_PER_WRITE = 64


class ClientConnection(Protocol):
    """The connection, as an answer sees it."""

    paused: bool
    keep_alive: bool

    def send(self, data: bytes) -> None: ...

    def finish_response(self) -> None:
        """The response is complete."""

    def close(self) -> None: ...

    def reset(self) -> None: ...


class Response:
    """Begins at once; `advance` is called when `due` has come, and gives the next time or 0 for never."""

    __slots__ = ("blocked", "connection", "due", "finished", "request", "sent", "state", "text_starts", "truth_row")

    def __init__(
        self, state: ServerState, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        self.state, self.connection, self.truth_row, self.request = state, connection, truth_row, request
        self.finished = self.blocked = False
        self.text_starts = [
            text_start(state.settings.seed, truth_row.number, choice) for choice in range(request.choices)
        ]
        self.sent: list[int] = []
        self.due = 0
        if truth_row.fault == "slow-head":
            truth_row.base += state.slow_head_delay
        state.counters.running += 1

    def facts(self, texts: list[str]) -> ResponseFacts:
        """What the answer tells of itself, as it begins."""
        return ResponseFacts(self.request, self.truth_row.id, int(time.time()), self.state.settings.model, texts)

    def token_text(self, choice: int, first: int, last: int) -> bytes:
        """Tokens `first` to `last` (both included) of a choice, as they stand in JSON."""
        if self.request.reply_tokens:
            return encode("".join(self.request.reply_tokens[choice][first : last + 1]))[1:-1]
        return text_tokens(self.text_starts[choice], first, last)

    def choice_text(self, choice: int) -> str:
        """All of a choice."""
        if self.request.reply_tokens:
            return "".join(self.request.reply_tokens[choice])
        return text_tokens(self.text_starts[choice], 0, self.request.tokens - 1).decode()

    def advance(self, now: int) -> int:
        raise NotImplementedError

    def finish(self, end: int | None, reason: str) -> None:
        """The end of the answer, in the books."""
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
        """The client has left."""
        self.finish(None, "abort")

    def break_off(self, then: Callable[[], None] | None) -> int:
        """Breaks off, as a fault: the connection is closed, reset, or left as it is."""
        self.finish(None, "abort")
        if then:
            then()
        return 0


class StreamedResponse(Response):
    """An answer in events. Step k is chunk k of every choice; at `_next_special` the next step is not an ordinary one."""

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
        truth_row.offsets = state.timing.offsets(truth_row.number, request.tokens)
        truth_row.choices = request.choices
        self._last_step = len(truth_row.offsets) - 1
        self._fault_step = {"empty": 0, **dict.fromkeys(MID_STREAM_FAULTS, len(truth_row.offsets) // 2)}.get(
            truth_row.fault or "", -1
        )
        self._step = self._next_special = 0
        self._start()

    def _start(self) -> None:
        """The head goes out at once, as vLLM's does, unless the first token is due at once too."""
        row = self.truth_row
        head = self.state.stream_head(self.connection.keep_alive, self.request.format.content_type)
        self._opening = b"" if row.fault == "empty" else self._events.opening()
        self.due = row.base + row.offsets[0]
        if row.fault == "slow-head":
            self._step, self.due, self._opening = -1, row.base, head
        elif row.offsets[0]:
            self.connection.send(head)
        else:
            self._opening = head + self._opening

    def advance(self, now: int) -> int:
        if self.finished:
            return 0
        if self.connection.paused:
            self.blocked = True
            return 0
        k, stop = self._step, self._next_special
        if k >= stop or k < 0:
            return self._advance_special(k)
        row = self.truth_row
        base, offsets = row.base, row.offsets
        due = base + offsets[k + 1]
        if self._single and due > now:
            return self._advance_one(k, due)
        late = [self._render_step(k)]
        k += 1
        while k < stop and base + offsets[k] <= now and len(late) < MAX_CHUNKS_PER_WRITE:
            late.append(self._render_step(k))
            k += 1
        stamp = time.monotonic_ns()
        self.connection.send(b"".join(late))
        self._record_sent(k, stamp)
        return base + offsets[k]

    def _advance_one(self, k: int, due: int) -> int:
        """One token of one choice, in time: nearly every event of nearly every server, so all in one place."""
        data = self._events.text(0, WORD_TABLE[(self.text_starts[0] + k) % TABLE_SIZE], k + 1)
        stamp = time.monotonic_ns()
        self.connection.send(data)
        if k == 0:
            self._record_sent(1, stamp)
        else:
            self.state.counters.generated += 1
            self.truth_row.tokens = self._step = k + 1
            self.sent.append(stamp)
        return due

    def _advance_special(self, k: int) -> int:
        """The first step, the last one, a fault's, or the late head."""
        row, opening = self.truth_row, self._opening
        self._opening = b""
        if k < 0:
            self.connection.send(opening)
            self._opening, self._step = self._events.opening(), 0
            return row.base + row.offsets[0]
        if k == self._fault_step and row.fault in FAULT_ACTIONS:
            return FAULT_ACTIONS[row.fault](self, opening)
        data = opening + (self._render_last(k) if k == self._last_step else self._render_step(k, k == self._fault_step))
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
        """Steps up to, not including, `k` went out at `stamp`."""
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

    def _render_step(self, k: int, spoilt: bool = False) -> bytes:
        """Chunk k of every choice."""
        last = min(k * self._tokens_per_chunk, self.request.tokens - 1)
        first = (k - 1) * self._tokens_per_chunk + 1 if k else 0
        render = self._corrupt if spoilt else self._events.text
        if self.request.choices == 1:
            return render(0, self.token_text(0, first, last), last + 1)
        return b"".join([render(n, self.token_text(n, first, last), last + 1) for n in range(self.request.choices)])

    def _corrupt(self, choice: int, piece: bytes, done: int) -> bytes:
        if self.truth_row.fault == "bad-json":
            return self._events.invalid_json(choice, piece)
        return self._events.text(choice, piece + stream_events.BAD_UTF8, done)

    def _render_last(self, k: int) -> bytes:
        """The last step, and all that follows."""
        first, last = (k - 1) * self._tokens_per_chunk + 1 if k else 0, self.request.tokens - 1
        render = self._corrupt if k == self._fault_step else self._events.last
        texts = [render(n, self.token_text(n, first, last), last + 1) for n in range(self.request.choices)]
        ending = self._events.ending()
        closing = b"" if self.truth_row.fault == "no-done" else self._events.closing()
        return b"".join((*texts, ending, closing, stream_events.LAST_CHUNK))

    def _break(self, opening: bytes, then: Callable[[], None] | None) -> int:
        if opening:
            self.connection.send(opening)
        return self.break_off(then)

    def _finish_early(self, opening: bytes, reason: str) -> int:
        stamp = time.monotonic_ns()
        self.connection.send(opening + stream_events.LAST_CHUNK)
        self.finish(stamp, reason)
        self.connection.finish_response()
        return 0


FAULT_ACTIONS: dict[str, Callable[[StreamedResponse, bytes], int]] = {
    "reset-mid": lambda self, opening: self._break(opening, self.connection.reset),
    "stall": lambda self, opening: self._break(opening, None),
    "truncate": lambda self, opening: self._break(opening, self.connection.close),
    "truncate-clean": lambda self, opening: self._finish_early(opening, "abort"),
    "empty": lambda self, opening: self._finish_early(opening, "abort"),
    "error-event": lambda self, opening: self._finish_early(opening + self._events.engine_error(), "error"),
}
MID_STREAM_FAULTS = ("reset-mid", "stall", "truncate", "truncate-clean", "error-event", "bad-json", "bad-utf8")


class WholeResponse(Response):
    """An answer that is not streamed: sent when its last token is due. Faults take their nearest form."""

    __slots__ = ("_page",)

    def __init__(
        self, state: ServerState, connection: ClientConnection, truth_row: TruthRow, request: ParsedRequest
    ) -> None:
        super().__init__(state, connection, truth_row, request)
        truth_row.offsets = state.timing.offsets(truth_row.number, max(request.tokens, 1))[-1:]
        self.due = truth_row.base + truth_row.offsets[0]
        self._page = self._compose(None)

    def _compose(self, cached: int | None) -> Page:
        texts = [self.choice_text(choice) for choice in range(self.request.choices)]
        facts = self.facts(texts)
        facts.cached = cached
        page = FAULTY_PAGES.get(self.truth_row.fault or "", _as_it_is)(self.request.format.body(facts))
        return page if page.status == 200 else self.request.format.error_page(page)

    def advance(self, now: int) -> int:  # noqa: ARG002 - the signature of all answers
        if self.finished:
            return 0
        if self.connection.paused:
            self.blocked = True
            return 0
        data = self.state.page_bytes(self._page, self.connection.keep_alive)
        if self.truth_row.fault in ("reset-mid", "truncate", "stall"):
            self.connection.send(data[: len(data) - len(self._page.body) // 2])
            ways = {"reset-mid": self.connection.reset, "truncate": self.connection.close}
            return self.break_off(ways.get(self.truth_row.fault))
        stamp = time.monotonic_ns()
        self.connection.send(data)
        self._book(stamp)
        self.connection.finish_response()
        return 0

    def _book(self, stamp: int) -> None:
        row, ask, counters = self.truth_row, self.request, self.state.counters
        if row.fault in ("empty", "error-event"):
            return self.finish(stamp, "error" if row.fault == "error-event" else "abort")
        self.sent.append(stamp)
        row.tokens = ask.tokens * ask.choices
        counters.prompt += ask.prompt_tokens
        counters.generated += row.tokens
        return self.finish(stamp, ask.finish_reason)


def _as_it_is(body: bytes) -> Page:
    return Page(200, body)


def _bad_utf8(body: bytes) -> bytes:
    """In the text, which begins with a space; an answer without text is spoilt where a value begins."""
    place = b'" ' if b'" ' in body else b'":'
    return body.replace(place, place[:1] + stream_events.BAD_UTF8 + place[2:], 1)


FAULTY_PAGES: dict[str, Callable[[bytes], Page]] = {
    "bad-json": lambda body: Page(200, body.replace(b'":', b'"', 1)),
    "bad-utf8": lambda body: Page(200, _bad_utf8(body)),
    "truncate-clean": lambda body: Page(200, body[: len(body) // 2]),
    "empty": lambda _: Page(200, b""),
    "error-event": lambda _: bodies.ENGINE_DEAD_PAGE,
}
