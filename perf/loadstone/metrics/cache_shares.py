"""How much of a run's input was in the server's prefix cache, and how much of that the run itself explains. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from loadstone.summary import Summary

# Tokens that a chat template may add before each prompt, alike for all of them.
TEMPLATE = 64.0
# Fraction of the input: what is cached beyond the explained is no chance above it.
UNEXPLAINED = 0.1


class CacheShare(Struct, frozen=True):
    """The cached fraction of the input, of first turns where there are conversations.

    source: usage of the responses, or the counters of the servers' metrics.
    explained: fraction that the run may have put into the cache itself, at most; None: unknown.
    """

    cached: float
    source: Literal["usage", "metrics"]
    explained: float | None

    @property
    def is_warm(self) -> bool | None:
        """Return True if the server had seen the prompts before; None if that is unknown."""
        return None if self.explained is None else self.cached > min(1.0, self.explained) + UNEXPLAINED


def cache_share(summary: Summary) -> CacheShare | None:
    """Return the cached fraction of a run's input; None if neither responses nor metrics report it."""
    # Later turns find their history in the cache, so only the first ones tell.
    turns = summary.groups.get("turn")
    first = turns[0] if turns else None
    rates, metrics = (first.rates, first.metrics) if first else (summary.rates, summary.metrics)
    cached = rates.get("cached_share")
    if cached is not None:
        tokens = metrics.get("input_tokens")
        return CacheShare(cached, "usage", _explained(summary, tokens.mean if tokens else None))
    if first is not None or summary.server is None:
        return None
    counts = [source.whole.counts for source in summary.server.sources]
    queries = sum(count.get("prefix_queries", 0.0) for count in counts)
    hits = sum(count.get("prefix_hits", 0.0) for count in counts)
    known = any("prefix_hits" in count for count in counts)
    requests = summary.counts.completed + summary.counts.warmup
    mean = queries / requests if requests else None
    return CacheShare(min(1.0, hits / queries), "metrics", _explained(summary, mean)) if known and queries > 0 else None


def _explained(summary: Summary, mean_tokens: float | None) -> float | None:
    """Return the fraction of the measured input that the run itself may have put into the cache.

    mean_tokens: input tokens of a request.
    """
    schedule, counts = summary.run.schedule, summary.counts
    if schedule.shared is None or not schedule.prompts or not mean_tokens:
        return None
    # Prompts that are sent again, or are measured after the warm-up has sent them.
    measured = counts.completed + counts.stopped + counts.cancelled
    turns = summary.groups.get("turn")
    if turns:
        measured = turns[0].requests
    fresh = max(0, schedule.prompts - counts.warmup)
    again = max(0.0, 1 - fresh / measured) if measured else 0.0
    new = min(1.0, schedule.shared + TEMPLATE / mean_tokens)
    return again + (1 - again) * new
