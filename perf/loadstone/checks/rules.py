"""The rules of the check, and the verdict that follows from them.

Pure. A rule looks at one thing and yields what it found, good or bad. Rules about the client's own lag and CPU are in
client_lag.py, rules about machines and processes in resources.py. docs/doubts.md has a heading for each doubt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadstone.checks import answers, client_lag, resources
from loadstone.checks.finding import Finding, Rule, Severity, format_percent, grade, one_line
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
# Relative change over the steady window from which a drift matters.
DRIFT = 0.1
# Relative change of a mean by the warm-up from which it matters.
WARMUP = 0.02
# Fraction of the completed requests: a race between a request and the end of an idle connection is rare.
RESENT = 0.01
# Requests of other clients, as fractions of ours: from there suspect, from there invalid.
OTHERS = (0.01, 0.1)
# APIs in which a server may count each text of a request as a request.
_MANY_IN_ONE = ("embeddings", "rerank")
_FIGURES = {"ttft": "TTFT", "latency": "latency", "tpot": "TPOT"}
_DRIFTS = _FIGURES | {"qps": "QPS"}


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
    return f"{count} ended with {kind}: {one_line(message)}"


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


def _cut_off(summary: Summary) -> Iterator[Finding]:
    """Check for requests that the end of the run cut off."""
    counts = summary.counts
    total = counts.completed + counts.stopped
    severity = grade(counts.stopped, 0.01 * total, math.inf)
    advice = "the slowest requests are missing from the latencies; give a longer --grace or --duration"
    yield Finding("cut off at the end", severity, f"{counts.stopped} of {total} requests", "1%", advice)


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


def _rate(summary: Summary) -> Iterator[Finding]:
    """Check that an open loop sent at the planned rate, where limits per minute do not decide how much is sent."""
    config = summary.run.config
    rate = config.rate
    ratio = summary.checks.get("rate_ratio")
    if not _is_open_loop(summary) or ratio is None or config.rpm or config.tpm:
        return
    severity = grade(-ratio, -0.95, math.inf)
    advice = "fewer requests left than planned: raise -c if it caps the rate, or use another client"
    measured, limit = (f"{rate * ratio:.4g}/s sent", f"{rate:.4g}/s asked") if rate else (f"{ratio:.0%} of it", "95%")
    yield Finding("request rate", severity, measured, limit, advice)


def _concurrency(summary: Summary) -> Iterator[Finding]:
    """Check that a closed loop held the concurrency."""
    config = summary.run.config
    concurrency = config.concurrency
    steady = summary.steady
    if not concurrency or steady is None or _is_open_loop(summary):
        return
    # Users who think are not in flight, and limits per minute decide how much is sent.
    if "turn" in summary.groups or config.rpm or config.tpm:
        return
    in_flight = steady.rates.get("concurrency")
    if in_flight is not None:
        advice = "the load never held: ask for more requests (-n) than slots, or look at connect times and errors"
        severity = grade(-in_flight, -0.9 * concurrency, math.inf)
        yield Finding(
            "concurrency", severity, f"{in_flight:.4g} in flight while steady", f"{concurrency} asked", advice
        )


def _little(summary: Summary) -> Iterator[Finding]:
    """Check Little's law: rate times latency is the concurrency of a steady run."""
    ratio = summary.checks.get("little")
    if ratio is not None and summary.counts.succeeded >= 100:
        severity: Severity | None = None if 0.8 <= ratio <= 1.25 else "suspect"
        advice = "rate x time in flight does not give the number in flight: the run was not steady; run longer"
        yield Finding("Little's law", severity, f"ratio {ratio:.2f}", "0.8 to 1.25", advice)


def _warmup(summary: Summary) -> Iterator[Finding]:
    """Check for a transient at the beginning, where the load was meant to be steady.

    The cut is that of the figure which takes longest to settle.
    """
    if _unsteady(summary):
        return
    checks = summary.checks
    cuts = {name: cut for name in _FIGURES if (cut := checks.get(f"warmup_{name}")) is not None}
    shifts = {name: checks.get(f"warmup_{name}_shift") or 0.0 for name in cuts}
    large = {name: cuts[name] for name, shift in shifts.items() if abs(shift) > WARMUP}
    if not large:
        if any(checks.get(f"drift_{name}") is not None for name in _FIGURES):
            yield Finding("warm-up", None, "no transient at the beginning", format_percent(WARMUP), "")
        return
    worst = max(large, key=lambda name: abs(shifts[name]))
    cut = round(max(large.values()))
    measured = f"mean {_FIGURES[worst]} {shifts[worst]:+.0%} by the first {cut} requests"
    # Rounded up to two digits.
    warmup = cut + summary.counts.warmup
    step = int(10 ** max(0, len(str(warmup)) - 2))
    advice = f"the run had not settled when it was measured: --warmup {-(-warmup // step) * step}"
    yield Finding("warm-up", "suspect", measured, format_percent(WARMUP), advice)


def _drift(summary: Summary) -> Iterator[Finding]:
    """Check for a change over the steady window, where the load was meant to be steady.

    A change counts by the end of its interval that is nearer to 0. What a warm-up explains has been left out.
    """
    if _unsteady(summary):
        return
    checks = summary.checks
    changes = {}
    for name in _DRIFTS:
        change = checks.get(f"drift_{name}")
        margin = checks.get(f"drift_{name}_margin")
        if change is not None and margin is not None and not (name == "qps" and _is_open_loop(summary)):
            changes[name] = (max(0.0, abs(change) - margin), change, margin)
    if not changes:
        return
    name = max(changes, key=lambda name: (changes[name][0], abs(changes[name][1])))
    certain, change, margin = changes[name]
    measured = f"{_DRIFTS[name]} {change:+.0%} ± {format_percent(margin)} in the steady window"
    advice = "the figures depend on how long the run lasts: "
    if _is_open_loop(summary) and change > 0:
        advice += "the server may be falling behind; lower the --rate, or run longer to see whether it settles"
    else:
        advice += "give a longer --warmup, and run longer"
    yield Finding("drift", grade(certain, DRIFT, math.inf), measured, format_percent(DRIFT), advice)


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


RULES: tuple[Rule, ...] = (
    _success, _resent, _end, _missing, *resources.RULES, _cut_off, *client_lag.RULES,
    _rate, _concurrency, _little, _warmup, _drift, _sample, *answers.RULES, _other_traffic,
)  # fmt: skip


def _is_open_loop(summary: Summary) -> bool:
    """Return True if requests leave at planned times, whatever the server does."""
    return bool(summary.run.config.rate) or summary.run.schedule.loop == "open"


def _unsteady(summary: Summary) -> bool:
    """Return True if the load was not meant to be steady: later turns of conversations are longer, for example."""
    replayed = summary.run.config.arrivals == "replay"
    return bool(summary.run.stages) or replayed or "turn" in summary.groups
