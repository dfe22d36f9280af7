"""Embeddings and rerank, as OpenAI, vLLM, SGLang and Jina serve them. They generate no text and do not stream.

A response with at least one vector or score counts as output of no characters. The vectors are never decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings
from loadstone.apis.common import (
    json_decoder,
    overlay,
    prompt_text,
    reject_fixed_length,
    reject_token_ids,
    sampling_fields,
)
from loadstone.apis.server_errors import error_message
from loadstone.errors import DataError
from loadstone.records import Prompt, Usage


class _Usage(Struct, gc=False):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Row(Struct, gc=False):
    embedding: msgspec.Raw = msgspec.Raw(b"")
    relevance_score: float | None = None
    score: float | None = None


class _Response(Struct, gc=False):
    data: list[_Row] | None = None
    results: list[_Row] | None = None
    usage: _Usage | None = None
    error: Any = None
    object: Any = None
    message: Any = None


_decode: Callable[[bytes], _Response | list[_Row]] = json_decoder(_Response | list[_Row])
# JSON values that are no embedding.
_EMPTY = (b"", b"[]", b'""', b"null")


class Pooling(API):
    """What embeddings and rerank share."""

    streams = False
    unused: tuple[str, ...] = ("stream", "usage", "output_len", "temperature")

    def parse_event(self, data: bytes) -> Event:
        return self.parse_response(data)

    def parse_response(self, data: bytes) -> Event:
        response = _decode(data)
        if isinstance(response, list):  # Text Embeddings Inference sends the rows alone
            response = _Response(data=response)
        rows = [*(response.data or ()), *(response.results or ())]
        output = any(
            row.relevance_score is not None or row.score is not None or bytes(row.embedding) not in _EMPTY
            for row in rows
        )
        usage = None
        if response.usage is not None:
            prompt = response.usage.prompt_tokens
            usage = Usage(
                response.usage.total_tokens if prompt is None else prompt
            )  # Jina's servers send the total only
        failed = response.error or response.object == "error"
        error = error_message(response.error or response.message) if failed else None
        return Event([Delta(output=True)] if output else [], usage, error)


class Embeddings(Pooling):
    """POST /v1/embeddings: the documents of a row in one request, else its text or token ids."""

    path = "/v1/embeddings"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        _reject_generation(settings, "embeddings")
        inputs: Any = prompt.documents or prompt.tokens or prompt_text(prompt)
        return overlay({"model": settings.model, "input": inputs}, settings.extra_body, prompt.body)


class Rerank(Pooling):
    """POST /v1/rerank: ranks the documents of a row by its text."""

    path = "/v1/rerank"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        _reject_generation(settings, "rerank")
        reject_token_ids(prompt, "rerank")
        if not prompt.documents:
            raise DataError(
                f"--api rerank needs documents, and {prompt.id} has none: give rows a list `documents`", field="api"
            )
        body = {"model": settings.model, "query": prompt_text(prompt), "documents": prompt.documents}
        return overlay(body, settings.extra_body, prompt.body)


class TEIRerank(Rerank):
    """POST /rerank of Hugging Face's Text Embeddings Inference, which calls the documents `texts`."""

    path = "/rerank"
    names_model = False
    unused = (*Pooling.unused, "model")

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        body = super().build_body(prompt, msgspec.structs.replace(settings, extra_body={}))
        names = {"query": body["query"], "texts": body["documents"]}
        return overlay(names, settings.extra_body, prompt.body)


def _reject_generation(settings: RequestSettings, api: str) -> None:
    """Raise ConfigError if a setting of text generation is given."""
    reject_fixed_length(settings, api)
    sampling_fields(settings, {}, api)
