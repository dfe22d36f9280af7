"""SGLang's native /generate, streamed and not.

Each event holds the text so far, or only what is new where the server was started so (--incremental-streaming-output):
told apart by whether a text begins with all that came before it. Fields: SGLang's managers/io_struct.py and
tokenizer_manager.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings
from loadstone.apis.common import (
    error_message,
    has_exact_length,
    json_decoder,
    output_limit,
    overlay,
    prompt_text,
    same_names,
    sampling_fields,
)
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
    index: int = 0
    error: Any = None


_read: Callable[[bytes], _Chunk] = json_decoder(_Chunk)
_read_whole: Callable[[bytes], _Chunk | list[_Chunk]] = json_decoder(_Chunk | list[_Chunk])


class Generate(API):
    """POST /generate with text or token ids; messages are sent as their contents, one to a line."""

    path = "/generate"
    names_model = False

    def __init__(self) -> None:
        self._told: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._increments = False

    def new_parser(self) -> Generate:
        return type(self)()

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        asked: dict[str, Any] = {"text": prompt_text(prompt)} if prompt.tokens is None else {"input_ids": prompt.tokens}
        wanted = _parameters(prompt, settings)
        logprobs = wanted.pop("logprobs", None)
        body = {**asked, "sampling_params": wanted, "stream": settings.stream}
        if logprobs is not None:
            body |= {"return_logprob": True, "top_logprobs_num": logprobs}
        return overlay(body, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        if data == b"[DONE]":
            return Event(done=True)
        return self._take(_read(data))

    def parse_response(self, data: bytes) -> Event:
        found = _read_whole(data)
        if not isinstance(found, list):
            return self._take(found)
        taken = [self._take(_numbered(chunk, index)) for index, chunk in enumerate(found)]
        deltas = [delta for event in taken for delta in event.deltas]
        return Event(deltas, taken[-1].usage if taken else None, next((e.error for e in taken if e.error), None))

    def _take(self, chunk: _Chunk) -> Event:
        meta = chunk.meta_info or _Meta()
        reason = meta.finish_reason if not isinstance(meta.finish_reason, str) else _Reason(meta.finish_reason)
        if chunk.error:
            return Event(error=error_message(chunk.error))
        if reason is not None and reason.type == "abort":
            return Event(error=reason.message or "the server aborted the request")
        deltas = [] if chunk.text is None else [self._delta(chunk.index, chunk.text, reason)]
        return Event(deltas, None if chunk.meta_info is None else self._usage(chunk.index, meta))

    def _delta(self, index: int, text: str, reason: _Reason | None) -> Delta:
        piece = self._piece(index, text)
        return Delta(index, piece, finish=reason.type if reason else None, output=bool(piece) or reason is None)

    def _piece(self, index: int, text: str) -> str:
        """What is new in a text."""
        told = self._told.get(index, "")
        self._increments = self._increments or not text.startswith(told)
        if self._increments:
            return text
        self._told[index] = text
        return text[len(told) :]

    def _usage(self, index: int, meta: _Meta) -> Usage:
        """Each of several answers counts its own tokens; the prompt is the same for all."""
        if meta.completion_tokens is not None:
            self._counts[index] = meta.completion_tokens
        total = sum(self._counts.values()) if self._counts else None
        return Usage(meta.prompt_tokens, total, meta.cached_tokens, meta.reasoning_tokens)


def _parameters(prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    output_len = output_limit(prompt, settings)
    if output_len is not None:
        wanted["max_new_tokens"] = output_len
    if settings.ignore_eos or has_exact_length(prompt, settings):
        wanted["ignore_eos"] = True
    if settings.temperature is not None:
        wanted["temperature"] = settings.temperature
    wanted |= sampling_fields(settings, _NAMES, "generate")
    if has_exact_length(prompt, settings):
        wanted["min_new_tokens"] = output_len
    return wanted


def _numbered(chunk: _Chunk, index: int) -> _Chunk:
    chunk.index = index
    return chunk
