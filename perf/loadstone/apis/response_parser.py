"""One answer, put together from the bytes of its body: when output came, how much, how it finished, what went wrong.

Fed by a transport with (data, stamp of the socket read); pure apart from its own state, so that a captured stream gives
the same result however it is cut. It never raises: what cannot be read becomes a Failure. Times are passed through.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from loadstone import text as foreign
from loadstone.apis.base import API, BadEventError, Delta, Event, ToolCall, ToolFunction
from loadstone.apis.fast_path import EventTemplate
from loadstone.apis.logprobs import collect_logprobs
from loadstone.records import Choice, Failure, Logprobs, Pieces, Usage

_END = (b"[DONE]", b"data: [DONE]")  # the last event without the blank line behind it: nothing is lost
# Bytes of an error answer that are kept.
MAX_ERROR_BODY = 65_536
# Characters of the server's words in an error response that are kept.
MAX_ERROR_MESSAGE = 500


class ResponseParser:
    """The state of one answer. Call `start`, then `feed` for each piece of the body, then `finish` once."""

    __slots__ = (
        "_body",
        "_counted",
        "_decoder",
        "_deltas",
        "_done",
        "_event",
        "_events",
        "_finishes",
        "_keep_text",
        "_template",
        "_tokens",
        "chars",
        "failure",
        "first",
        "first_answer",
        "last",
        "status",
        "streamed",
        "times",
        "usage",
    )

    def __init__(self, api: API, *, stream: bool, keep_text: bool = False) -> None:
        decoder = api.new_parser()
        self._decoder, self._event = decoder, decoder.parse_event
        self.streamed = stream
        self._keep_text = keep_text
        self.first: int | None = None
        self.first_answer: int | None = None
        self.last: int | None = None
        self.times: list[int] = []
        self.chars: list[int] = []
        self.usage: Usage | None = None
        self.failure: Failure | None = None
        self.status: int | None = None
        self._tokens: list[int] = []
        self._counted = 0
        self._done = False
        self._events = api.splitter()
        self._template = EventTemplate(decoder is api)
        self._body = bytearray()
        self._finishes: dict[int, str] = {}
        self._deltas: list[Delta] = []

    def start(self, status: int, content_type: bytes | None) -> None:
        """The response head has come: an error, or a JSON answer to a streamed request, is read as a whole."""
        self.status = status
        if not 200 <= status < 300 or (content_type or b"").startswith(b"application/json"):
            self.streamed = False

    def feed(self, data: bytes, at: int) -> None:
        """A piece of the body, which came with the read stamped `at`."""
        if not self.streamed:
            self._body += data
            return
        text = self._template.text(data) if self._events.at_boundary else None
        if self.failure is not None:
            return
        if text is not None:
            self._add_text(text, at)
            return
        events = self._events.feed(data)
        several = len(events) > 1
        for event in events:
            if event and self.failure is None:
                self._take(event, at, several)

    def finish(self, failure: Failure | None = None) -> Failure | None:
        """The exchange is over, by `failure` if one is given. Returns how the request failed, or None."""
        if not self.streamed and failure is None:
            self._read_whole()
        judged = self._judge(failure)
        self.failure = judged if judged is None else Failure(judged.kind, foreign.clean(judged.message))
        return self.failure

    @property
    def has_output(self) -> bool:
        """Whether any output has come."""
        return bool(self.times)

    @property
    def pieces(self) -> Pieces | None:
        if not self.streamed or not self.times:
            return None
        counted = self._tokens if len(self._tokens) == len(self.times) else None
        return Pieces(self.times, self.chars, counted)

    @property
    def finish_reason(self) -> str | None:
        finishes = self._finishes
        return finishes[0] if 0 in finishes else next(iter(finishes.values()), None)

    def choices(self) -> list[Choice]:
        """Text, reasoning and finish reason of every choice, by index. Empty unless text is kept."""
        indexes = sorted({delta.index for delta in self._deltas})
        return [self._choice(index) for index in indexes]

    def tool_calls(self) -> list[dict[str, Any]] | None:
        """The tool calls of the first choice, their pieces joined; None when there are none or text is not kept."""
        calls: dict[int, ToolCall] = {}
        for delta in self._deltas:
            if delta.index == 0:
                for position, call in enumerate(delta.tools or ()):
                    index = position if call.index is None else call.index
                    calls[index] = _join(calls.get(index), call)
        return [foreign.to_utf8_nested(msgspec.to_builtins(call)) for call in calls.values()] or None

    def logprobs(self) -> Logprobs | None:
        """Log-probabilities of the first choice; None when none are told or text is not kept."""
        deltas = [delta for delta in self._deltas if delta.index == 0]
        told = [delta.logprobs for delta in deltas if delta.logprobs is not None]
        return collect_logprobs(told, "".join(delta.answer for delta in deltas), self.usage) if told else None

    def _take(self, data: bytes, at: int, several: bool) -> None:
        """An event. `several` came in one read, as they do the more the busier a client is: the short cut for each."""
        if several and (text := self._template.text(b"data: %b\n\n" % data)) is not None:
            self._add_text(text, at)
            return
        try:
            event = self._event(data)
            if event.deltas:
                self._add(event, at)
                self._template.learn(data, event)
        except BadEventError as exc:
            self.failure = Failure("protocol", str(exc))
            return
        except Exception as exc:  # the class may be somebody else's, and its mistake is not the server's
            self.failure = self._mistake("parse_event", exc)
            return
        if event.usage is not None:
            self.usage = event.usage if self.usage is None else merge_usage(self.usage, event.usage)
        if event.error is not None:
            self.failure = Failure("server", event.error)
        if event.done:
            self._done = True

    def _add(self, event: Event, at: int) -> None:
        chars, output, answered = 0, False, False
        for delta in event.deltas:
            length = len(delta.answer) + len(delta.reasoning) + (_length(delta.tools) if delta.tools else 0)
            if length or (delta.output and not (delta.finish and self.times) and delta.index not in self._finishes):
                output = True
                chars += length
                answered = answered or not delta.reasoning or bool(delta.answer or delta.tools)
            if delta.finish is not None:
                self._finishes.setdefault(delta.index, foreign.clean(delta.finish, foreign.MAX_LABEL))
        if output:
            self._stamp(at, chars, answered)
            if event.usage is not None and event.usage.completion is not None:
                self._tokens.append(event.usage.completion - self._counted)
                self._counted = event.usage.completion
        if self._keep_text:
            self._deltas += event.deltas

    def _add_text(self, text: str, at: int) -> None:
        """What an event that fits the template adds."""
        self._stamp(at, len(text), not self._template.reasoning)
        if self._keep_text:
            self._deltas.append(self._template.delta(text))

    def _stamp(self, at: int, chars: int, answered: bool) -> None:
        last = self.last
        if last is None:
            self.first = last = at
        if answered and self.first_answer is None:
            self.first_answer = at
        self.times.append(at - last)
        self.chars.append(chars)
        self.last = at

    def _read_whole(self) -> None:
        if not self._body or self.status is None or not 200 <= self.status < 300:
            return
        try:
            event = self._decoder.parse_response(bytes(self._body))
            self._add(event, 0)
        except BadEventError as exc:
            self.failure = Failure("protocol", str(exc))
            return
        except Exception as exc:
            self.failure = self._mistake("parse_response", exc)
            return
        self.usage = event.usage
        self.first = self.first_answer = self.last = None
        if event.error is not None:
            self.failure = Failure("server", event.error)

    def _mistake(self, method: str, exc: Exception) -> Failure:
        words = foreign.clean(exc)
        return Failure("protocol", f"{type(self._decoder).__name__}.{method}: {type(exc).__name__}: {words}")

    def _judge(self, failure: Failure | None) -> Failure | None:
        if self.status is not None and not 200 <= self.status < 300:
            return Failure("status", f"HTTP {self.status}: {error_body_message(bytes(self._body[:MAX_ERROR_BODY]))}")
        failure = self.failure or failure
        if failure is not None:
            return failure
        if self.streamed:
            return self._judge_stream()
        return None if self.has_output else Failure("empty", "the answer holds no output")

    def _judge_stream(self) -> Failure | None:
        rest = self._events.remainder.strip()
        ended = self._done or bool(self._finishes) or rest in _END
        if rest and rest not in _END:
            return Failure("truncated", "the stream ended inside an event")
        lacking = self._decoder.missing()
        if lacking is not None:
            return Failure("protocol", lacking)
        if not self.has_output:
            return Failure("empty", "the stream ended without any output")
        return None if ended else Failure("truncated", "the stream ended without finish reason or [DONE]")

    def _choice(self, index: int) -> Choice:
        deltas = [delta for delta in self._deltas if delta.index == index]
        text = foreign.to_utf8("".join(d.answer for d in deltas))
        reasoning = foreign.to_utf8("".join(d.reasoning for d in deltas))
        return Choice(text, reasoning or None, self._finishes.get(index))


def merge_usage(known: Usage, told: Usage) -> Usage:
    """Some protocols tell the prompt's tokens at the beginning of a stream and the answer's at its end."""
    pairs = ((getattr(known, name), getattr(told, name)) for name in Usage.__struct_fields__)
    return Usage(*(old if new is None else new for old, new in pairs))


def _length(tools: list[ToolCall]) -> int:
    functions = [call.function for call in tools if call.function is not None]
    return sum(len(function.name or "") + len(function.arguments or "") for function in functions)


def _join(known: ToolCall | None, piece: ToolCall) -> ToolCall:
    """Adds one delta of a tool call: arguments come in pieces to join, everything else is told once."""
    if known is None:
        return piece
    old, new = known.function or ToolFunction(), piece.function or ToolFunction()
    function = ToolFunction(new.name or old.name, (old.arguments or "") + (new.arguments or ""))
    return ToolCall(known.index, piece.id or known.id, piece.type or known.type, function)


def error_body_message(body: bytes) -> str:
    """The server's own words in an error answer: `{"error": {"message"}}`, `{"error"}`, `{"detail"}` or plain text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return foreign.clean(text, MAX_ERROR_MESSAGE) or "no explanation"
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return foreign.clean(found, MAX_ERROR_MESSAGE)
