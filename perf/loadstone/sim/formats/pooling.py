"""The embeddings and rerank protocols as in vLLM 0.32. They generate nothing and answer in one piece. Pure.

The numbers are made up, but the same for the same text.
"""

from __future__ import annotations

from random import Random
from typing import Any

from loadstone.sim import request
from loadstone.sim.bodies import encode, usage
from loadstone.sim.settings import Settings
from loadstone.sim.stream_events import Format, ParsedRequest, PromptContent, ResponseFacts

DIMENSIONS = 32


class Pooling(Format):
    """The base of both protocols: a whole response without generated tokens."""

    def parse(self, data: dict[str, Any], settings: Settings) -> ParsedRequest:
        prompts = self._prompts(data)
        request.build_request(self, data, settings, prompts, 1)  # for its checks
        sizes = sum(request.count_tokens(prompt) for prompt in prompts)
        return ParsedRequest(self, False, 0, 1, sizes, "stop", tuple(prompts))

    def _prompts(self, data: dict[str, Any]) -> list[PromptContent]:
        """Read the prompts of a body. Raises request.RefusedRequest."""
        raise NotImplementedError


class Embeddings(Pooling):
    """POST /v1/embeddings."""

    id_prefix = "embd-"

    def _prompts(self, data: dict[str, Any]) -> list[PromptContent]:
        if "messages" in data:
            return [request.messages(data)]
        return request.prompts(data, "input", "Either input or messages must be provided and non-empty.")

    def body(self, facts: ResponseFacts) -> bytes:
        rows = [
            {"index": index, "object": "embedding", "embedding": _vector(prompt)}
            for index, prompt in enumerate(facts.request.prompts)
        ]
        counts = usage(facts.request.prompt_tokens, 0, facts.cached)
        head = {"id": facts.id, "object": "list", "created": facts.created, "model": facts.model}
        return encode({**head, "data": rows, "usage": counts})


class Rerank(Pooling):
    """POST /v1/rerank, also at /rerank and /v2/rerank. The query counts with every document."""

    id_prefix = "rerank-"

    def _prompts(self, data: dict[str, Any]) -> list[PromptContent]:
        (query,) = request.prompts(data, "query", "query must be provided and non-empty.")[:1]
        documents = request.prompts(data, "documents", "documents must be provided and non-empty.")
        return [(*map(str, query), *map(str, document)) for document in documents]

    def body(self, facts: ResponseFacts) -> bytes:
        rows = [
            {"index": index, "document": {"text": str(prompt[-1])}, "relevance_score": abs(_vector(prompt)[0])}
            for index, prompt in enumerate(facts.request.prompts)
        ]
        rows.sort(key=lambda row: -float(str(row["relevance_score"])))
        counts = dict.fromkeys(("prompt_tokens", "total_tokens"), facts.request.prompt_tokens)
        return encode({"id": facts.id, "model": facts.model, "usage": counts, "results": rows})


def _vector(prompt: PromptContent) -> list[float]:
    """Return a made-up embedding, always the same for a prompt."""
    rng = Random(repr(prompt))
    return [round(rng.uniform(-1, 1), 6) for _ in range(DIMENSIONS)]
