"""Ollama's /api/chat and /api/generate: lines of JSON, streamed unless the body says otherwise. Pure.

The shapes are those of its api/types.go; counts come with the last line.
"""

from __future__ import annotations

from typing import Any

from loadstone.sim import request
from loadstone.sim.bodies import ENGINE_DEAD, Page, encode, message
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Content, Format, ParsedRequest, ResponseFacts, StreamEvents, frame

_CREATED = "2025-01-01T00:00:00Z"


class _Lines(StreamEvents):
    __slots__ = ("_chat", "_head", "_tail")

    def __init__(self, facts: ResponseFacts, chat: bool) -> None:
        super().__init__(facts)
        self._chat = chat
        head = encode({"model": facts.model, "created_at": _CREATED})[:-1]
        self._head = head + (b',"message":{"role":"assistant","content":"' if chat else b',"response":"')
        self._tail = (b'"}' if chat else b'"') + b',"done":false}\n'

    def text(self, choice: int, piece: bytes, done: int) -> bytes:
        return frame(self._head + piece + self._tail)

    def broken(self, choice: int, piece: bytes) -> bytes:
        return frame(self._head + piece + b"\n")

    def closing(self) -> bytes:
        return frame(_done(self.facts, "", self._chat) + b"\n")

    def death(self) -> bytes:
        return frame(encode({"error": ENGINE_DEAD}) + b"\n")


class Chat(Format):
    """POST /api/chat."""

    kind = b"application/x-ndjson"
    chat = True

    def ask(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        limit = request.integer(request.section(data, "options"), "num_predict")
        stream = request.flag(data, default=True)
        return request.make(self, data, settings, [self._prompt(data)], limit, 1, (stream, True, False))

    def _prompt(self, data: dict[str, Any]) -> Content:
        return request.messages(data)

    def chunks(self, facts: ResponseFacts) -> StreamEvents:
        return _Lines(facts, self.chat)

    def whole(self, facts: ResponseFacts) -> bytes:
        return _done(facts, facts.texts[0], self.chat)

    def refusal(self, page: Page) -> Page:
        return Page(page.status, encode({"error": message(page)}), headers=page.headers)


class Generate(Chat):
    """POST /api/generate."""

    chat = False

    def _prompt(self, data: dict[str, Any]) -> Content:
        (prompt,) = request.prompts(data, "prompt", "prompt must be provided and non-empty.")[:1]
        return (*request.texts(data.get("system")), *map(str, prompt))


def _done(facts: ResponseFacts, text: str, chat: bool) -> bytes:
    said = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
    counts = {"prompt_eval_count": facts.ask.prompt_tokens, "eval_count": facts.ask.tokens}
    head = {"model": facts.model, "created_at": _CREATED, **said}
    return encode(
        {**head, "done": True, "done_reason": facts.ask.finish, "total_duration": 0, "load_duration": 0, **counts}
    )
