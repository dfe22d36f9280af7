"""OpenAI's Responses API: typed, numbered events. Pure.

The shapes are those of vLLM 0.32, without the fields that only repeat the request.
"""

from __future__ import annotations

import json
from typing import Any

from loadstone.sim import request
from loadstone.sim.bodies import ENGINE_DEAD_MESSAGE, encode
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, ResponseFacts, StreamEvents, http_chunk

_SPOT = {"item_id": "msg_0", "output_index": 0, "content_index": 0}
_DELTA = b'"item_id":"msg_0","output_index":0,"content_index":0,"delta":"'


class _Events(StreamEvents):
    """The events of one message with one text. Each has the next number of the stream."""

    __slots__ = ("_next", "_pieces", "_response")

    def __init__(self, facts: ResponseFacts) -> None:
        super().__init__(facts)
        self._response = _head(facts)
        self._next = 0
        self._pieces: list[bytes] = []

    def _event(self, kind: str, **fields: Any) -> bytes:
        """Return a named and numbered event."""
        body = encode({"type": kind, "sequence_number": self._number(), **fields})
        return http_chunk(b"event: %b\ndata: %b\n\n" % (kind.encode(), body))

    def _number(self) -> int:
        """Take the number of the next event."""
        self._next += 1
        return self._next - 1

    def opening(self) -> bytes:
        started = self._response | {"status": "in_progress", "output": [], "usage": None}
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return b"".join(
            (
                self._event("response.created", response=started),
                self._event("response.in_progress", response=started),
                self._event("response.output_item.added", output_index=0, item=_message([], "in_progress")),
                self._event("response.content_part.added", **_SPOT, part=part),
            )
        )

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        self._pieces.append(piece)
        head = b'"type":"response.output_text.delta","sequence_number":%d,' % self._number()
        return http_chunk(
            b'event: response.output_text.delta\ndata: {%b%b%b","logprobs":[]}\n\n' % (head, _DELTA, piece)
        )

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        return http_chunk(b"event: response.output_text.delta\ndata: {%b%b\n\n" % (_DELTA, piece))

    def ending(self) -> bytes:
        text = self._text()
        part = _part(text)
        return b"".join(
            (
                self._event("response.output_text.done", **_SPOT, text=text, logprobs=[]),
                self._event("response.content_part.done", **_SPOT, part=part),
                self._event("response.output_item.done", output_index=0, item=_message([part], "completed")),
            )
        )

    def _text(self) -> str:
        """Return the text sent so far."""
        return str(json.loads('"' + b"".join(self._pieces).decode("utf-8", "replace") + '"'))

    def closing(self) -> bytes:
        return self._event("response.completed", response=_done(self.facts, self._text()))

    def engine_error(self) -> bytes:
        return self._event("error", code="server_error", message=ENGINE_DEAD_MESSAGE, param=None)


class Responses(Format):
    """POST /v1/responses."""

    id_prefix = "resp_"

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        limit = request.integer(data, "max_output_tokens")
        question = data.get("input")
        texts = (question,) if isinstance(question, str) else request.messages(data, "input")
        prompt = (*request.texts(data.get("instructions")), *texts)
        return request.build_request(self, data, settings, [prompt], limit, 1, (request.flag(data), True, False))

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        return _Events(facts)

    def body(self, facts: ResponseFacts) -> bytes:
        return encode(_done(facts, facts.texts[0]))


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": None}


def _message(parts: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {"id": "msg_0", "type": "message", "role": "assistant", "content": parts, "status": status}


def _head(facts: ResponseFacts) -> dict[str, Any]:
    """Return the fields that identify a response."""
    return {"id": facts.id, "object": "response", "created_at": facts.created, "model": facts.model}


def _done(facts: ResponseFacts, text: str) -> dict[str, Any]:
    """Return a finished response object."""
    ask = facts.request
    cut = ask.finish_reason == "length"
    return {
        **_head(facts),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [_message([_part(text)], "completed")],
        "usage": {
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": {"cached_tokens": facts.cached or 0, "cache_write_tokens": 0},
            "output_tokens": ask.tokens,
            "output_tokens_details": {"reasoning_tokens": 0, "tool_output_tokens": 0},
            "total_tokens": ask.prompt_tokens + ask.tokens,
        },
    }
