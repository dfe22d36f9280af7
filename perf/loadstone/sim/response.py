"""One answer on its way: what is written to the connection when its next chunk is due, and what a fault makes of it.

Writes down the truth: each stamp is taken directly before the bytes are handed over. Who calls, and when, is `http`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from loadstone.sim import bodies, stream_events
from loadstone.sim.bodies import Page, encode
from loadstone.sim.settings import TABLE, TABLE_SIZE, first_word, words
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import ParsedRequest, ResponseFacts
from loadstone.sim.truth import Row

# Chunks of one answer written together when all of them are overdue.
BURST = 64


class ClientConnection(Protocol):
    """The connection, as an answer sees it."""

    paused: bool
    keep: bool

    def send(self, data: bytes) -> None: ...

    def done(self) -> None:
        """The response is complete."""

    def close(self) -> None: ...

    def reset(self) -> None: ...


class Response:
    """Begins at once; `advance` is called when `due` has come, and gives the next time or 0 for never."""

    __slots__ = ("ask", "desk", "due", "over", "parked", "row", "sent", "start", "wire")

    def __init__(self, desk: ServerState, wire: ClientConnection, row: Row, ask: ParsedRequest) -> None:
        self.desk, self.wire, self.row, self.ask = desk, wire, row, ask
        self.over = self.parked = False
        self.start = [first_word(desk.settings.seed, row.number, choice) for choice in range(ask.choices)]
        self.sent: list[int] = []
        self.due = 0
        if row.fault == "slow-head":
            row.base += desk.slow
        desk.counters.running += 1

    def facts(self, texts: list[str]) -> ResponseFacts:
        """What the answer tells of itself, as it begins."""
        return ResponseFacts(self.ask, self.row.id, int(time.time()), self.desk.settings.model, texts)

    def words(self, choice: int, first: int, last: int) -> bytes:
        """Tokens `first` to `last` (both included) of a choice, as they stand in JSON."""
        if self.ask.said:
            return encode("".join(self.ask.said[choice][first : last + 1]))[1:-1]
        return words(self.start[choice], first, last)

    def text(self, choice: int) -> str:
        """All of a choice."""
        if self.ask.said:
            return "".join(self.ask.said[choice])
        return words(self.start[choice], 0, self.ask.tokens - 1).decode()

    def advance(self, now: int) -> int:
        raise NotImplementedError

    def settle(self, end: int | None, reason: str) -> None:
        """The end of the answer, in the books."""
        if self.over:
            return
        self.over = True
        self.row.sent = self.sent
        self.row.seal(end)
        counters = self.desk.counters
        counters.running -= 1
        counters.finished[reason] += 1
        self.desk.rows.append(self.row)

    def lost(self) -> None:
        """The client has left."""
        self.settle(None, "abort")

    def halt(self, then: Callable[[], None] | None) -> int:
        """Breaks off, as a fault: the connection is closed, reset, or left as it is."""
        self.settle(None, "abort")
        if then:
            then()
        return 0


class Streamed(Response):
    """An answer in events. Step k is chunk k of every choice; at `_stop` the next step is not an ordinary one."""

    __slots__ = ("_chunks", "_cut", "_k", "_last", "_opening", "_per", "_single", "_stop")

    def __init__(self, desk: ServerState, wire: ClientConnection, row: Row, ask: ParsedRequest) -> None:
        super().__init__(desk, wire, row, ask)
        self._chunks = ask.format.chunks(self.facts([]))
        self._per = desk.timing.per_chunk
        self._single = ask.choices == self._per == 1 and not ask.said
        row.offsets = desk.timing.offsets(row.number, ask.tokens)
        row.repeat = ask.choices
        self._last = len(row.offsets) - 1
        self._cut = {"empty": 0, **dict.fromkeys(MIDWAY, len(row.offsets) // 2)}.get(row.fault or "", -1)
        self._k = self._stop = 0
        self._begin()

    def _begin(self) -> None:
        """The head goes out at once, as vLLM's does, unless the first token is due at once too."""
        row = self.row
        head = self.desk.stream_head(self.wire.keep, self.ask.format.kind)
        self._opening = b"" if row.fault == "empty" else self._chunks.opening()
        self.due = row.base + row.offsets[0]
        if row.fault == "slow-head":
            self._k, self.due, self._opening = -1, row.base, head
        elif row.offsets[0]:
            self.wire.send(head)
        else:
            self._opening = head + self._opening

    def advance(self, now: int) -> int:
        if self.over:
            return 0
        if self.wire.paused:
            self.parked = True
            return 0
        k, stop = self._k, self._stop
        if k >= stop or k < 0:
            return self._turn(k)
        row = self.row
        base, offsets = row.base, row.offsets
        due = base + offsets[k + 1]
        if self._single and due > now:
            return self._advance_one(k, due)
        late = [self._step(k)]
        k += 1
        while k < stop and base + offsets[k] <= now and len(late) < BURST:
            late.append(self._step(k))
            k += 1
        stamp = time.monotonic_ns()
        self.wire.send(b"".join(late))
        self._book(k, stamp)
        return base + offsets[k]

    def _advance_one(self, k: int, due: int) -> int:
        """One token of one choice, in time: nearly every event of nearly every server, so all in one place."""
        data = self._chunks.text(0, TABLE[(self.start[0] + k) % TABLE_SIZE], k + 1)
        stamp = time.monotonic_ns()
        self.wire.send(data)
        if k == 0:
            self._book(1, stamp)
        else:
            self.desk.counters.generated += 1
            self.row.tokens = self._k = k + 1
            self.sent.append(stamp)
        return due

    def _turn(self, k: int) -> int:
        """The first step, the last one, a fault's, or the late head."""
        row, opening = self.row, self._opening
        self._opening = b""
        if k < 0:
            self.wire.send(opening)
            self._opening, self._k = self._chunks.opening(), 0
            return row.base + row.offsets[0]
        if k == self._cut and row.fault in STRIKES:
            return STRIKES[row.fault](self, opening)
        data = opening + (self._ending(k) if k == self._last else self._step(k, k == self._cut))
        stamp = time.monotonic_ns()
        self.wire.send(data)
        self._book(k + 1, stamp)
        if k == self._last:
            self.settle(stamp, self.ask.finish)
            self.wire.done()
            return 0
        self._stop = self._cut if k < self._cut else self._last
        return row.base + row.offsets[k + 1]

    def _book(self, k: int, stamp: int) -> None:
        """Steps up to, not including, `k` went out at `stamp`."""
        row, counters, choices = self.row, self.desk.counters, self.ask.choices
        if self._k == 0:
            counters.prompt += self.ask.prompt_tokens
        tokens = choices * min((k - 1) * self._per + 1, self.ask.tokens)
        counters.generated += tokens - row.tokens
        row.tokens = tokens
        count = (k - self._k) * choices
        if count == 1:
            self.sent.append(stamp)
        else:
            self.sent.extend([stamp] * count)
        self._k = k

    def _step(self, k: int, spoilt: bool = False) -> bytes:
        """Chunk k of every choice."""
        last = min(k * self._per, self.ask.tokens - 1)
        first = (k - 1) * self._per + 1 if k else 0
        render = self._spoil if spoilt else self._chunks.text
        if self.ask.choices == 1:
            return render(0, self.words(0, first, last), last + 1)
        return b"".join([render(n, self.words(n, first, last), last + 1) for n in range(self.ask.choices)])

    def _spoil(self, choice: int, piece: bytes, done: int) -> bytes:
        if self.row.fault == "bad-json":
            return self._chunks.broken(choice, piece)
        return self._chunks.text(choice, piece + stream_events.BAD_UTF8, done)

    def _ending(self, k: int) -> bytes:
        """The last step, and all that follows."""
        first, last = (k - 1) * self._per + 1 if k else 0, self.ask.tokens - 1
        render = self._spoil if k == self._cut else self._chunks.last
        texts = [render(n, self.words(n, first, last), last + 1) for n in range(self.ask.choices)]
        ending = self._chunks.ending()
        closing = b"" if self.row.fault == "no-done" else self._chunks.closing()
        return b"".join((*texts, ending, closing, stream_events.END))

    def _break(self, opening: bytes, then: Callable[[], None] | None) -> int:
        if opening:
            self.wire.send(opening)
        return self.halt(then)

    def _finish_early(self, opening: bytes, reason: str) -> int:
        stamp = time.monotonic_ns()
        self.wire.send(opening + stream_events.END)
        self.settle(stamp, reason)
        self.wire.done()
        return 0


