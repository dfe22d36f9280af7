"""Hugging Face's Text Generation Inference: /generate_stream with a token in each event, /generate without streaming.

Fields: its router (router/src/lib.rs). Only the last token's `generated_text` marks the end of a stream.
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
    reject_token_ids,
    same_names,
    sampling_fields,
    stop_as_list,
)
from loadstone.apis.server_errors import error_message
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


_decode_chunk: Callable[[bytes], _Chunk] = json_decoder(_Chunk)
_decode_response: Callable[[bytes], _Chunk | list[_Chunk]] = json_decoder(_Chunk | list[_Chunk])


class TGI(API):
    """POST /generate_stream or /generate. Messages are sent as their contents, one to a line."""

    path = "/generate_stream"
    names_model = False
    path_unstreamed = "/generate"
    unused = ("model", "usage")

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        reject_token_ids(prompt, "tgi")
        parameters: dict[str, Any] = {}
        output_len = output_limit(prompt, settings)
        if output_len is not None:
            parameters["max_new_tokens"] = output_len
        if settings.ignore_eos or (settings.exact_length and output_len is not None):
            parameters["ignore_eos_token"] = True
        if settings.temperature is not None:
            # TGI refuses a temperature of 0, which means not to sample.
            parameters["do_sample"] = settings.temperature > 0
            if settings.temperature > 0:
                parameters["temperature"] = settings.temperature
        parameters |= stop_as_list(sampling_fields(settings, _NAMES, "tgi"), "stop")
        parameters["details"] = True  # for the finish reason and the token counts
        return overlay({"inputs": prompt_text(prompt), "parameters": parameters}, settings.extra_body, prompt.body)

    def parse_event(self, data: bytes) -> Event:
        chunk = _decode_chunk(data)
        if chunk.error:
            return Event(error=error_message(chunk.error))
        details, token = chunk.details, chunk.token
        finish = details.finish_reason if details else None
        done = chunk.generated_text is not None
        deltas = []
        if token is not None:
            # A special token has no text; the last one is the end itself.
            answer = "" if token.special else token.text
            deltas.append(Delta(answer=answer, finish=finish, output=bool(answer) or not done))
        return Event(deltas, None if details is None else _usage(details), done=done)

    def parse_response(self, data: bytes) -> Event:
        response = _decode_response(data)
        if isinstance(response, list):
            response = response[0] if response else _Chunk()
        details = response.details
        finish = details.finish_reason if details else None
        error = error_message(response.error) if response.error else None
        deltas = [Delta(answer=response.generated_text or "", finish=finish)]
        return Event(deltas, None if details is None else _usage(details), error)


def _usage(details: _Details) -> Usage:
    prompt = len(details.prefill) if details.input_length is None and details.prefill else details.input_length
    return Usage(prompt, details.generated_tokens)
