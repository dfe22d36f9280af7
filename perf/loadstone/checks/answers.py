"""Rules about the answers: how their events came, and what the server says about its tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadstone.checks.finding import Finding, Rule, check_limit, format_percent, grade
from loadstone.summary import Summary

# Fraction of answers whose events all came in one read, from which a stream is buffered on its way.
BUFFERED = 0.1
# Fraction of successes whose count of tokens cannot be true.
REJECTED = 0.01
# Fraction of answers with fewer tokens than events, and of answers without an end of the body.
FEW_TOKENS = 0.05
UNTERMINATED = 0.01
_COUNTS = {"input": "input tokens", "output": "output tokens", "cached": "cached input tokens"}


def _buffered(summary: Summary) -> Iterator[Finding]:
    """Check for answers that came in one piece though they were streamed."""
    advice = (
        "the stream is buffered on its way, so TTFT is when the buffer was sent, and there is no TPOT: send"
        " X-Accel-Buffering: no from the server, switch off buffering in the proxy (nginx: proxy_buffering off) and"
        " compression, or test the server without the proxy"
    )
    buffered = summary.checks.get("buffered")
    yield from check_limit("buffered answers", buffered, BUFFERED, 2.0, format_percent, advice)


def _reads(summary: Summary) -> Iterator[Finding]:
    """Check for events that came in one read, in answers that came in several."""
    advice = (
        "events came in one read and share its stamp: gap and ITL show packets, not tokens; TPOT holds unless a proxy"
        " collects the events of seconds (nginx: proxy_buffering off)"
    )
    shared = summary.checks.get("shared_reads")
    yield from check_limit("events that share a read", shared, 0.2, 2.0, format_percent, advice)


def _counts(summary: Summary) -> Iterator[Finding]:
    """Check for counts of tokens that cannot be true."""
    checks = summary.checks
    for name, label in _COUNTS.items():
        fraction = checks.get(f"rejected_{name}")
        count = checks.get(f"rejected_{name}_count")
        if fraction is None or count is None:
            continue
        advice = (
            f"the server reports {label} that cannot be true, so they are taken as not reported:"
            " mend the server's usage, or count them with --tokenizer NAME"
        )
        measured = f"{count:,.0f} {label} or the like in {fraction:.1%} of the answers"
        severity = grade(fraction, REJECTED, math.inf)
        yield Finding("reported tokens", severity, measured, format_percent(REJECTED), advice)


def _tokens_and_events(summary: Summary) -> Iterator[Finding]:
    """Check the server's count of tokens against the events that it sent."""
    checks = summary.checks
    fewer = checks.get("fewer_tokens")
    multiple = checks.get("token_multiple")
    advice = (
        "the server counts {} tokens than it sends, so TPOT and throughput are wrong: check its usage with --tokenizer"
    )
    if multiple is not None:
        measured = f"exactly {multiple:.0f} tokens for each event"
        yield Finding("tokens against events", "suspect", measured, "1", advice.format("more"))
    elif fewer is not None:
        measured = f"fewer tokens than events in {fewer:.0%} of the answers"
        severity = grade(fewer, FEW_TOKENS, math.inf)
        yield Finding("tokens against events", severity, measured, format_percent(FEW_TOKENS), advice.format("fewer"))


def _unterminated(summary: Summary) -> Iterator[Finding]:
    """Check for bodies without an end."""
    advice = (
        "the server or a proxy leaves the body open after the last event: this client waited 1 s and closed the"
        " connection, so none is used twice; other clients hang until their timeout"
    )
    fraction = summary.checks.get("unterminated")
    yield from check_limit("answers without an end", fraction, UNTERMINATED, 2.0, format_percent, advice)


def _unfinished(summary: Summary) -> Iterator[Finding]:
    """Check for responses without a finish reason."""
    advice = (
        "answers ended with [DONE] but no finish reason: some servers end cut-off answers so; look at their lengths"
    )
    yield from check_limit("no finish reason", summary.checks.get("unfinished"), 0.01, 2.0, format_percent, advice)


def _lengths(summary: Summary) -> Iterator[Finding]:
    """Check that responses have the requested length, where it was to be exact."""
    missed = summary.checks.get("length_missed")
    if (summary.run.config.ignore_eos or summary.run.config.match_output_length) and missed is not None:
        advice = (
            "answers differ from the length asked for: the server does not honour ignore_eos, or its limit is lower"
        )
        severity = grade(missed, 0.0, math.inf)
        yield Finding("output length", severity, f"{missed:.1%} of answers differ", "0%", advice)


RULES: tuple[Rule, ...] = (
    _buffered,
    _reads,
    _counts,
    _tokens_and_events,
    _unterminated,
    _unfinished,
    _lengths,
)
