"""SGLang's native /generate, streamed and not.

Each event holds the text so far, or only the new text if the server runs with --incremental-streaming-output. A text
that does not begin with all the text before it is new text. Fields: SGLang's managers/io_struct.py and
tokenizer_manager.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings
from loadstone.apis.common import (
    json_decoder,
    output_limit,
    overlay,
    prompt_text,
    same_names,
    sampling_fields,
)
from loadstone.apis.server_errors import error_message
from loadstone.records import Prompt, Usage

_NAMES = same_names("top_p top_k min_p presence_penalty frequency_penalty repetition_penalty stop n logprobs") | {
    "min_tokens": "min_new_tokens",
    "seed": "sampling_seed",
}


class _Reason(Struct, gc=False):
    type: str | None = None
    message: str | None = None


class _Meta(Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: _Reason | str | None = None


class _Chunk(Struct, gc=False):
    text: str | None = None
    meta_info: _Meta | None = None
    index: int | None = 0
    error: Any = None


_decode_chunk: Callable[[bytes], _Chunk] = json_decoder(_Chunk)
_decode_response: Callable[[bytes], _Chunk | list[_Chunk]] = json_decoder(_Chunk | list[_Chunk])


class Generate(API):
    """POST /generate with text or token ids; messages are sent as their contents, one to a line."""

    path = "/generate"
    names_model = False
    unused = ("model", "usage")

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}  # by choice: the text so far
        self._counts: dict[int, int] = {}  # by choice: output tokens so far
        self._incremental = False

    def new_parser(self) -> Generate:
        return type(self)()

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        parameters: dict[str, Any] = {}
        output_len = output_limit(prompt, settings)
        if output_len is not None:
            parameters["max_new_tokens"] = output_len
        exact = settings.exact_length and output_len is not None
        if settings.ignore_eos or exact:
            parameters["ignore_eos"] = True
        if settings.temperature is not None:
            parameters["temperature"] = settings.temperature
        parameters |= sampling_fields(settings, _NAMES, "generate")
        if exact:
            parameters["min_new_tokens"] = output_len
        logprobs = parameters.pop("logprobs", None)

        inputs: dict[str, Any] = (
            {"text": prompt_text(prompt)} if prompt.tokens is None else {"input_ids": prompt.tokens}
        )
        body = {**inputs, "sampling_params": parameters, "stream": settings.stream}
        if logprobs is not None:
            body |= {"return_logprob": True, "top_logprobs_num": logprobs}
        return overlay(body, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        if data == b"[DONE]":
            return Event(done=True)
        return self._parse(_decode_chunk(data))

    def parse_response(self, data: bytes) -> Event:
        response = _decode_response(data)
        if not isinstance(response, list):
            return self._parse(response)
        events = []
        for index, chunk in enumerate(response):
            chunk.index = index
            events.append(self._parse(chunk))
        deltas = [delta for event in events for delta in event.deltas]
        error = next((event.error for event in events if event.error), None)
        return Event(deltas, events[-1].usage if events else None, error)

    def _parse(self, chunk: _Chunk) -> Event:
        meta = chunk.meta_info or _Meta()
        reason = meta.finish_reason if not isinstance(meta.finish_reason, str) else _Reason(meta.finish_reason)
        if chunk.error:
            return Event(error=error_message(chunk.error))
        index = chunk.index or 0
        finish = reason.type if reason else None
        failed = reason is not None and finish == "abort"
        deltas = []
        if chunk.text is not None or failed:
            text = self._new_text(index, chunk.text or "")
            error = reason.message if reason is not None and failed else None
            deltas.append(Delta(index, text, finish=finish, output=bool(text) or reason is None, error=error))
        if chunk.meta_info is None:
            return Event(deltas)
        # Each choice counts its own tokens; the prompt is the same for all.
        if meta.completion_tokens is not None:
            self._counts[index] = meta.completion_tokens
        total = sum(self._counts.values()) if self._counts else None
        return Event(deltas, Usage(meta.prompt_tokens, total, meta.cached_tokens, meta.reasoning_tokens))

    def _new_text(self, index: int, text: str) -> str:
        """Return the part of a choice's text that earlier events did not have."""
        known = self._texts.get(index, "")
        self._incremental = self._incremental or not text.startswith(known)
        if self._incremental:
            return text
        self._texts[index] = text
        return text[len(known) :]
