"""Assembles one response from the bytes of its body: when output arrived, how much, how it finished, what failed.

A transport feeds it (data, timestamp of the socket read). It has no state but its own and reads no clock, so a captured
stream gives the same result however it is cut. It never raises: bytes that it cannot read become a Failure.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from loadstone.apis.base import API, BadEventError, Delta, Event, ToolCall, ToolFunction
from loadstone.apis.fast_path import EventTemplate
from loadstone.apis.server_errors import (
    FAILED_FINISH,
    MAX_ERROR_BODY,
    error_body_message,
    find_error,
    plain_error,
)
from loadstone.apis.sse import ErrorEvent
from loadstone.apis.usage import MAX_COUNT, merge_usage, storable_usage
from loadstone.records import Choice, Failure, FailureCause, Logprobs, Pieces, Usage
from loadstone.text import MAX_LABEL, clean, to_utf8, to_utf8_nested

# The last event without the blank line after it: nothing is lost.
_END = (b"[DONE]", b"data: [DONE]")
# Bytes of a whole answer, and of one event of a stream: a larger one is a failure.
MAX_ANSWER = 2**28
MAX_EVENT = 2**25
# Characters of a body that is no stream which its failure shows.
_EXCERPT = 120
# The beginning of a stream of server-sent events.
_FIELD = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")
# Content encodings that change nothing.
_PLAIN_ENCODINGS = (b"", b"identity")


class ResponseParser:
    """The state of one response. Call `start`, then `feed` for each piece of the body, then `finish` once.

    first, first_answer, last: ns, when the first output, the first output that is not reasoning, and the last came.
    times: ns from one output event to the next.
    chars: characters of each output event.
    summarized: whether reasoning came as a summary of hidden tokens.
    """

    __slots__ = (
        "_body",
        "_content_type",
        "_counted_tokens",
        "_deltas",
        "_done",
        "_finishes",
        "_keep_text",
        "_parse_event",
        "_parser",
        "_remark",
        "_splitter",
        "_template",
        "_tokens",
        "_unsplit",
        "chars",
        "failure",
        "first",
        "first_answer",
        "last",
        "status",
        "streamed",
        "summarized",
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
        self.summarized = False
        self._tokens: list[int] = []
        self._counted_tokens = 0
        self._done = False
        self._splitter = api.splitter()
        self._template = EventTemplate(usable=parser is api)
        self._body = bytearray()
        self._content_type = b""
        self._remark: str | None = None
        self._unsplit = 0  # bytes since the last event of the stream ended
        self._finishes: dict[int, str] = {}
        self._deltas: list[Delta] = []

    def start(
        self,
        status: int,
        content_type: bytes | None,
        content_encoding: bytes | None = None,
        remark: str | None = None,
    ) -> None:
        """Take the head of the response. An error, or JSON in answer to a streamed request, is not read as a stream.

        remark: words to add to the message of a failed status: where it redirects to, or what was asked.
        """
        self.status = status
        self._remark = remark
        self._content_type = content_type or b""
        if not 200 <= status < 300 or self._content_type.lower().startswith(b"application/json"):
            self.streamed = False
        if content_encoding is not None and content_encoding.strip().lower() not in _PLAIN_ENCODINGS:
            name = clean(content_encoding.decode("latin-1"), MAX_LABEL)
            self._fail(FailureCause.PROTOCOL, f"Content-Encoding {name}, which was not asked for")

    def feed(self, data: bytes, at: int) -> bool | None:
        """Take a piece of the body that arrived with the read stamped `at`, ns.

        Return True if the response is over and the rest of the body does not matter.
        """
        if not self.streamed:
            return self._keep(data)
        text = self._template.text(data) if self._splitter.at_boundary else None
        if self.failure is not None:
            return None
        if text is not None:
            self._add_text(text, at)
            return None
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
                self._fail_event(content, str(exc))
                break
            except Exception as exc:  # the class may be a plugin, and its mistake is not the server's
                self.failure = self._plugin_failure("parse_event", exc)
                break
            if event.usage is not None:
                self.usage = event.usage if self.usage is None else merge_usage(self.usage, event.usage)
            if event.done:
                self._done = True
            if event.error is not None:
                self._fail(FailureCause.SERVER, event.error)
            elif type(content) is ErrorEvent:
                self._fail(FailureCause.SERVER, find_error(content) or error_body_message(content))
            elif not event.deltas and not event.done and (error := find_error(content)) is not None:
                self._fail(FailureCause.SERVER, error)

        # A body without events is kept: it may be no stream at all.
        if events:
            self._unsplit = 0
            return (self._done and self._parser.marks_end) or None
        self._unsplit += len(data)
        if self.status is not None and not self.times:
            body = self._body
            if len(body) < MAX_ERROR_BODY or body.startswith((b"{", b"[")):
                body += data
        if self._unsplit > MAX_EVENT:
            self._fail(FailureCause.PROTOCOL, f"an event of more than {MAX_EVENT >> 20} MiB")
            return True
        return None

    def finish(self, failure: Failure | None = None) -> Failure | None:
        """Return how the request failed, or None. Call it when the exchange is over, by `failure` if it failed."""
        if not self.streamed or not (self._done or self._finishes):
            self._read_unstreamed(failure)
        self.usage = storable_usage(self.usage)
        if self._tokens and not -MAX_COUNT <= min(self._tokens) <= max(self._tokens) <= MAX_COUNT:
            self._tokens = []
        if self.status is not None and not 200 <= self.status < 300:
            message = error_body_message(bytes(self._body[:MAX_ERROR_BODY]))
            remark = f" ({self._remark})" if self._remark is not None else ""
            failure = Failure(FailureCause.STATUS, f"HTTP {self.status}: {message}{remark}")
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
        latest = 0
        for delta in self._deltas:
            if delta.index == 0:
                for call in delta.tools or ():
                    index = call.index
                    if index is None:
                        # A call with a new id begins another one; a piece without an id goes on with the last.
                        last = calls[latest] if calls else None
                        begins = last is None or (call.id is not None and call.id != last.id)
                        index = len(calls) if begins else latest
                    calls[index] = _join(calls.get(index), call)
                    latest = index
        return [to_utf8_nested(msgspec.to_builtins(call)) for call in calls.values()] or None

    def logprobs(self) -> Logprobs | None:
        """Return the log-probabilities of the first choice; None if there are none or text is not kept."""
        deltas = [delta for delta in self._deltas if delta.index == 0]
        reports = [delta.logprobs for delta in deltas if delta.logprobs is not None]
        if not reports:
            return None
        from loadstone.apis.logprobs import collect_logprobs  # few runs need it

        found = collect_logprobs(reports, "".join(delta.answer for delta in deltas), self.usage)
        return found and msgspec.convert(to_utf8_nested(msgspec.to_builtins(found)), Logprobs)

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
            if delta.summary:
                self.summarized = True
            if delta.finish is not None:
                self._finishes.setdefault(delta.index, clean(delta.finish, MAX_LABEL))
            if delta.error is not None or (delta.finish is not None and FAILED_FINISH.fullmatch(delta.finish)):
                # The server gave up: what came before is not an answer.
                reason = f"finish reason {clean(delta.finish, MAX_LABEL)}" if delta.finish is not None else ""
                self._fail(FailureCause.SERVER, ": ".join(filter(None, (reason, delta.error))))
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

    def _fail(self, kind: FailureCause, message: str) -> None:
        if self.failure is None:
            self.failure = Failure(kind, message)

    def _fail_event(self, content: bytes, reason: str) -> None:
        """Fail for an event that the protocol cannot read: it may be an error in words."""
        error = find_error(content) or plain_error(content)
        if error is None and type(content) is ErrorEvent:
            error = error_body_message(content)
        if error is not None:
            self._fail(FailureCause.SERVER, error)
        elif b"html" in self._content_type.lower():
            self._fail(FailureCause.PROTOCOL, f"not an answer of this API: {self._describe(content)}")
        else:
            self._fail(FailureCause.PROTOCOL, reason)

    def _keep(self, data: bytes) -> bool | None:
        """Keep a piece of a body that is not streamed. Return True if nothing more is needed."""
        failed = self.status is not None and not 200 <= self.status < 300
        if len(self._body) + len(data) <= (MAX_ERROR_BODY if failed else MAX_ANSWER):
            self._body += data
            return None
        self._body += data[: MAX_ERROR_BODY - len(self._body)] if failed else b""
        if not failed:
            self._fail(FailureCause.PROTOCOL, f"the answer is larger than {MAX_ANSWER >> 20} MiB")
        return True

    def _read_unstreamed(self, failure: Failure | None) -> None:
        """Read a body that is not a stream, though a stream may have been asked for. failure: of the exchange."""
        if failure is not None or self.failure is not None or self.status is None or not 200 <= self.status < 300:
            return
        if not self.streamed:
            if self._body:
                self._take_whole_body()
            return
        stray = self._splitter_stray()
        if stray and (error := find_error(stray)) is not None:
            # JSON without `data:` is skipped by the rules of streams, and may say why this one ended.
            self._fail(FailureCause.SERVER, error)
            return
        body = bytes(self._body).strip()
        if self.times or not body or _FIELD.match(body):
            return
        if (error := find_error(body)) is not None:
            self._fail(FailureCause.SERVER, error)
        elif body[:1] in (b"{", b"[") and self._unsplit == len(self._body):
            self.streamed = False
            self._take_whole_body()
        else:
            self._fail(FailureCause.PROTOCOL, f"not a stream: {self._describe(body)}")

    def _describe(self, body: bytes) -> str:
        """Return what a body that cannot be read is, as a message."""
        kind = clean(self._content_type.decode("latin-1"), MAX_LABEL) or "missing"
        text = body[: 4 * _EXCERPT].decode("utf-8", "replace")
        return f"Content-Type {kind}: {clean(' '.join(text.split()), _EXCERPT)}"

    def _splitter_stray(self) -> bytes:
        """Return the line that the splitter skipped as no field of an event; empty for splitters without such."""
        return getattr(self._splitter, "stray", b"")

    def _take_whole_body(self) -> None:
        try:
            event = self._parser.parse_response(bytes(self._body))
            self._add_event(event, 0)
        except BadEventError as exc:
            self._fail_event(bytes(self._body), str(exc))
            return
        except Exception as exc:  # as above
            self.failure = self._plugin_failure("parse_response", exc)
            return
        self.usage = event.usage
        self.first = self.first_answer = self.last = None  # a response that is not streamed has no such times
        if event.error is not None:
            self._fail(FailureCause.SERVER, event.error)
        elif not self.times and (error := find_error(bytes(self._body[:MAX_ERROR_BODY]))) is not None:
            self._fail(FailureCause.SERVER, error)

    def _plugin_failure(self, method: str, exc: Exception) -> Failure:
        return Failure(
            FailureCause.PROTOCOL, f"{type(self._parser).__name__}.{method}: {type(exc).__name__}: {clean(exc)}"
        )


def _count_chars(tools: list[ToolCall]) -> int:
    functions = [call.function for call in tools if call.function is not None]
    return sum(len(function.name or "") + len(function.text) for function in functions)


def _join(known: ToolCall | None, piece: ToolCall) -> ToolCall:
    """Return a tool call with one more piece: arguments are joined, all other fields come once."""
    new = piece.function or ToolFunction()
    if known is None:
        arguments = None if new.arguments is None else new.text
        function = None if piece.function is None else ToolFunction(new.name, arguments)
        return ToolCall(piece.index, piece.id, piece.type, function)
    old = known.function or ToolFunction()
    function = ToolFunction(new.name or old.name, old.text + new.text)
    return ToolCall(known.index, piece.id or known.id, piece.type or known.type, function)
