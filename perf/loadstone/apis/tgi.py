"""Hugging Face's Text Generation Inference: /generate_stream with a token in each event, /generate in one piece.

Fields: its router (router/src/lib.rs). Nothing marks the end of a stream but the last token's `generated_text`.
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
    reject_token_ids,
    same_names,
    sampling_fields,
    stop_as_list,
)
from loadstone.records import Prompt, Usage

_NAMES = same_names("top_p top_k frequency_penalty repetition_penalty stop seed") | {"logprobs": "top_n_tokens"}


class _Token(Struct, gc=False):
    text: str = ""
    special: bool = False


class _Details(Struct, gc=False):
    finish_reason: str | None = None
    generated_tokens: int | None = None
    input_length: int | None = None
    prefill: list[Any] | None = None


class _Chunk(Struct, gc=False):
    index: int | None = None
    token: _Token | None = None
    generated_text: str | None = None
    details: _Details | None = None
    error: Any = None


_read: Callable[[bytes], _Chunk] = json_decoder(_Chunk)
_read_whole: Callable[[bytes], _Chunk | list[_Chunk]] = json_decoder(_Chunk | list[_Chunk])


class TGI(API):
    """POST /generate_stream or /generate. Messages are sent as their contents, one to a line."""

    path = "/generate_stream"
    names_model = False
    path_unstreamed = "/generate"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_token_ids(prompt, "tgi")
        body = {"inputs": prompt_text(prompt), "parameters": _parameters(prompt, settings)}
        return overlay(body, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        chunk = _read(data)
        if chunk.error:
            return Event(error=error_message(chunk.error))
        details, token = chunk.details, chunk.token
        finish = details.finish_reason if details else None
        ended = chunk.generated_text is not None
        deltas = [] if token is None else [_delta(token, finish, ended)]
        return Event(deltas, None if details is None else _usage(details), done=ended)

    def parse_response(self, data: bytes) -> Event:
        found = _read_whole(data)
        chunk = found if not isinstance(found, list) else found[0] if found else _Chunk()
        details = chunk.details
        finish = details.finish_reason if details else None
        error = error_message(chunk.error) if chunk.error else None
        deltas = [Delta(answer=chunk.generated_text or "", finish=finish)]
        return Event(deltas, None if details is None else _usage(details), error)


def _delta(token: _Token, finish: str | None, ended: bool) -> Delta:
    """A special token has no text of the answer; at the end it is the end itself."""
    answer = "" if token.special else token.text
    return Delta(answer=answer, finish=finish, output=bool(answer) or not ended)


def _parameters(prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
    """Details hold the finish reason and the counts. A temperature of 0 is refused there: it means not to sample."""
    wanted: dict[str, Any] = {}
    output_len = output_limit(prompt, settings)
    if output_len is not None:
        wanted["max_new_tokens"] = output_len
    if settings.ignore_eos or has_exact_length(prompt, settings):
        wanted["ignore_eos_token"] = True
    if settings.temperature is not None:
        wanted["do_sample"] = settings.temperature > 0
        if settings.temperature > 0:
            wanted["temperature"] = settings.temperature
    return {**wanted, **stop_as_list(sampling_fields(settings, _NAMES, "tgi"), "stop"), "details": True}


def _usage(details: _Details) -> Usage:
    prompt = len(details.prefill) if details.input_length is None and details.prefill else details.input_length
    return Usage(prompt, details.generated_tokens)
