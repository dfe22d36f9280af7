"""Whether a run can be believed: a Summary in, a verdict with reasons and advice out.

Pure. Each rule is one row of a table: the figure, its limit, what it means when the figure is beyond it, what to do.
The limits are first ones; docs and self-test will derive them from the error they cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from loadstone.records import Doubt, Status, Summary, Verdict

Severity = Literal["suspect", "invalid"]
CLOCK = 0.005
"""Seconds by which machines may be shifted against each other: what timers are off by anyway."""
Rule = Callable[[Summary], Iterator[Doubt]]
_ENDED = {
    "saturated": "the load was more than the server carries: latencies grew with the time it lasted; offer less",
    "errors": "too many requests failed; the failures below say how",
}
"""Advice by the reason of an early end."""


def judge(summary: Summary) -> Verdict:
    """`invalid` when any doubt is, else `suspect` when there is one, else `valid`."""
    doubts = [doubt for rule in RULES for doubt in rule(summary)]
    worst: Status = max((doubt.severity for doubt in doubts), key=("suspect", "invalid").index, default="valid")
    return Verdict(worst, doubts)


def _success(summary: Summary) -> Iterator[Doubt]:
    counts = summary.counts
    if not counts.succeeded:
        yield Doubt("no success", "invalid", f"0 of {counts.completed} requests", "1", "read the errors below")
        return
    rate = counts.failed / counts.completed
    if rate > 0.01:
        advice = "latencies tell of the survivors only; find out why the others failed"
        yield Doubt("error rate", "suspect", f"{rate:.1%}", "1%", advice)


def _cut_off(summary: Summary) -> Iterator[Doubt]:
    counts = summary.counts
    total = counts.completed + counts.stopped
    if counts.stopped > 0.01 * total:
        advice = "the slowest requests are missing from the latencies; give a longer --grace or --duration"
        yield Doubt("cut off at the end", "suspect", f"{counts.stopped} of {total} requests", "1%", advice)


def _end(summary: Summary) -> Iterator[Doubt]:
    ended = summary.run.get("ended")
    if "began" not in summary.run:
        advice = "these are records alone; report the run's folder to judge the client too"
        yield Doubt("client not known", "suspect", "no run.json", "a run folder", advice)
    elif not ended:
        advice = "the run was killed or is still going on: what is shown is what had been written"
        yield Doubt("no end", "suspect", "the run has no end", "an end", advice)
    elif ended not in ("done", "duration", "stages"):
        advice = _ENDED.get(ended, "fewer requests were sent than planned; let it end")
        yield Doubt("ended early", "suspect", ended, "a whole run", advice)


def _lost(summary: Summary) -> Iterator[Doubt]:
    advice = "the load was smaller than asked for, and what that machine had in flight is unknown; run again"
    for sentence in summary.run.get("lost") or ():
        yield Doubt("lost", "invalid", sentence, "nothing lost", advice)


def _clocks(summary: Summary) -> Iterator[Doubt]:
    advice = "the machines' parts may be shifted against each other by this much: use a quieter network between them"
    for clock in summary.run.get("clocks") or ():
        what = f"clock of {clock['host']}"
        yield from _over(what, clock["error"] + abs(clock["drift"] or 0.0), CLOCK, 20 * CLOCK, advice, _ms)


def _loop_lag(summary: Summary) -> Iterator[Doubt]:
    limit = _lag_limit(summary)
    advice = "stamps are late by up to this much; use fewer streams per client, or a core of its own (taskset)"
    yield from _over("event-loop lag p99", summary.client.get("loop_lag_p99"), limit, 5 * limit, advice, _ms)


def _send_lag(summary: Summary) -> Iterator[Doubt]:
    limit = _lag_limit(summary)
    advice = "requests left later than planned; the load was not the one asked for: lower the rate per client"
    yield from _over("send lag p99", summary.client.get("send_lag_p99"), limit, 20 * limit, advice, _ms)


def _lag_limit(summary: Summary) -> float:
    """A tenth of the median TTFT, or half a median gap where that is more, but at least 5 ms: less is timers' noise."""
    ttft, gap = summary.metrics.get("ttft"), summary.metrics.get("gap")
    return max(0.005, 0.1 * (ttft.p50 or 0 if ttft else 0), 0.5 * (gap.p50 or 0 if gap else 0))


