"""Token counts of OpenAI-compatible servers, wherever they report them and whatever they call them.

Sources: OpenAI (`usage` with details), vLLM, DeepSeek (`prompt_cache_hit_tokens`), Moonshot (`choices[].usage`,
`cached_tokens`), Groq (`x_groq.usage`), xAI and Perplexity (`reasoning_tokens`), llama.cpp (`timings`, if it sends no
usage), and gateways that keep the names of Anthropic and of OpenAI's responses (`input_tokens`, `output_tokens`).
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import astuple

from loadstone.records import Usage

# The largest count that is kept.
MAX_COUNT = 2**63 - 1


class TokenDetails(Struct, gc=False):
    """Details of a count.

    cached_tokens: tokens of the prompt that the prefix cache had.
    reasoning_tokens: output tokens that are reasoning.
    """

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class ReportedUsage(Struct, gc=False):
    """A usage object under all names that servers give its fields."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: TokenDetails | None = None
    completion_tokens_details: TokenDetails | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None
    cached_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None
    reasoning_tokens: int | None = None

    def counts(self) -> Usage:
        """Return the counts under our names."""
        prompt, completion = self.prompt_tokens, self.completion_tokens
        if prompt is None:
            prompt = self.input_tokens
        if completion is None:
            completion = self.output_tokens
        of_prompt = self.prompt_tokens_details or self.input_tokens_details
        cached = of_prompt.cached_tokens if of_prompt is not None else None
        if cached is None:
            cached = self.cached_tokens if self.cached_tokens is not None else self.prompt_cache_hit_tokens
        of_completion = self.completion_tokens_details or self.output_tokens_details
        reasoning = of_completion.reasoning_tokens if of_completion is not None else None
        return Usage(prompt, completion, cached, self.reasoning_tokens if reasoning is None else reasoning)


class Timings(Struct, gc=False):
    """llama.cpp's timings: prompt_n tokens were computed, cache_n came from the cache."""

    prompt_n: int | None = None
    predicted_n: int | None = None
    cache_n: int | None = None

    def counts(self) -> Usage:
        """Return the counts under our names. Without `cache_n`, the prompt's own count is unknown."""
        prompt = None
        if self.prompt_n is not None and self.cache_n is not None:
            prompt = self.prompt_n + self.cache_n
        return Usage(prompt, self.predicted_n, self.cache_n)


class UsageHolder(Struct, gc=False):
    """An object that holds the usage, such as Groq's `x_groq`."""

    usage: ReportedUsage | None = None


def storable_usage(usage: Usage | None) -> Usage | None:
    """Return the counts without those that do not fit into 64 bits, which no file format of ours can hold."""
    if usage is None or all(count is None or -MAX_COUNT <= count <= MAX_COUNT for count in astuple(usage)):
        return usage
    return Usage(*(count if count is None or -MAX_COUNT <= count <= MAX_COUNT else None for count in astuple(usage)))


def merge_usage(known: Usage, update: Usage) -> Usage:
    """Return `known` with the counts of `update`.

    Some protocols send the prompt's tokens at the beginning of a stream and the response's at its end. A count of 0
    does not replace another: gateways end streams with an empty usage.
    """
    return Usage(
        update.prompt or (update.prompt if known.prompt is None else known.prompt),
        update.completion or (update.completion if known.completion is None else known.completion),
        update.cached or (update.cached if known.cached is None else known.cached),
        update.reasoning or (update.reasoning if known.reasoning is None else known.reasoning),
    )
