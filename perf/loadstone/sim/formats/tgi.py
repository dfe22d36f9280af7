"""Text Generation Inference: /generate_stream with one token per event, /generate in one piece. Pure.

The shapes are those of its router (router/src/lib.rs: StreamResponse, GenerateResponse, ErrorResponse).
"""

from __future__ import annotations

from typing import Any

from loadstone.sim import request
from loadstone.sim.bodies import ENGINE_DEAD_MESSAGE, Page, encode, error_message
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, ResponseFacts, StreamEvents, http_chunk, sse_events

_REASONS = {"length": "length", "stop": "eos_token"}


class _Events(StreamEvents):
    """The events of a stream, one per token. Only the finish reason marks the end."""

    __slots__ = ("_pieces",)

    def __init__(self, facts: ResponseFacts) -> None:
        super().__init__(facts)
        self._pieces: list[bytes] = []

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        self._pieces.append(piece)
        tail = b'","logprob":-1.0,"special":false},"generated_text":null,"details":null}'
        return sse_events(_head(token_count) + piece + tail)

    def last(self, choice: int, piece: bytes, token_count: int) -> bytes:
        whole = b"".join((*self._pieces, piece))
        details = encode(_details(self.request) | {"input_length": self.request.prompt_tokens})
        tail = b'"generated_text":"%b","details":%b}' % (whole, details if self.request.include_usage else b"null")
        return sse_events(b'%b%b","logprob":-1.0,"special":false},%b' % (_head(token_count), piece, tail))

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        return http_chunk(b"data: %b%b\n\n" % (_head(0), piece))

    def closing(self) -> bytes:
        return b""

    def engine_error(self) -> bytes:
        return sse_events(encode({"error": ENGINE_DEAD_MESSAGE, "error_type": "generation"}))


class TGI(Format):
    """POST /generate_stream, and /generate for an answer in one piece."""

    def __init__(self, stream: bool) -> None:
        self._stream = stream

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        text = data.get("inputs")
        if not isinstance(text, str):
            raise request.validation_error("string_type", "body.inputs", "Input should be a valid string", text)
        wanted = request.json_object(data, "parameters")
        stream = (self._stream, request.flag(wanted, "details"), False)
        return request.build_request(
            self, data, settings, [(text,)], request.integer(wanted, "max_new_tokens"), 1, stream
        )

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        return _Events(facts)

    def body(self, facts: ResponseFacts) -> bytes:
        details = _details(facts.request) | {"prefill": [], "tokens": []} if facts.request.include_usage else None
        return encode({"generated_text": facts.texts[0], "details": details})

    def error_page(self, page: Page) -> Page:
        status, kind = (422, "validation") if page.status == 400 else (page.status, "generation")
        return Page(status, encode({"error": error_message(page), "error_type": kind}), headers=page.headers)


def _head(done: int) -> bytes:
    """Return the beginning of an event, up to its text."""
    return b'{"index":%d,"token":{"id":%d,"text":"' % (done, done)


def _details(ask: ParsedRequest) -> dict[str, Any]:
    """Return the details that end a response."""
    return {"finish_reason": _REASONS[ask.finish_reason], "generated_tokens": ask.tokens, "seed": None}
