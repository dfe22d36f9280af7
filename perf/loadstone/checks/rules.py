"""The rules of the check, and the verdict that follows from them.

Pure. A rule looks at one thing and yields what it found, good or bad. Rules about the client's own lag and CPU are in
client_lag.py, about machines and processes in resources.py, about the load in load.py, about the server and its metrics
in server.py, about answers in answers.py. docs/doubts.md has a heading for each doubt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadstone.checks import answers, client_lag, load, resources, server
from loadstone.checks.finding import Finding, Rule, Severity, format_percent, grade, one_line
from loadstone.config.refusals import advise
from loadstone.records import FailureCause
from loadstone.summary import COMPLETE, Doubt, EndReason, Status, Summary, Verdict

# Advice by the reason of an early end.
_EARLY_ENDS: dict[EndReason, str] = {
    EndReason.SATURATED: (
        "the load was more than the server carries: latencies grew with the time it lasted; offer less"
    ),
    EndReason.ERRORS: "too many requests failed",
}
# Successes below which no figure has an interval (stats).
ENOUGH = 20
ERROR_RATE = "error rate"
# Fraction of the completed requests that may fail; above --max-error-rate the run is invalid.
FAILED = 0.01
# Fraction of the completed requests: a race between a request and the end of an idle connection is rare.
RESENT = 0.01


def judge(summary: Summary) -> Verdict:
    """Return the verdict: `invalid` if any doubt is, else `suspect` if there is one, else `valid`."""
    doubts = [
        Doubt(finding.what, finding.severity, finding.measured, finding.limit, finding.advice)
        for finding in examine(summary)
        if finding.severity is not None
    ]
    worst: Status = max((doubt.severity for doubt in doubts), key=("suspect", "invalid").index, default="valid")
    return Verdict(worst, doubts)


def examine(summary: Summary) -> list[Finding]:
    """Return the findings of all rules, those without a doubt too."""
    return [finding for rule in RULES for finding in rule(summary)]


def unfit(summary: Summary) -> Doubt | None:
    """Return the doubt that leaves a run's figures without meaning, None if there is none.

    A high error rate is none: it makes a run invalid, and yet is a figure of the server at that load.
    """
    doubts = summary.verdict.doubts if summary.verdict else []
    return next((doubt for doubt in doubts if doubt.severity == "invalid" and doubt.what != ERROR_RATE), None)


def client_faults(summary: Summary) -> list[str]:
    """Return what was so wrong with the client that a run says nothing about the server, a sentence each."""
    return [
        f"{finding.what}: {finding.measured}, limit {finding.limit}"
        for rule in (*resources.RULES, *client_lag.RULES)
        for finding in rule(summary)
        if finding.severity == "invalid"
    ]


def _success(summary: Summary) -> Iterator[Finding]:
    """Check that requests succeeded."""
    counts = summary.counts
    if not counts.succeeded:
        measured = f"0 of {counts.completed + counts.stopped + counts.cancelled} requests"
        yield Finding("no success", "invalid", measured, "1", why_no_success(summary))
        return
    # One failure shows that something fails, and not how often: of few requests it is a large fraction.
    rate, most = counts.failed / counts.completed, summary.run.config.max_error_rate
    severity = grade(rate, FAILED, most if counts.failed > 1 else math.inf)
    limit = f"{most:.3g} (--max-error-rate)" if severity == "invalid" else format_percent(FAILED)
    advice = f"latencies are those of the survivors only; {why_failed(summary)}"
    yield Finding(ERROR_RATE, severity, f"{rate:.1%}", limit, advice)


def _resent(summary: Summary) -> Iterator[Finding]:
    """Check for requests that the transport sent again after a keep-alive race."""
    counts = summary.counts
    if counts.resent and counts.completed:
        fraction = counts.resent / counts.completed
        advice = "the server closes idle connections just as requests come, or drops what it has accepted: "
        advice += "give it a longer keep-alive time, and look in its log for workers that die"
        severity = grade(fraction, RESENT, math.inf)
        yield Finding("resent requests", severity, f"{fraction:.1%}", format_percent(RESENT), advice)


def why_failed(summary: Summary) -> str:
    """Return the most frequent failure, with how often it came."""
    if not summary.failures:
        return "find out why the others failed"
    kind, message, count = max(summary.failures, key=lambda failure: failure[2])
    advice = advise(message) if kind == FailureCause.STATUS else None
    return f"{count} ended with {kind}: {one_line(message)}" + (f"; {advice}" if advice else "")


def why_no_success(summary: Summary) -> str:
    """Return why nothing succeeded: the most frequent failure."""
    if summary.failures:
        return why_failed(summary)
    if summary.counts.cancelled:
        return "each was cancelled: give a lower --cancel-share or a later --cancel-after"
    return "none was sent and ended in time: give a longer --duration"


def _sample(summary: Summary) -> Iterator[Finding]:
    """Check the number of successes. Percentiles beyond the sample are not shown at all."""
    count = summary.counts.succeeded
    if not count:
        return
    few: Severity | None = "suspect" if count < ENOUGH else None

    # The highest percentile that is shown, with its margin, or why it has none.
    precision = ""
    metric = summary.metrics.get("ttft") or summary.metrics.get("latency")
    for name, field in (("p99.9", "p999"), ("p99", "p99"), ("p95", "p95"), ("p90", "p90"), ("p50", "p50")):
        value: float | None = getattr(metric, field, None)
        if metric is None or value is None:
            continue
        interval = metric.ci95.get(name)
        if interval is None:
            reason = metric.refused.get(name)
            precision = f", {name} without interval" + (f" ({reason})" if reason else "")
        elif value:
            precision = f", {name} ± {format_percent((interval[1] - interval[0]) / 2 / value)}"
        else:
            precision = f", up to {name}"
        break
    advice = f"no interval can be given, and single requests decide; ask for more (-n {5 * ENOUGH})"
    yield Finding("sample size", few, f"{count} successes{precision}", str(ENOUGH), advice)


def _end(summary: Summary) -> Iterator[Finding]:
    """Check that the run ended, and not early."""
    ended = summary.run.ended
    if summary.run.began is None:
        advice = "these are records alone; report the run's folder to judge the client too"
        yield Finding("client not known", "suspect", "no run.json", "a run folder", advice)
    elif not ended:
        advice = "the run was killed or is still going on: what is shown is what had been written"
        yield Finding("no end", "suspect", "the run has no end", "an end", advice)
    elif ended not in (*COMPLETE, EndReason.WORKER):
        advice = _EARLY_ENDS.get(ended, "fewer requests were sent than planned; let it end")
        advice += f": {why_no_success(summary)}" if ended is EndReason.ERRORS else ""
        measured = summary.run.ended_because or ended if ended is EndReason.WRITE else ended
        yield Finding("ended early", "suspect", measured, "a whole run", advice)


def _missing(summary: Summary) -> Iterator[Finding]:
    """Check that a run that sent everything planned has a record of each request."""
    c = summary.counts
    if summary.run.ended is EndReason.DONE and c.expected is not None:
        present = c.completed + c.stopped + c.cancelled + c.abandoned + c.cooldown
        if present < c.expected:
            advice = "the run ended well, so records were lost since: get records.jsonl again from where it was written"
            measured = f"{c.expected - present} of {c.expected} requests"
            yield Finding("missing records", "suspect", measured, "0", advice)


RULES: tuple[Rule, ...] = (
    load.saturated, _success, _resent, _end, _missing, *resources.RULES, load.cut_off, *client_lag.RULES,
    *load.RULES, _sample, *answers.RULES, *server.RULES,
)  # fmt: skip