def _cpu(summary: Summary) -> Iterator[Doubt]:
    advice = "the client is near the end of its core: stamps queue up behind each other; use fewer streams per client"
    yield from _over("client CPU", summary.client.get("cpu_share"), 0.8, 0.95, advice, _percent)


def _run_queue(summary: Summary) -> Iterator[Doubt]:
    advice = "something else ran on the client's core: pin the client and the server to different cores"
    yield from _over("wait for a core", summary.client.get("run_queue_share"), 0.05, 0.25, advice, _percent)


def _rate(summary: Summary) -> Iterator[Doubt]:
    asked = (summary.run.get("config") or {}).get("rate")
    ratio = summary.checks.get("rate_ratio")
    if not _open(summary) or ratio is None or ratio >= 0.95:
        return
    advice = "fewer requests left than planned: raise -c if it caps the rate, or use another client"
    got, limit = (f"{asked * ratio:.4g}/s sent", f"{asked:.4g}/s asked") if asked else (f"{ratio:.0%} of it", "95%")
    yield Doubt("request rate", "suspect", got, limit, advice)


def _concurrency(summary: Summary) -> Iterator[Doubt]:
    config = summary.run.get("config") or {}
    asked, steady = config.get("concurrency"), summary.steady
    thinking = "turn" in summary.groups  # users who think, or have said all, are not in flight
    if not asked or _open(summary) or steady is None or thinking:
        return
    got = steady.rates.get("concurrency")
    if got is not None and got < 0.9 * asked:
        advice = "the load never held: ask for more requests (-n) than slots, or look at connect times and errors"
        yield Doubt("concurrency", "suspect", f"{got:.4g} in flight while steady", f"{asked} asked", advice)


def _little(summary: Summary) -> Iterator[Doubt]:
    ratio = summary.checks.get("little")
    if ratio is not None and summary.counts.succeeded >= 100 and not 0.8 <= ratio <= 1.25:
        advice = "rate x time in flight does not give the number in flight: the run was not steady; run longer"
        yield Doubt("Little's law", "suspect", f"ratio {ratio:.2f}", "0.8 to 1.25", advice)


def _reads(summary: Summary) -> Iterator[Doubt]:
    advice = "events came in one read and share its stamp: gap and ITL show packets, not tokens; TPOT holds"
    yield from _over("events that share a read", summary.checks.get("shared_reads"), 0.2, 2.0, advice, _percent)


def _unfinished(summary: Summary) -> Iterator[Doubt]:
    advice = (
        "answers ended with [DONE] but no finish reason: some servers end cut-off answers so; look at their lengths"
    )
    yield from _over("no finish reason", summary.checks.get("unfinished"), 0.01, 2.0, advice, _percent)


def _lengths(summary: Summary) -> Iterator[Doubt]:
    config = summary.run.get("config") or {}
    missed = summary.checks.get("length_missed")
    if (config.get("ignore_eos") or config.get("match_output_length")) and missed:
        advice = (
            "answers differ from the length asked for: the server does not honour ignore_eos, or its limit is lower"
        )
        yield Doubt("output length", "suspect", f"{missed:.1%} of answers differ", "0%", advice)


RULES: tuple[Rule, ...] = (
    _success, _end, _lost, _clocks, _cut_off, _cpu, _run_queue, _loop_lag, _send_lag,
    _rate, _concurrency, _little, _reads, _unfinished, _lengths,
)  # fmt: skip


def _open(summary: Summary) -> bool:
    """Requests leave at planned times, whatever the server does."""
    run = summary.run
    return bool((run.get("config") or {}).get("rate")) or (run.get("schedule") or {}).get("loop") == "open"


def _over(
    what: str, value: float | None, suspect: float, invalid: float, advice: str, show: Callable[[float], str]
) -> Iterator[Doubt]:
    if value is not None and value > suspect:
        severity: Severity = "invalid" if value > invalid else "suspect"
        yield Doubt(what, severity, show(value), show(suspect), advice)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _percent(share: float) -> str:
    return f"{share:.0%}"
