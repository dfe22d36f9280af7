"""Ollama's /api/chat and /api/generate: lines of JSON, streamed unless the body says otherwise. Pure.

The shapes are those of its api/types.go; counts come with the last line.
"""

from __future__ import annotations

from typing import Any

from loadstone.sim import request
from loadstone.sim.bodies import ENGINE_DEAD_MESSAGE, Page, encode, error_message
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, PromptContent, ResponseFacts, StreamEvents, http_chunk

_CREATED = "2025-01-01T00:00:00Z"


class _Lines(StreamEvents):
    """The JSON lines of a stream. `chat`: the text is in a message."""

    __slots__ = ("_chat", "_head", "_tail")

    def __init__(self, facts: ResponseFacts, chat: bool) -> None:
        super().__init__(facts)
        self._chat = chat
        head = encode({"model": facts.model, "created_at": _CREATED})[:-1]
        self._head = head + (b',"message":{"role":"assistant","content":"' if chat else b',"response":"')
        self._tail = (b'"}' if chat else b'"') + b',"done":false}\n'

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        return http_chunk(self._head + piece + self._tail)

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        return http_chunk(self._head + piece + b"\n")

    def closing(self) -> bytes:
        return http_chunk(_done(self.facts, "", self._chat) + b"\n")

    def engine_error(self) -> bytes:
        return http_chunk(encode({"error": ENGINE_DEAD_MESSAGE}) + b"\n")


class Chat(Format):
    """POST /api/chat.

    chat: the text of a response is in a message.
    """

    content_type = b"application/x-ndjson"
    chat = True

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        limit = request.integer(request.json_object(data, "options"), "num_predict")
        stream = request.flag(data, default=True)
        return request.build_request(self, data, settings, [self._prompt(data)], limit, 1, (stream, True, False))

    def _prompt(self, data: dict[str, Any]) -> PromptContent:
        return request.messages(data)

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        return _Lines(facts, self.chat)

    def body(self, facts: ResponseFacts) -> bytes:
        return _done(facts, facts.texts[0], self.chat)

    def error_page(self, page: Page) -> Page:
        return Page(page.status, encode({"error": error_message(page)}), headers=page.headers)


class Generate(Chat):
    """POST /api/generate."""

    chat = False

    def _prompt(self, data: dict[str, Any]) -> PromptContent:
        (prompt,) = request.prompts(data, "prompt", "prompt must be provided and non-empty.")[:1]
        return (*request.texts(data.get("system")), *map(str, prompt))


def _done(facts: ResponseFacts, text: str, chat: bool) -> bytes:
    """Return the last line of a stream, or the body of a whole response."""
    answer = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
    counts = {"prompt_eval_count": facts.request.prompt_tokens, "eval_count": facts.request.tokens}
    head = {"model": facts.model, "created_at": _CREATED, **answer}
    return encode(
        {
            **head,
            "done": True,
            "done_reason": facts.request.finish_reason,
            "total_duration": 0,
            "load_duration": 0,
            **counts,
        }
    )
