"""Limits of requests and tokens a minute: when the next request may go. Pure.

A bucket as deep as one request, for each limit: requests leave evenly, so that no minute of the run holds more than the
limit and one request. A request's tokens are estimated as it leaves and settled when the server has counted them.
Of several processes each has its part of the limits.
"""

from __future__ import annotations

from msgspec import Struct

from loadstone.records import Prompt, Usage, messages

MINUTE = 60_000_000_000
# Characters to a token, for the estimate: what providers reckon with.
CHARS = 4


class RateLimits(Struct, frozen=True, kw_only=True):
    """A minute. None: no limit."""

    rpm: float | None = None
    tpm: float | None = None

    def divide(self, of: int) -> RateLimits:
        """What one of so many processes has."""
        return RateLimits(
            rpm=None if self.rpm is None else self.rpm / of,
            tpm=None if self.tpm is None else self.tpm / of,
        )


class RateLimiter:
    """What is left of the limits. `delayed`: requests that had to wait, and ns that they did, all together."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._free = 0
        self._paid = 0.0
        self._answers = self._answered = 0
        self.delayed = (0, 0)

    def estimate(self, prompt: Prompt, asked: int | None) -> float:
        """The estimate: the prompt's characters, and the tokens asked for or, where none are, as many as answers have
        had so far."""
        mean = self._answered / self._answers if self._answers else 0.0
        return estimate_prompt_tokens(prompt) + (mean if asked is None else asked)

    def reserve(self, now: int, tokens: float) -> int:
        """When a request of so many tokens may go, at `now` or later; from then on they are spent."""
        at = max(now, self._free, round(self._paid))
        if self._limits.rpm is not None:
            self._free = at + round(MINUTE / self._limits.rpm)
        if self._limits.tpm is not None:
            self._paid = at + tokens * MINUTE / self._limits.tpm
        if at > now:
            self.delayed = (self.delayed[0] + 1, self.delayed[1] + at - now)
        return at

    def settle(self, tokens: float, usage: Usage | None) -> None:
        """What was booked as `tokens` came to so many, by the server's count."""
        if usage is None or usage.completion is None:
            return
        self._answers, self._answered = self._answers + 1, self._answered + usage.completion
        if self._limits.tpm is not None and usage.prompt is not None:
            self._paid += (usage.prompt + usage.completion - tokens) * MINUTE / self._limits.tpm


def estimate_prompt_tokens(prompt: Prompt) -> float:
    """About how many tokens a prompt has; exactly where it is made of them."""
    if prompt.tokens is not None:
        return len(prompt.tokens)
    contents = [message.get("content") for message in messages(prompt)]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return sum(len(text) for text in (*texts, *(prompt.documents or ())) if isinstance(text, str)) / CHARS
