"""Whether a run can be believed: a Summary in, a verdict with reasons and advice out.

Pure. A rule looks at one thing and says what it found, innocent or not. Those about the client's own lag and CPU are in
interference.py, those about machines and processes in means.py. docs/doubts.md has a heading for each doubt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadstone.checks import client_lag, resources
from loadstone.checks.finding import Finding, Rule, Severity, check_limit, format_percent, grade, one_line, run_config
from loadstone.summary import Doubt, Metric, Status, Summary, Verdict

# Advice by the reason of an early end.
_ENDED = {
    "saturated": "the load was more than the server carries: latencies grew with the time it lasted; offer less",
    "errors": "too many requests failed",
}
# Successes below which there is no interval for any figure (intervals.ENOUGH).
ENOUGH = 20
# Change over the steady window that is beyond doubt and matters.
DRIFT = 0.1
# Change of a mean by a transient at the beginning that matters.
WARMUP = 0.02
# Fraction of the completed requests: a race between a request and the end of an idle connection is rare.
RESENT = 0.01
# Requests of others, as shares of ours.
OTHERS = (0.01, 0.1)
# APIs of which a server may count each text of a request.
_MANY_IN_ONE = ("embeddings", "rerank")
_FIGURES = {"ttft": "TTFT", "latency": "latency", "tpot": "TPOT"}
_DRIFTS = _FIGURES | {"qps": "QPS"}


def judge(summary: Summary) -> Verdict:
    """`invalid` when any doubt is, else `suspect` when there is one, else `valid`."""
    doubts = [
        Doubt(found.what, found.severity, found.measured, found.limit, found.advice)
        for found in examine(summary)
        if found.severity is not None
    ]
    worst: Status = max((doubt.severity for doubt in doubts), key=("suspect", "invalid").index, default="valid")
    return Verdict(worst, doubts)


def examine(summary: Summary) -> list[Finding]:
    """All that was looked at, the innocent too."""
    return [found for rule in RULES for found in rule(summary)]


def client_faults(summary: Summary) -> list[str]:
    """What was so wrong with the client that a run tells nothing of the server, in words."""
    found = [found for rule in (*resources.RULES, *client_lag.RULES) for found in rule(summary)]
    return [f"{one.what}: {one.measured}, limit {one.limit}" for one in found if one.severity == "invalid"]


def _success(summary: Summary) -> Iterator[Finding]:
    counts = summary.counts
    if not counts.succeeded:
        measured = f"0 of {counts.completed + counts.stopped + counts.cancelled} requests"
        yield Finding("no success", "invalid", measured, "1", why_no_success(summary))
        return
    rate = counts.failed / counts.completed
    advice = "latencies tell of the survivors only; find out why the others failed"
    yield Finding("error rate", grade(rate, 0.01, math.inf), f"{rate:.1%}", "1%", advice)


def _resent(summary: Summary) -> Iterator[Finding]:
    """Requests that were sent again after a keep-alive race; nothing where there is none."""
    counts = summary.counts
    if counts.resent and counts.completed:
        share = counts.resent / counts.completed
        advice = "the server closes idle connections just as requests come, or drops what it has accepted: "
        advice += "give it a longer keep-alive time, and look in its log for workers that die"
        yield Finding("resent requests", grade(share, RESENT, math.inf), f"{share:.1%}", format_percent(RESENT), advice)


def why_no_success(summary: Summary) -> str:
    """Why nothing succeeded: the failure that was met most often."""
    if summary.failures:
        kind, message, count = max(summary.failures, key=lambda failure: failure[2])
        return f"{count} ended with {kind}: {one_line(message)}"
    if summary.counts.cancelled:
        return "each was taken back: give a lower --cancel-share or a later --cancel-after"
    return "none was sent and ended in time: give a longer --duration"


def _sample(summary: Summary) -> Iterator[Finding]:
    """Percentiles beyond the sample are not shown at all; what is left to doubt is a run of a few requests."""
    count = summary.counts.succeeded
    if count:
        few: Severity | None = "suspect" if count < ENOUGH else None
        told = _told(summary.metrics.get("ttft") or summary.metrics.get("latency"))
        advice = f"no interval can be given, and single requests decide; ask for more (-n {5 * ENOUGH})"
        yield Finding("sample size", few, f"{count} successes{told}", str(ENOUGH), advice)


def _told(metric: Metric | None) -> str:
    """The highest percentile that is shown, and how sure it is."""
    points = [("p99.9", "p999"), ("p99", "p99"), ("p95", "p95"), ("p90", "p90"), ("p50", "p50")]
    name, value = next(
        ((name, value) for name, field in points if (value := getattr(metric, field, None)) is not None), ("", None)
    )
    if metric is None or value is None:
        return ""
    interval = metric.ci95.get(name)
    if interval is None:
        why = metric.refused.get(name)
        return f", {name} without interval" + (f" ({why})" if why else "")
    return f", {name} ± {format_percent((interval[1] - interval[0]) / 2 / value)}" if value else f", up to {name}"


def _cut_off(summary: Summary) -> Iterator[Finding]:
    counts = summary.counts
    total = counts.completed + counts.stopped
    severity = grade(counts.stopped, 0.01 * total, math.inf)
    advice = "the slowest requests are missing from the latencies; give a longer --grace or --duration"
    yield Finding("cut off at the end", severity, f"{counts.stopped} of {total} requests", "1%", advice)


def _end(summary: Summary) -> Iterator[Finding]:
    ended = summary.run.get("ended")
    if "began" not in summary.run:
        advice = "these are records alone; report the run's folder to judge the client too"
        yield Finding("client not known", "suspect", "no run.json", "a run folder", advice)
    elif not ended:
        advice = "the run was killed or is still going on: what is shown is what had been written"
        yield Finding("no end", "suspect", "the run has no end", "an end", advice)
    elif ended not in ("done", "duration", "stages", "worker"):
        advice = _ENDED.get(ended, "fewer requests were sent than planned; let it end")
        advice += f": {why_no_success(summary)}" if ended == "errors" else ""
        yield Finding("ended early", "suspect", ended, "a whole run", advice)


def _missing(summary: Summary) -> Iterator[Finding]:
    """A run that sent all that was planned has a record of each request."""
    c = summary.counts
    if summary.run.get("ended") == "done" and c.expected is not None:
        there = c.completed + c.stopped + c.cancelled + c.abandoned + c.cooldown
        if there < c.expected:
            advice = "the run ended well, so records were lost since: get records.jsonl again from where it was written"
            measured = f"{c.expected - there} of {c.expected} requests"
            yield Finding("missing records", "suspect", measured, "0", advice)


def _rate(summary: Summary) -> Iterator[Finding]:
    asked, ratio = run_config(summary).get("rate"), summary.checks.get("rate_ratio")
    if not _open(summary) or ratio is None or _limited(summary):
        return
    severity = grade(-ratio, -0.95, math.inf)
    advice = "fewer requests left than planned: raise -c if it caps the rate, or use another client"
    got, limit = (f"{asked * ratio:.4g}/s sent", f"{asked:.4g}/s asked") if asked else (f"{ratio:.0%} of it", "95%")
    yield Finding("request rate", severity, got, limit, advice)


def _concurrency(summary: Summary) -> Iterator[Finding]:
    asked, steady = run_config(summary).get("concurrency"), summary.steady
    if not asked or _open(summary) or steady is None or _thinking(summary) or _limited(summary):
        return
    got = steady.rates.get("concurrency")
    if got is not None:
        advice = "the load never held: ask for more requests (-n) than slots, or look at connect times and errors"
        severity = grade(-got, -0.9 * asked, math.inf)
        yield Finding("concurrency", severity, f"{got:.4g} in flight while steady", f"{asked} asked", advice)


def _little(summary: Summary) -> Iterator[Finding]:
    ratio = summary.checks.get("little")
    if ratio is not None and summary.counts.succeeded >= 100:
        severity: Severity | None = None if 0.8 <= ratio <= 1.25 else "suspect"
        advice = "rate x time in flight does not give the number in flight: the run was not steady; run longer"
        yield Finding("Little's law", severity, f"ratio {ratio:.2f}", "0.8 to 1.25", advice)


def _warmup(summary: Summary) -> Iterator[Finding]:
    """Only where the load was meant to be steady. The cut is that of the figure which takes longest to settle."""
    if _unsteady(summary):
        return
    checks = summary.checks
    cuts = {name: cut for name in _FIGURES if (cut := checks.get(f"warmup_{name}")) is not None}
    shifts = {name: checks.get(f"warmup_{name}_shift") or 0.0 for name in cuts}
    mattering = {name: cuts[name] for name, shift in shifts.items() if abs(shift) > WARMUP}
    if not mattering:
        if any(checks.get(f"drift_{name}") is not None for name in _FIGURES):
            yield Finding("warm-up", None, "no transient at the beginning", format_percent(WARMUP), "")
        return
    worst = max(mattering, key=lambda name: abs(shifts[name]))
    cut = round(max(mattering.values()))
    measured = f"mean {_FIGURES[worst]} {shifts[worst]:+.0%} by the first {cut} requests"
    advice = f"the run had not settled when it was measured: --warmup {_rounded_up(cut + summary.counts.warmup)}"
    yield Finding("warm-up", "suspect", measured, format_percent(WARMUP), advice)


def _rounded_up(count: int) -> int:
    """To two digits."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // step) * step


