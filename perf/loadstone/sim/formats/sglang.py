"""SGLang's native /generate, streamed or whole. Each event of a stream has the whole text so far. Pure."""

from __future__ import annotations

from typing import Any

from loadstone.sim import request
from loadstone.sim.bodies import ENGINE_DEAD_MESSAGE, encode
from loadstone.sim.formats.tgi import TGI
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, ResponseFacts, StreamEvents, http_chunk, sse_events


class _Events(StreamEvents):
    """The events of a stream, each with the text of its choice so far."""

    __slots__ = ("_texts",)

    def __init__(self, facts: ResponseFacts) -> None:
        super().__init__(facts)
        self._texts = [b""] * self.request.choices

    def text(self, choice: int, piece: bytes, token_count: int) -> bytes:
        return self._event(choice, piece, token_count, None)

    def last(self, choice: int, piece: bytes, token_count: int) -> bytes:
        return self._event(choice, piece, token_count, _reason(self.request))

    def invalid_json(self, choice: int, piece: bytes) -> bytes:
        return http_chunk(b'data: {"text":"%b\n\n' % (self._texts[choice] + piece))

    def engine_error(self) -> bytes:
        return sse_events(encode({"error": {"message": ENGINE_DEAD_MESSAGE}}), b"[DONE]")

    def _event(self, choice: int, piece: bytes, done: int, reason: dict[str, Any] | None) -> bytes:
        self._texts[choice] = text = self._texts[choice] + piece
        meta = encode(_meta(self.facts, choice, done, reason))
        index = b',"index":%d' % choice if self.request.choices > 1 else b""
        return sse_events(b'{"text":"%b","output_ids":[],"meta_info":%b%b}' % (text, meta, index))


class Generate(Format):
    """POST /generate. A body with `inputs` is for TGI, which has the same path."""

    def select(self, data: dict[str, Any]) -> Format:
        return _TGI if "inputs" in data else self

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        name = "input_ids" if data.get("input_ids") is not None else "text"
        prompts = request.prompts(data, name, "Either text, input_ids or input_embeds should be provided.")
        wanted = request.json_object(data, "sampling_params")
        limit, choices = request.integer(wanted, "max_new_tokens"), request.integer(wanted, "n", 1)
        return request.build_request(self, data, settings, prompts, limit, choices, (request.flag(data), True, False))

    def stream_events(self, facts: ResponseFacts) -> StreamEvents:
        return _Events(facts)

    def body(self, facts: ResponseFacts) -> bytes:
        ask, reason = facts.request, _reason(facts.request)
        answers = [
            {"text": text, "output_ids": [], "meta_info": _meta(facts, choice, ask.tokens, reason)}
            for choice, text in enumerate(facts.texts)
        ]
        return encode(answers if len(answers) > 1 else answers[0])


_TGI = TGI(stream=False)


def _reason(ask: ParsedRequest) -> dict[str, Any]:
    """Return the finish reason."""
    return {"type": "length", "length": ask.tokens} if ask.finish_reason == "length" else {"type": "stop", "matched": 2}


def _meta(facts: ResponseFacts, choice: int, done: int, reason: dict[str, Any] | None) -> dict[str, Any]:
    """Return the metadata of an event, which counts only the prompt of its own choice."""
    ask = facts.request
    each = ask.choices // len(ask.prompts)
    return {
        "id": facts.id,
        "finish_reason": reason,
        "prompt_tokens": request.count_tokens(ask.prompts[choice // each]),
        "completion_tokens": done,
        "cached_tokens": facts.cached or 0,
    }
