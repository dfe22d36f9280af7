"""Limits of requests and tokens per minute: when the next request may go. Pure.

Each limit is a bucket as deep as one request: requests leave evenly, so that no minute of the run holds more than the
limit and one request. A request's tokens are estimated as it leaves and settled when the server has counted them.
Several processes divide the limits among themselves.
"""

from __future__ import annotations

from loadstone.records import Prompt, Usage, messages

# ns.
MINUTE = 60_000_000_000
# Characters per token, for the estimate: the rule of thumb that providers give.
CHARS = 4


class RateLimiter:
    """Applies the limits to the requests of one of `workers` processes.

    rpm, tpm: limits per minute of requests and of tokens, of all processes together; None: no limit.
    delayed: requests that had to wait, and for how many ns in total.
    """

    def __init__(self, rpm: float | None = None, tpm: float | None = None, workers: int = 1) -> None:
        self._rpm = None if rpm is None else rpm / workers
        self._tpm = None if tpm is None else tpm / workers
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
        if self._rpm is not None:
            self._next_by_requests = at + round(MINUTE / self._rpm)
        if self._tpm is not None:
            self._next_by_tokens = at + tokens * MINUTE / self._tpm
        if at > now:
            self.delayed = (self.delayed[0] + 1, self.delayed[1] + at - now)
        return at

    def settle(self, tokens: float, usage: Usage | None) -> None:
        """Correct a reservation of `tokens` by what the server counted."""
        if usage is None or usage.completion is None:
            return
        self._responses += 1
        self._completion_tokens += usage.completion
        if self._tpm is not None and usage.prompt is not None:
            self._next_by_tokens += (usage.prompt + usage.completion - tokens) * MINUTE / self._tpm


def estimate_prompt_tokens(prompt: Prompt) -> float:
    """Estimate the tokens of a prompt; exact if it is made of token ids."""
    if prompt.tokens is not None:
        return len(prompt.tokens)
    contents = [message.get("content") for message in messages(prompt)]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return sum(len(text) for text in (*texts, *(prompt.documents or ())) if isinstance(text, str)) / CHARS