def _unsteady(summary: Summary) -> bool:
    replayed = run_config(summary).get("arrivals") == "replay"
    return bool(summary.run.get("stages")) or replayed or _thinking(summary)


def _drift(summary: Summary) -> Iterator[Finding]:
    """Only where the load was meant to be steady. A rise counts by the end of its interval that is nearer to none. What
    a warm-up explains has been left out."""
    if _unsteady(summary):
        return
    known = {name: _change(summary, name) for name in _DRIFTS if not (name == "qps" and _open(summary))}
    found = {name: change for name, change in known.items() if change is not None}
    if found:
        name = max(found, key=lambda name: (_sure(*found[name]), abs(found[name][0])))
        change, margin = found[name]
        measured = f"{_DRIFTS[name]} {change:+.0%} ± {format_percent(margin)} in the steady window"
        advice = "the figures depend on how long the run lasts: " + _settle(summary, change)
        yield Finding("drift", grade(_sure(change, margin), DRIFT, math.inf), measured, format_percent(DRIFT), advice)


def _change(summary: Summary, name: str) -> tuple[float, float] | None:
    change, margin = summary.checks.get(f"drift_{name}"), summary.checks.get(f"drift_{name}_margin")
    return None if change is None or margin is None else (change, margin)


def _sure(change: float, margin: float) -> float:
    return max(0.0, abs(change) - margin)