STRIKES: dict[str, Callable[[Streamed, bytes], int]] = {
    "reset-mid": lambda self, opening: self._break(opening, self.wire.reset),
    "stall": lambda self, opening: self._break(opening, None),
    "truncate": lambda self, opening: self._break(opening, self.wire.close),
    "truncate-clean": lambda self, opening: self._finish_early(opening, "abort"),
    "empty": lambda self, opening: self._finish_early(opening, "abort"),
    "error-event": lambda self, opening: self._finish_early(opening + self._chunks.death(), "error"),
}
MIDWAY = ("reset-mid", "stall", "truncate", "truncate-clean", "error-event", "bad-json", "bad-utf8")


class Whole(Response):
    """An answer that is not streamed: sent when its last token is due. Faults take their nearest form."""

    __slots__ = ("_page",)

    def __init__(self, desk: ServerState, wire: ClientConnection, row: Row, ask: ParsedRequest) -> None:
        super().__init__(desk, wire, row, ask)
        row.offsets = desk.timing.offsets(row.number, max(ask.tokens, 1))[-1:]
        self.due = row.base + row.offsets[0]
        self._page = self._compose(None)

    def _compose(self, cached: int | None) -> Page:
        texts = [self.text(choice) for choice in range(self.ask.choices)]
        facts = self.facts(texts)
        facts.cached = cached
        page = SPOILT.get(self.row.fault or "", _as_it_is)(self.ask.format.whole(facts))
        return page if page.status == 200 else self.ask.format.refusal(page)

    def advance(self, now: int) -> int:  # noqa: ARG002 - the signature of all answers
        if self.over:
            return 0
        if self.wire.paused:
            self.parked = True
            return 0
        data = self.desk.page(self._page, self.wire.keep)
        if self.row.fault in ("reset-mid", "truncate", "stall"):
            self.wire.send(data[: len(data) - len(self._page.body) // 2])
            ways = {"reset-mid": self.wire.reset, "truncate": self.wire.close}
            return self.halt(ways.get(self.row.fault))
        stamp = time.monotonic_ns()
        self.wire.send(data)
        self._book(stamp)
        self.wire.done()
        return 0

    def _book(self, stamp: int) -> None:
        row, ask, counters = self.row, self.ask, self.desk.counters
        if row.fault in ("empty", "error-event"):
            return self.settle(stamp, "error" if row.fault == "error-event" else "abort")
        self.sent.append(stamp)
        row.tokens = ask.tokens * ask.choices
        counters.prompt += ask.prompt_tokens
        counters.generated += row.tokens
        return self.settle(stamp, ask.finish)


def _as_it_is(body: bytes) -> Page:
    return Page(200, body)


def _bad_utf8(body: bytes) -> bytes:
    """In the text, which begins with a space; an answer without text is spoilt where a value begins."""
    place = b'" ' if b'" ' in body else b'":'
    return body.replace(place, place[:1] + stream_events.BAD_UTF8 + place[2:], 1)


SPOILT: dict[str, Callable[[bytes], Page]] = {
    "bad-json": lambda body: Page(200, body.replace(b'":', b'"', 1)),
    "bad-utf8": lambda body: Page(200, _bad_utf8(body)),
    "truncate-clean": lambda body: Page(200, body[: len(body) // 2]),
    "empty": lambda _: Page(200, b""),
    "error-event": lambda _: bodies.DEAD,
}
