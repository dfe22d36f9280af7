"""Embeddings and rerank, as OpenAI, vLLM, SGLang and Jina serve them: nothing is generated, answers come in one piece.

An answer with at least one vector or score is output of no characters; the vectors themselves are never decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis.base import API, Delta, Event, RequestSettings
from loadstone.apis.common import (
    error_message,
    json_decoder,
    overlay,
    prompt_text,
    reject_fixed_length,
    reject_token_ids,
    sampling_fields,
)
from loadstone.errors import UsageError
from loadstone.records import Prompt, Usage


class _Usage(Struct, gc=False):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Row(Struct, gc=False):
    embedding: msgspec.Raw = msgspec.Raw(b"")
    relevance_score: float | None = None


class _Answer(Struct, gc=False):
    data: list[_Row] | None = None
    results: list[_Row] | None = None
    usage: _Usage | None = None
    error: Any = None
    object: str | None = None
    message: str | None = None


_read: Callable[[bytes], _Answer] = json_decoder(_Answer)
_NOTHING = (b"", b"[]", b'""', b"null")


class Pooling(API):
    """What both share."""

    streams = False

    def parse_event(self, data: bytes) -> Event:
        return self.parse_response(data)

    def parse_response(self, data: bytes) -> Event:
        answer = _read(data)
        failed = answer.error or answer.object == "error"
        rows = [*(answer.data or ()), *(answer.results or ())]
        filled = any(row.relevance_score is not None or bytes(row.embedding) not in _NOTHING for row in rows)
        return Event(
            [Delta(output=True)] if filled else [],
            None if answer.usage is None else _usage(answer.usage),
            error_message(answer.error or answer.message) if failed else None,
        )


class Embeddings(Pooling):
    """POST /v1/embeddings: the documents of a row in one request, else its text or token ids."""

    path = "/v1/embeddings"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        _nothing_generated(settings, "embeddings")
        asked: Any = prompt.documents or prompt.tokens or prompt_text(prompt)
        return overlay({"model": settings.model, "input": asked}, settings.extra_body, prompt.body)


class Rerank(Pooling):
    """POST /v1/rerank: the documents of a row by its text."""

    path = "/v1/rerank"

    def build_body(self, prompt: Prompt, settings: RequestSettings) -> dict[str, Any]:
        _nothing_generated(settings, "rerank")
        reject_token_ids(prompt, "rerank")
        if not prompt.documents:
            raise UsageError(f"--api rerank needs documents, and {prompt.id} has none: give rows a list `documents`")
        body = {"model": settings.model, "query": prompt_text(prompt), "documents": prompt.documents}
        return overlay(body, settings.extra_body, prompt.body)


def _nothing_generated(settings: RequestSettings, api: str) -> None:
    reject_fixed_length(settings, api)
    sampling_fields(settings, {}, api)


def _usage(usage: _Usage) -> Usage:
    """Jina's servers tell the total alone, and it is the prompt's."""
    return Usage(usage.total_tokens if usage.prompt_tokens is None else usage.prompt_tokens)