def _settle(summary: Summary, change: float) -> str:
    if _open(summary) and change > 0:
        return "the server may be falling behind; lower the --rate, or run longer to see whether it settles"
    return "give a longer --warmup, and run longer"


def _reads(summary: Summary) -> Iterator[Finding]:
    advice = "events came in one read and share its stamp: gap and ITL show packets, not tokens; TPOT holds"
    shared = summary.checks.get("shared_reads")
    yield from check_limit("events that share a read", shared, 0.2, 2.0, format_percent, advice)


def _unfinished(summary: Summary) -> Iterator[Finding]:
    advice = (
        "answers ended with [DONE] but no finish reason: some servers end cut-off answers so; look at their lengths"
    )
    yield from check_limit("no finish reason", summary.checks.get("unfinished"), 0.01, 2.0, format_percent, advice)


def _lengths(summary: Summary) -> Iterator[Finding]:
    missed = summary.checks.get("length_missed")
    if (run_config(summary).get("ignore_eos") or run_config(summary).get("match_output_length")) and missed is not None:
        advice = (
            "answers differ from the length asked for: the server does not honour ignore_eos, or its limit is lower"
        )
        severity = grade(missed, 0.0, math.inf)
        yield Finding("output length", severity, f"{missed:.1%} of answers differ", "0%", advice)


def _company(summary: Summary) -> Iterator[Finding]:
    """By the server's count of requests or, where it has none, of tokens. One request more may be a health check."""
    tallies = {tally.name: tally for tally in summary.server.tallies} if summary.server else {}
    told = tallies.get("finished") or tallies.get("generation_tokens")
    if told is None or not told.most or run_config(summary).get("api") in _MANY_IN_ONE or not _whole(summary):
        return
    more, what = told.server - told.most, "requests" if told.name == "finished" else "tokens"
    advice = "others used the server meanwhile, and the figures are of both loads: keep it to yourself, and run again"
    severity = grade(more, max(1.0, OTHERS[0] * told.most), max(1.0, OTHERS[1] * told.most))
    measured = f"the server counts {told.server:,.0f} {what}, we sent {told.most:,.0f}"
    yield Finding("other traffic", severity, measured, format_percent(OTHERS[0]), advice)


RULES: tuple[Rule, ...] = (
    _success, _resent, _end, _missing, *resources.RULES, _cut_off, *client_lag.RULES,
    _rate, _concurrency, _little, _warmup, _drift, _sample, _reads, _unfinished, _lengths, _company,
)  # fmt: skip


def _whole(summary: Summary) -> bool:
    """There is a record of every request that was sent."""
    return summary.run.get("ended") not in (None, "worker") and not summary.run.get("lost")


def _open(summary: Summary) -> bool:
    """Requests leave at planned times, whatever the server does."""
    return bool(run_config(summary).get("rate")) or (summary.run.get("schedule") or {}).get("loop") == "open"


def _limited(summary: Summary) -> bool:
    """The limits a minute say how much is sent, not the load beside them."""
    return bool(run_config(summary).get("rpm") or run_config(summary).get("tpm"))


def _thinking(summary: Summary) -> bool:
    """Users who think, or have said all, are not in flight, and their later turns are longer."""
    return "turn" in summary.groups
