"""Check that the client did not distort the figures: lag, late sends, CPU, waiting for a core, sleep, ceiling.

Pure. The effect of lag on a figure was measured against a server that keeps the true times: see docs/doubts.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from loadstone.checks.finding import Finding, Rule, Severity, check_limit, format_ms, format_percent, grade
from loadstone.summary import Summary

# Fractions of a figure by which the client may distort it before the run is suspect, and before it is invalid. Suspect:
# about what chance does to it in 1,000 requests. Invalid: a quarter of a mean, or most of a p99.
LIMITS = {"mean": (0.05, 0.25), "p99": (0.1, 2 / 3), "p99.9": (0.3, math.inf)}
# Seconds; below it a program that shares a machine with an operating system cannot measure anyway.
LEAST = 0.0005
# Events come together, and find the loop busy more often than a random instant does: the mean TTFT moves by up to this
# many times the mean lag.
EVENTS = 3.0
# Fraction of responses with stamps of the kernel alone that makes a run one by the kernel's clock.
STAMPED = 0.99
# Fractions of the run that a stall may last before it is suspect, and invalid.
STALLED = (0.05, 0.25)
# CPU fraction of each worker that advice aims at.
COMFORT = 0.5
# Requests per second below which a lower rate does not help.
LIGHT = 2.0
_LOCAL = ("localhost", "::1", "0.0.0.0", "::")
_ORDER: tuple[Severity | None, ...] = (None, "suspect", "invalid")
_LABELS = {"ttft": "TTFT", "ttft_scheduled": "TTFT from schedule", "latency_scheduled": "latency from schedule"}


def cpu(summary: Summary) -> Iterator[Finding]:
    """Check the CPU of the busiest process."""
    fraction = summary.client.get("cpu_share")
    advice = "the client is near the end of its core, and rates may be its own: "
    yield from check_limit(
        "client CPU", fraction, 0.8, 0.95, format_percent, lambda: advice + _add_workers(summary, fraction or 0.0)
    )


def core(summary: Summary) -> Iterator[Finding]:
    """Check the fraction of time in which the client was ready but had no core: so much of what arrives had to wait."""
    advice = "something else ran on the client's core: "
    invalid = math.inf if _kernel_stamps(summary) else 0.5
    fraction = summary.client.get("run_queue_share")
    yield from check_limit("wait for a core", fraction, 0.05, invalid, format_percent, lambda: advice + _pin(summary))


def loop_lag(summary: Summary) -> Iterator[Finding]:
    """Check the lag of the event loop, by which stamps of arrivals are late.

    Stamps of the kernel are late only where the lag is so long that the next event of a stream arrives meanwhile: both
    are one read then, with the stamp of the last.
    """
    first = "ttft" if _statistic(summary, "ttft", "mean") is not None else "latency"
    figures = [(first, "mean", EVENTS), (first, "p99", 1.0), (first, "p99.9", 1.0), ("gap", "p99", 1.0)]
    figures.append(("gap", "p99.9", 1.0))
    yield from _worst(
        "event-loop lag",
        summary,
        "loop_lag",
        figures,
        lambda: (
            "stamps of arrivals are late: "
            + (_lag_cause(summary) or f"look for what holds up the client's loop, or use {_less_load(summary)}")
        ),
    )


def stall(summary: Summary) -> Iterator[Finding]:
    """Check the longest stall. It moves the largest values, each of one request, by its length, and rates too."""
    advice = "nothing was read or sent meanwhile: was the process stopped, or the machine paused or swapping?"
    longest = summary.client.get("loop_lag_max")
    duration = summary.duration
    if duration:
        suspect, invalid = (fraction * duration for fraction in STALLED)
        yield from check_limit("longest stall", longest, suspect, invalid, format_ms, advice)


def send_lag(summary: Summary) -> Iterator[Finding]:
    """Check the send lag: requests that leave late are late by the schedule, and the load is not the planned one."""
    by_ttft = _statistic(summary, "ttft_scheduled", "mean") is not None
    name = "ttft_scheduled" if by_ttft else "latency_scheduled"
    figures = [(name, statistic, 1.0) for statistic in LIMITS]
    yield from _worst(
        "send lag",
        summary,
        "send_lag",
        figures,
        lambda: "requests left later than planned: " + (_lag_cause(summary) or f"use {_less_load(summary)}"),
    )


def ceiling(summary: Summary) -> Iterator[Finding]:
    """Check the load against what `loadstone selftest` measured as the most that this machine can do."""
    fraction = summary.run.ceiling.share if summary.run.ceiling else None
    advice = "beyond 80 % of it the error grows steeply: "
    yield from check_limit(
        "share of this machine's ceiling",
        fraction,
        0.8,
        math.inf,
        format_percent,
        lambda: advice + _add_workers(summary, fraction or 0.0),
    )


def asleep(summary: Summary) -> Iterator[Finding]:
    """Check for sleep: the monotonic clock stands still while a machine is suspended, the server does not."""
    slept = summary.client.get("asleep")
    duration = summary.duration or math.inf
    advice = "the machine was suspended in mid-run: keep it awake (systemd-inhibit loadstone run ...) and run again"
    yield from check_limit("suspended", slept, 0.1, max(0.1, 0.25 * duration), lambda s: f"{s:.1f} s", advice)


RULES: tuple[Rule, ...] = (cpu, core, loop_lag, stall, send_lag, ceiling, asleep)


def _worst(
    what: str, summary: Summary, lag: str, figures: Sequence[tuple[str, str, float]], advice: Callable[[], str]
) -> Iterator[Finding]:
    """Yield a finding for the figure that a lag moves most against its limit.

    lag: `loop_lag` or `send_lag`.
    figures: (metric, statistic, how many times the lag moves it).
    advice: is called where there is a doubt.
    """
    findings = []
    for name, statistic, times in figures:
        value = _statistic(summary, name, statistic)
        late = summary.client.get(f"{lag}_{statistic.replace('.', '')}")
        if value is None or late is None:
            continue

        # Events that arrive during a lag are read together: stamps of the kernel move by whole gaps, so by nothing for
        # less than one.
        if lag == "loop_lag" and _kernel_stamps(summary):
            gap = _statistic(summary, "gap", "p50") or math.inf
            if statistic != "mean":
                late = max(0.0, late - gap)
            elif (summary.client.get("loop_lag_p99") or 0.0) <= gap:
                late = 0.0

        # A percentile moves by no more than it lies above the median, which stays where it is; a mean may move by all
        # of it.
        above = value if statistic == "mean" else value - (_statistic(summary, name, "p50") or 0.0)
        shift = min(times * late, above)
        suspect, invalid = (max(fraction * value, LEAST) for fraction in LIMITS[statistic])
        severity = grade(shift, suspect, invalid)
        measured = f"{format_ms(shift)} of {_LABELS.get(name, name)} {statistic} {format_ms(value)}"
        rank = (_ORDER.index(severity), shift / suspect)
        findings.append((rank, severity, measured, format_ms(suspect)))
    if findings:
        _, severity, measured, limit = max(findings, key=lambda ranked: ranked[0])
        yield Finding(what, severity, measured, limit, advice() if severity else "")
    elif (tail := summary.client.get(f"{lag}_p99")) is not None:
        yield Finding(what, None, f"p99 {format_ms(tail)}", "of what is reported")


def _kernel_stamps(summary: Summary) -> bool:
    """Return True if the kernel was to stamp what arrived, and did."""
    stamped = summary.checks.get("kernel_stamped")
    return summary.run.clock == "kernel" and (stamped is None or stamped > STAMPED)


def _statistic(summary: Summary, name: str, statistic: str) -> float | None:
    """Return a statistic of a metric, such as `p99.9`; None where it is unknown."""
    value: float | None = getattr(summary.metrics.get(name), statistic.replace(".", ""), None)
    return value


# Advice: what to type


def _lag_cause(summary: Summary) -> str | None:
    """Return what causes a lag, where another figure shows it."""
    if (summary.client.get("run_queue_share") or 0.0) > 0.05:
        return f"the client waited for a core; {_pin(summary)}"
    fraction = summary.client.get("cpu_share") or 0.0
    return f"the client's core is busy; {_add_workers(summary, fraction)}" if fraction > COMFORT else None


def _add_workers(summary: Summary, fraction: float) -> str:
    """Advise more processes where there are cores for them, else another machine. A local server takes a core.

    fraction: of a worker's capacity that is used.
    """
    workers = len(summary.run.workers) or 1
    spare = len(_cores(summary)) - _is_local(summary)
    needed = max(workers + 1, math.ceil(workers * fraction / COMFORT))
    if spare > workers:
        return f"use --workers {min(needed, spare)}" + ("" if needed <= spare else " and another client machine")
    return f"use another client machine, or {_less_load(summary)}"


def _less_load(summary: Summary) -> str:
    """Advise less load where there is less: one request a second, or one stream, is no load."""
    rate = summary.run.config.rate
    streams = summary.run.config.concurrency
    if rate:
        return f"a lower --rate than {rate:g}" if rate > LIGHT else "a client machine with nothing else on it"
    if streams:
        return f"fewer streams than {streams}" if streams > 1 else "a client machine with nothing else on it"
    return "a lighter load"


def _pin(summary: Summary) -> str:
    """Advise a core for the client alone, of those that it may use: others may be the server's, or another container's.

    Where taskset is unknown (macOS, Windows) nothing can be pinned.
    """
    cores, elsewhere = _cores(summary), "use another client machine, or stop what else runs on this one"
    pins = summary.run.host.system.startswith("Linux") or not summary.run.host.system
    if len(cores) == 1 and (summary.run.host.cores or 1) > 1:
        more = "give the client a core that nothing else uses: it was limited to"
        return (
            f"{more} core {cores[0]} (taskset, container), which something else used too; or use another client machine"
        )
    if len(cores) == 1 or not pins:
        return elsewhere
    if _is_local(summary):
        others = ",".join(map(str, cores[:-1]))
        return f"pin the server elsewhere: taskset -c {others} SERVER, and taskset -c {cores[-1]} loadstone run ..."
    return f"stop what else runs here, or keep it off one core: taskset -c {cores[-1]} loadstone run ..."


def _cores(summary: Summary) -> list[int]:
    """Return the cores that the client may use."""
    host = summary.run.host
    return list(host.allowed_cores or range(host.cores or 1))


def _is_local(summary: Summary) -> bool:
    """Return True if a server is on this machine, by its address."""
    urls = summary.run.config.url or ()
    for url in [urls] if isinstance(urls, str) else urls:
        parts = urlsplit(url)
        name = parts.hostname or ""
        if parts.scheme in ("unix", "http+unix") or name in _LOCAL or name.startswith("127."):
            return True
    return False
