"""Check what else the server did, by its answers and its metrics: the prefix cache, other clients, the scraper.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.checks.finding import Finding, Rule, format_percent, grade
from loadstone.metrics.cache_shares import UNEXPLAINED, cache_share
from loadstone.summary import EndReason, Summary

WARM_CACHE = "warm cache"
# Datasets whose prompts come from the seed.
GENERATED = (
    *("random", "synthetic", "prefix_repetition", "generated-shared-prefix", "sonnet"),
    *("mooncake", "azure", "burstgpt"),
)
# Requests of other clients, as fractions of ours: from there suspect, from there invalid.
OTHERS = (0.01, 0.1)
# APIs in which a server may count each text of a request as a request.
_MANY_IN_ONE = ("embeddings", "rerank", "tei-rerank")


def _other_traffic(summary: Summary) -> Iterator[Finding]:
    """Check for other clients, by the server's count of requests or, where it has none, of tokens.

    One request more may be a health check.
    """
    tallies = {tally.name: tally for tally in summary.server.tallies} if summary.server else {}
    tally = tallies.get("finished") or tallies.get("generation_tokens")
    every_request_recorded = summary.run.ended not in (None, EndReason.WORKER) and not summary.run.lost
    if tally is None or not tally.most or summary.run.config.api in _MANY_IN_ONE or not every_request_recorded:
        return
    more = tally.server - tally.most
    unit = "requests" if tally.name == "finished" else "tokens"
    advice = "others used the server meanwhile, and the figures are of both loads: keep it to yourself, and run again"
    severity = grade(more, max(1.0, OTHERS[0] * tally.most), max(1.0, OTHERS[1] * tally.most))
    measured = f"the server counts {tally.server:,.0f} {unit}, we sent {tally.most:,.0f}"
    yield Finding("other traffic", severity, measured, format_percent(OTHERS[0]), advice)


def _warm_cache(summary: Summary) -> Iterator[Finding]:
    """Check that the server had not seen the prompts before this run: their TTFT is that of its prefix cache."""
    share = cache_share(summary)
    if share is None or share.is_warm is None or share.explained is None:
        return
    limit = min(1.0, share.explained) + UNEXPLAINED
    measured = f"{share.cached:.1%} of the input was cached"
    measured += " by the server's metrics" if share.source == "metrics" else ""
    advice = "the server has seen these prompts before, and TTFT is that of its prefix cache: "
    yield Finding(WARM_CACHE, "suspect" if share.is_warm else None, measured, f"{limit:.0%}", advice + _cold(summary))


def _cold(summary: Summary) -> str:
    """Return what to type for prompts that are not in the cache."""
    config = summary.run.config
    generated = config.dataset.partition(":")[0] in GENERATED
    empty = "restart the server or empty its cache (vLLM: POST /reset_prefix_cache, SGLang: POST /flush_cache)"
    return (
        f"give another seed, such as --seed {config.seed + 1}, or {empty}" if generated else f"{empty}, or take others"
    )


def _scraper(summary: Summary) -> Iterator[Finding]:
    """Check that the server's metrics were scraped to the end."""
    ended = [source.ended for source in summary.server.sources if source.ended is not None] if summary.server else []
    if ended:
        measured = f"nothing was scraped after {max(0.0, min(ended)):.1f} s"
        duration = f"{summary.duration:.1f} s" if summary.duration else "the whole run"
        advice = (
            "the process that scrapes was killed, or could not write (memory, disk): the client's figures hold, the "
        )
        advice += "server's end there"
        yield Finding("scraper lost", "suspect", measured, duration, advice)


RULES: tuple[Rule, ...] = (_scraper, _warm_cache, _other_traffic)
