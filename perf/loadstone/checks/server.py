"""Check what else the server did, by its answers and its metrics: the prefix cache, other clients, the scraper.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.checks.finding import Finding, Rule, format_percent, grade
from loadstone.summary import EndReason, Summary

# Requests of other clients, as fractions of ours: from there suspect, from there invalid.
OTHERS = (0.01, 0.1)
# APIs in which a server may count each text of a request as a request.
_MANY_IN_ONE = ("embeddings", "rerank")


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


RULES: tuple[Rule, ...] = (_other_traffic,)
