"""Limits of requests and tokens per minute: when the next request may go. Pure.

Each limit is a bucket as deep as one request: requests leave evenly, so that no minute of the run holds more than the
limit and one request. A request's tokens are estimated as it leaves and settled when the server has counted them.
Several processes divide the limits among themselves.
"""

from __future__ import annotations

from msgspec import Struct

from loadstone.records import Prompt, Usage, messages

# ns.
MINUTE = 60_000_000_000
# Characters per token, for the estimate: the rule of thumb that providers give.
CHARS = 4


class RateLimits(Struct, frozen=True, kw_only=True):
    """Limits per minute: rpm of requests, tpm of tokens. None: no limit."""

    rpm: float | None = None
    tpm: float | None = None

    def divide(self, workers: int) -> RateLimits:
        """Return the limits of one of several processes."""
        return RateLimits(
            rpm=None if self.rpm is None else self.rpm / workers,
            tpm=None if self.tpm is None else self.tpm / workers,
        )


class RateLimiter:
    """Applies the limits to the requests of one process.

    delayed: requests that had to wait, and for how many ns in total.
    """

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._next_by_requests = 0  # ns; when the limit of requests lets the next one go
        self._next_by_tokens = 0.0  # ns; when the limit of tokens does
        self._responses = 0
        self._completion_tokens = 0
        self.delayed = (0, 0)

    def estimate(self, prompt: Prompt, output_len: int | None) -> float:
        """Estimate the tokens of a request: those of the prompt and its output length.

        Where that is not given, the output counts as the mean of the responses so far.
        """
        mean = self._completion_tokens / self._responses if self._responses else 0.0
        return estimate_prompt_tokens(prompt) + (mean if output_len is None else output_len)

    def reserve(self, now: int, tokens: float) -> int:
        """Reserve `tokens` for a request. Return when it may go (ns), at `now` or later."""
        at = max(now, self._next_by_requests, round(self._next_by_tokens))
        if self._limits.rpm is not None:
            self._next_by_requests = at + round(MINUTE / self._limits.rpm)
        if self._limits.tpm is not None:
            self._next_by_tokens = at + tokens * MINUTE / self._limits.tpm
        if at > now:
            self.delayed = (self.delayed[0] + 1, self.delayed[1] + at - now)
        return at

    def settle(self, tokens: float, usage: Usage | None) -> None:
        """Correct a reservation of `tokens` by what the server counted."""
        if usage is None or usage.completion is None:
            return
        self._responses += 1
        self._completion_tokens += usage.completion
        if self._limits.tpm is not None and usage.prompt is not None:
            self._next_by_tokens += (usage.prompt + usage.completion - tokens) * MINUTE / self._limits.tpm


def estimate_prompt_tokens(prompt: Prompt) -> float:
    """Estimate the tokens of a prompt; exact if it is made of token ids."""
    if prompt.tokens is not None:
        return len(prompt.tokens)
    contents = [message.get("content") for message in messages(prompt)]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return sum(len(text) for text in (*texts, *(prompt.documents or ())) if isinstance(text, str)) / CHARS
