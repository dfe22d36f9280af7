"""Anthropic's messages: named events, one text block. Pure.

The shapes are those of Anthropic's documentation and of vLLM 0.32, which serves the same path.
"""

from __future__ import annotations

from typing import Any

from loadstone.sim import request
from loadstone.sim.bodies import ENGINE_DEAD_MESSAGE, Page, encode, error_message
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, ResponseFacts, StreamEvents, http_chunk

_REASONS = {"length": "max_tokens", "stop": "end_turn"}
_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"'
)


def _event(kind: str, **fields: Any) -> bytes:
    """Return a named event."""
    return http_chunk(b"event: %b\ndata: %b\n\n" % (kind.encode(), encode({"type": kind, **fields})))


class _Events(StreamEvents):
    """The events of one message with one text block."""

    __slots__ = ()

    def opening(self) -> bytes:
        begun = _head(self.facts) | {"content": [], "stop_reason": None, "stop_sequence": None}
        block = {"type": "text", "text": ""}
        return b"".join(
            (
                _event("message_start", message=begun | {"usage": _usage(self.facts, 0)}),
                _event("content_block_start", index=0, content_block=block),
                _event("ping"),
            )
        )

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        return http_chunk(_DELTA + piece + b'"}}\n\n')

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        return http_chunk(_DELTA + piece + b"\n\n")

    def ending(self) -> bytes:
        delta = {"stop_reason": _REASONS[self.request.finish_reason], "stop_sequence": None}
        usage = _usage(self.facts, self.request.tokens)
        return _event("content_block_stop", index=0) + _event("message_delta", delta=delta, usage=usage)

    def closing(self) -> bytes:
        return _event("message_stop")

    def engine_error(self) -> bytes:
        return _event("error", error={"type": "api_error", "message": ENGINE_DEAD_MESSAGE})


class Messages(Format):
    """POST /v1/messages."""

    id_prefix = "msg_"

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        limit = request.integer(data, "max_tokens")
        if limit is None:
            raise request.validation_error("missing", "body.max_tokens", "Field required", data)
        prompt = (*request.texts(data.get("system")), *request.messages(data))
        return request.build_request(self, data, settings, [prompt], limit, 1, (request.flag(data), True, False))

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        return _Events(facts)

    def body(self, facts: ResponseFacts) -> bytes:
        content = [{"type": "text", "text": facts.texts[0]}]
        answer = {"content": content, "stop_reason": _REASONS[facts.request.finish_reason], "stop_sequence": None}
        return encode(_head(facts) | answer | {"usage": _usage(facts, facts.request.tokens)})

    def error_page(self, page: Page) -> Page:
        kind = "authentication_error" if page.status == 401 else "invalid_request_error"
        body = {"type": "error", "error": {"type": kind, "message": error_message(page)}}
        return Page(page.status, encode(body), headers=page.headers)


def _head(facts: ResponseFacts) -> dict[str, Any]:
    """Return the fields that identify a message."""
    return {"id": facts.id, "type": "message", "role": "assistant", "model": facts.model}


def _usage(facts: ResponseFacts, done: int) -> dict[str, Any]:
    """Return the token counts. Prompt tokens that were read from the cache are not input tokens."""
    cached = facts.cached
    cache_counts = {} if cached is None else {"cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
    return {"input_tokens": facts.request.prompt_tokens - (cached or 0), "output_tokens": done, **cache_counts}
