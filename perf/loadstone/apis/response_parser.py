"""Assembles one response from the bytes of its body: when output arrived, how much, how it finished, what failed.

A transport feeds it (data, timestamp of the socket read). It has no state but its own and reads no clock, so a captured
stream gives the same result however it is cut. It never raises: bytes that it cannot read become a Failure.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from loadstone.apis.base import API, BadEventError, Delta, Event, ToolCall, ToolFunction
from loadstone.apis.fast_path import EventTemplate
from loadstone.records import Choice, Failure, FailureCause, Logprobs, Pieces, Usage
from loadstone.text import MAX_LABEL, clean, to_utf8, to_utf8_nested

# The last event without the blank line after it: nothing is lost.
_END = (b"[DONE]", b"data: [DONE]")
# Bytes of an error response that are kept.
MAX_ERROR_BODY = 65_536
# Characters of the server's message in an error response that are kept.
MAX_ERROR_MESSAGE = 500


class ResponseParser:
    """The state of one response. Call `start`, then `feed` for each piece of the body, then `finish` once.

    first, first_answer, last: ns, when the first output, the first output that is not reasoning, and the last came.
    times: ns from one output event to the next.
    chars: characters of each output event.
    """

    __slots__ = (
        "_body",
        "_counted_tokens",
        "_deltas",
        "_done",
        "_finishes",
        "_keep_text",
        "_parse_event",
        "_parser",
        "_splitter",
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
        parser = api.new_parser()
        self._parser = parser
        self._parse_event = parser.parse_event
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
        self._counted_tokens = 0
        self._done = False
        self._splitter = api.splitter()
        self._template = EventTemplate(usable=parser is api)
        self._body = bytearray()
        self._finishes: dict[int, str] = {}
        self._deltas: list[Delta] = []

    def start(self, status: int, content_type: bytes | None) -> None:
        """Take the head of the response. An error, or JSON in answer to a streamed request, is not read as a stream."""
        self.status = status
        if not 200 <= status < 300 or (content_type or b"").startswith(b"application/json"):
            self.streamed = False

    def feed(self, data: bytes, at: int) -> None:
        """Take a piece of the body that arrived with the read stamped `at`, ns."""
        if not self.streamed:
            self._body += data
            return
        text = self._template.text(data) if self._splitter.at_boundary else None
        if self.failure is not None:
            return
        if text is not None:
            self._add_text(text, at)
            return
        events = self._splitter.feed(data)
        several = len(events) > 1
        for content in events:
            if not content or self.failure is not None:
                continue
            # Events that came together in one read have not been tried on the fast path yet.
            if several and (text := self._template.text(b"data: %b\n\n" % content)) is not None:
                self._add_text(text, at)
                continue
            try:
                event = self._parse_event(content)
                if event.deltas:
                    self._add_event(event, at)
                    self._template.learn(content, event)
            except BadEventError as exc:
                self.failure = Failure(FailureCause.PROTOCOL, str(exc))
                return
            except Exception as exc:  # the class may be a plugin, and its mistake is not the server's
                self.failure = self._plugin_failure("parse_event", exc)
                return
            if event.usage is not None:
                self.usage = event.usage if self.usage is None else merge_usage(self.usage, event.usage)
            if event.error is not None:
                self.failure = Failure(FailureCause.SERVER, event.error)
            if event.done:
                self._done = True

    def finish(self, failure: Failure | None = None) -> Failure | None:
        """Return how the request failed, or None. Call it when the exchange is over, by `failure` if it failed."""
        if not self.streamed and failure is None:
            self._take_whole_body()
        if self.status is not None and not 200 <= self.status < 300:
            message = error_body_message(bytes(self._body[:MAX_ERROR_BODY]))
            failure = Failure(FailureCause.STATUS, f"HTTP {self.status}: {message}")
        else:
            failure = self.failure or failure
            if failure is None and self.streamed:
                # What is wrong with a stream that has ended.
                remainder = self._splitter.remainder.strip()
                if remainder and remainder not in _END:
                    failure = Failure(FailureCause.TRUNCATED, "the stream ended inside an event")
                elif (missing := self._parser.missing()) is not None:
                    failure = Failure(FailureCause.PROTOCOL, missing)
                elif not self.times:
                    failure = Failure(FailureCause.EMPTY, "the stream ended without any output")
                elif not (self._done or self._finishes or remainder):
                    failure = Failure(FailureCause.TRUNCATED, "the stream ended without finish reason or [DONE]")
            if failure is None and not self.times:
                failure = Failure(FailureCause.EMPTY, "the answer holds no output")
        self.failure = failure if failure is None else Failure(failure.kind, clean(failure.message), failure.resource)
        return self.failure

    @property
    def pieces(self) -> Pieces | None:
        """Return the output events of a stream; None if there are none."""
        if not self.streamed or not self.times:
            return None
        tokens = self._tokens if len(self._tokens) == len(self.times) else None
        return Pieces(self.times, self.chars, tokens)

    @property
    def finish_reason(self) -> str | None:
        """Return the finish reason of the first choice that has one."""
        finishes = self._finishes
        return finishes[0] if 0 in finishes else next(iter(finishes.values()), None)

    def choices(self) -> list[Choice]:
        """Return text, reasoning and finish reason of every choice, by index. Empty unless text is kept."""
        choices = []
        for index in sorted({delta.index for delta in self._deltas}):
            deltas = [delta for delta in self._deltas if delta.index == index]
            text = to_utf8("".join(delta.answer for delta in deltas))
            reasoning = to_utf8("".join(delta.reasoning for delta in deltas))
            choices.append(Choice(text, reasoning or None, self._finishes.get(index)))
        return choices

    def tool_calls(self) -> list[dict[str, Any]] | None:
        """Return the tool calls of the first choice, pieces joined; None if there are none or text is not kept."""
        calls: dict[int, ToolCall] = {}
        for delta in self._deltas:
            if delta.index == 0:
                for position, call in enumerate(delta.tools or ()):
                    index = position if call.index is None else call.index
                    calls[index] = _join(calls.get(index), call)
        return [to_utf8_nested(msgspec.to_builtins(call)) for call in calls.values()] or None

    def logprobs(self) -> Logprobs | None:
        """Return the log-probabilities of the first choice; None if there are none or text is not kept."""
        deltas = [delta for delta in self._deltas if delta.index == 0]
        reports = [delta.logprobs for delta in deltas if delta.logprobs is not None]
        if not reports:
            return None
        from loadstone.apis.logprobs import collect_logprobs  # few runs need it

        return collect_logprobs(reports, "".join(delta.answer for delta in deltas), self.usage)

    def _add_event(self, event: Event, at: int) -> None:
        chars = 0
        has_output = has_answer = False
        for delta in event.deltas:
            length = len(delta.answer) + len(delta.reasoning)
            if delta.tools:
                length += _count_chars(delta.tools)
            # An event with a finish reason after output, or after the choice has finished, is no token of its own.
            if length or (delta.output and not (delta.finish and self.times) and delta.index not in self._finishes):
                has_output = True
                chars += length
                has_answer = has_answer or not delta.reasoning or bool(delta.answer or delta.tools)
            if delta.finish is not None:
                self._finishes.setdefault(delta.index, clean(delta.finish, MAX_LABEL))
        if has_output:
            self._record_output(at, chars, has_answer)
            if event.usage is not None and event.usage.completion is not None:
                self._tokens.append(event.usage.completion - self._counted_tokens)
                self._counted_tokens = event.usage.completion
        if self._keep_text:
            self._deltas += event.deltas

    def _add_text(self, text: str, at: int) -> None:
        """Add the text of an event that fits the template."""
        self._record_output(at, len(text), not self._template.reasoning)
        if self._keep_text:
            self._deltas.append(self._template.delta(text))

    def _record_output(self, at: int, chars: int, has_answer: bool) -> None:
        last = self.last
        if last is None:
            self.first = last = at
        if has_answer and self.first_answer is None:
            self.first_answer = at
        self.times.append(at - last)
        self.chars.append(chars)
        self.last = at

    def _take_whole_body(self) -> None:
        if not self._body or self.status is None or not 200 <= self.status < 300:
            return
        try:
            event = self._parser.parse_response(bytes(self._body))
            self._add_event(event, 0)
        except BadEventError as exc:
            self.failure = Failure(FailureCause.PROTOCOL, str(exc))
            return
        except Exception as exc:  # as above
            self.failure = self._plugin_failure("parse_response", exc)
            return
        self.usage = event.usage
        self.first = self.first_answer = self.last = None  # a response that is not streamed has no such times
        if event.error is not None:
            self.failure = Failure(FailureCause.SERVER, event.error)

    def _plugin_failure(self, method: str, exc: Exception) -> Failure:
        return Failure(
            FailureCause.PROTOCOL, f"{type(self._parser).__name__}.{method}: {type(exc).__name__}: {clean(exc)}"
        )


def merge_usage(known: Usage, update: Usage) -> Usage:
    """Return `known` with the counts of `update`. Some protocols send the prompt's tokens at the beginning of a stream
    and the response's at its end."""
    pairs = ((getattr(known, name), getattr(update, name)) for name in Usage.__struct_fields__)
    return Usage(*(old if new is None else new for old, new in pairs))


def _count_chars(tools: list[ToolCall]) -> int:
    functions = [call.function for call in tools if call.function is not None]
    return sum(len(function.name or "") + len(function.arguments or "") for function in functions)


def _join(known: ToolCall | None, piece: ToolCall) -> ToolCall:
    """Return a tool call with one more piece: arguments are joined, all other fields come once."""
    if known is None:
        return piece
    old, new = known.function or ToolFunction(), piece.function or ToolFunction()
    function = ToolFunction(new.name or old.name, (old.arguments or "") + (new.arguments or ""))
    return ToolCall(known.index, piece.id or known.id, piece.type or known.type, function)


def error_body_message(body: bytes) -> str:
    """Return the server's message in an error response.

    It may be `{"error": {"message"}}`, `{"error"}`, `{"detail"}` or plain text.
    """
    text = body.decode("utf-8", "replace").strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return clean(text, MAX_ERROR_MESSAGE) or "no explanation"
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    return clean(value, MAX_ERROR_MESSAGE)
