"""Whether the client moved the numbers: lag, late sends, CPU, waiting for a core, sleep, and the machine's ceiling.

Pure. What lag does to a figure was measured against a server that keeps the true times: docs/doubts.md has the points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from loadstone.checks.finding import Finding, Rule, Severity, check_limit, format_ms, format_percent, grade, run_config
from loadstone.summary import Metric, Summary

# How much of a figure may be the client's before it is suspect: about what chance does to it in 1,000 requests. And
# before the run is invalid: a quarter of a mean, or most of a p99.
LIMITS = {"mean": (0.05, 0.25), "p99": (0.1, 2 / 3), "p99.9": (0.3, math.inf)}
# Seconds; what a program that shares a machine with an operating system cannot tell anyway.
LEAST = 0.0005
# Events come together, and meet the loop busy more often than an instant taken at random does: the mean TTFT is moved
# by up to this many times the mean lag.
EVENTS = 3.0
# Share of answers with stamps of the kernel alone that makes a run one by its clock.
STAMPED = 0.99
# Shares of the run.
STALLED = (0.05, 0.25)
# CPU share of each worker that advice aims at.
COMFORT = 0.5
_LOCAL = ("localhost", "::1", "0.0.0.0", "::")


class _Moved(Struct, frozen=True):
    """A reported figure, and by how many seconds the client may have moved it up."""

    name: str
    point: str
    shown: float
    by: float

    @property
    def limits(self) -> tuple[float, float]:
        suspect, invalid = LIMITS[self.point]
        return max(suspect * self.shown, LEAST), max(invalid * self.shown, LEAST)

    def __str__(self) -> str:
        return f"{format_ms(self.by)} of {self.name} {self.point} {format_ms(self.shown)}"


def lag(summary: Summary) -> Iterator[Finding]:
    """Stamps of arrivals are late by the lag of the loop; those of the kernel only where it is so long that the next
    event of a stream comes meanwhile: both are one read then, with the stamp of the last."""
    first = "ttft" if _known(summary, "ttft") else "latency"
    figures = [(first, "mean", EVENTS), (first, "p99", 1.0), (first, "p99.9", 1.0), ("gap", "p99", 1.0)]
    figures.append(("gap", "p99.9", 1.0))
    doing = _because(summary) or f"look for what holds up the client's loop, or use {_fewer(summary)}"
    yield from _worst("event-loop lag", summary, "loop_lag", figures, f"stamps of arrivals are late: {doing}")


def stall(summary: Summary) -> Iterator[Finding]:
    """A single one moves the largest values by its length, each of which is one request, and the rates by its share."""
    advice = "nothing was read or sent meanwhile: was the process stopped, or the machine paused or swapping?"
    longest, duration = summary.client.get("loop_lag_max"), summary.duration
    if duration:
        suspect, invalid = (share * duration for share in STALLED)
        yield from check_limit("longest stall", longest, suspect, invalid, format_ms, advice)


def send_lag(summary: Summary) -> Iterator[Finding]:
    """Requests that leave late are late by the schedule, and the load is not the one asked for."""
    figures = [("ttft_scheduled", point, 1.0) for point in LIMITS]
    if not _known(summary, "ttft_scheduled"):
        figures = [("latency_scheduled", point, 1.0) for point in LIMITS]
    doing = _because(summary) or f"use {_fewer(summary)} per client"
    yield from _worst("send lag", summary, "send_lag", figures, f"requests left later than planned: {doing}")


def _worst(
    what: str, summary: Summary, source: str, figures: Sequence[tuple[str, str, float]], advice: str
) -> Iterator[Finding]:
    """The figure that is moved most against its limit speaks for all."""
    moved = [found for figure in figures if (found := _moved(summary, source, *figure)) is not None]
    if moved:
        worst = max(moved, key=_gravity)
        yield Finding(what, grade(worst.by, *worst.limits), str(worst), format_ms(worst.limits[0]), advice)
    elif (tail := summary.client.get(f"{source}_p99")) is not None:
        yield Finding(what, None, f"p99 {format_ms(tail)}", "of what is reported")


def _gravity(figure: _Moved) -> tuple[int, float]:
    return _ORDER.index(grade(figure.by, *figure.limits)), figure.by / figure.limits[0]


def _moved(summary: Summary, source: str, name: str, point: str, times: float) -> _Moved | None:
    """A percentile is moved by no more than it lies above the median, which stays where it is; a mean may be."""
    metric, late = summary.metrics.get(name), summary.client.get(f"{source}_{point.replace('.', '')}")
    shown = _point(metric, point)
    if metric is None or shown is None or late is None:
        return None
    above = shown - (metric.p50 or 0.0) if point != "mean" else shown
    if source == "loop_lag" and _kernel(summary):
        late = _merged(summary, point, late)
    return _Moved(_LABELS.get(name, name), point, shown, min(times * late, above))


def _merged(summary: Summary, point: str, late: float) -> float:
    """By how much a lag moves stamps of the kernel: by whole gaps, so by nothing while it is shorter than one."""
    gap = _point(summary.metrics.get("gap"), "p50") or math.inf
    if point != "mean":
        return max(0.0, late - gap)
    return late if (summary.client.get("loop_lag_p99") or 0.0) > gap else 0.0


_ORDER: tuple[Severity | None, ...] = (None, "suspect", "invalid")
_LABELS = {"ttft": "TTFT", "ttft_scheduled": "TTFT from schedule", "latency_scheduled": "latency from schedule"}


def _kernel(summary: Summary) -> bool:
    """Whether the kernel stamped what arrived: it was to, and did."""
    stamped = summary.checks.get("kernel_stamped")
    return summary.run.get("clock") == "kernel" and (stamped is None or stamped > STAMPED)


def _point(metric: Metric | None, point: str) -> float | None:
    value: float | None = getattr(metric, point.replace(".", ""), None)
    return value


def _known(summary: Summary, name: str) -> bool:
    return _point(summary.metrics.get(name), "mean") is not None


def cpu(summary: Summary) -> Iterator[Finding]:
    """Of the busiest process."""
    share = summary.client.get("cpu_share")
    advice = f"the client is near the end of its core, and rates may be its own: {_more(summary, share or 0.0)}"
    yield from check_limit("client CPU", share, 0.8, 0.95, format_percent, advice)


def core(summary: Summary) -> Iterator[Finding]:
    """Share of time that the client was ready and had no core: so much of what arrives finds it waiting."""
    advice = f"something else ran on the client's core: {_pin(summary)}"
    invalid = math.inf if _kernel(summary) else 0.5
    yield from check_limit(
        "wait for a core", summary.client.get("run_queue_share"), 0.05, invalid, format_percent, advice
    )


def ceiling(summary: Summary) -> Iterator[Finding]:
    """Against what `loadstone selftest` found this machine to manage."""
    share = (summary.run.get("ceiling") or {}).get("share")
    advice = f"beyond 80 % of it the error grows steeply: {_more(summary, share or 0.0)}"
    yield from check_limit("share of this machine's ceiling", share, 0.8, math.inf, format_percent, advice)


def asleep(summary: Summary) -> Iterator[Finding]:
    """The monotonic clock stands still while a machine is suspended, the server does not."""
    slept, duration = summary.client.get("asleep"), summary.duration or math.inf
    advice = "the machine was suspended in mid-run: keep it awake (systemd-inhibit loadstone run ...) and run again"
    yield from check_limit("suspended", slept, 0.1, max(0.1, 0.25 * duration), lambda s: f"{s:.1f} s", advice)


RULES: tuple[Rule, ...] = (cpu, core, lag, stall, send_lag, ceiling, asleep)


# what to type


def _because(summary: Summary) -> str | None:
    """What is behind a lag, where another figure tells."""
    if (summary.client.get("run_queue_share") or 0.0) > 0.05:
        return f"the client waited for a core; {_pin(summary)}"
    share = summary.client.get("cpu_share") or 0.0
    return f"the client's core is busy; {_more(summary, share)}" if share > COMFORT else None


def _more(summary: Summary, share: float) -> str:
    """More processes where there are cores for them, else another machine. A server on this machine takes a core."""
    workers, spare = _workers(summary), len(_cores(summary)) - _local(summary)
    wanted = max(workers + 1, math.ceil(workers * share / COMFORT))
    if spare > workers:
        return f"use --workers {min(wanted, spare)}" + ("" if wanted <= spare else " and another client machine")
    return f"use another client machine, or {_fewer(summary)}"


def _fewer(summary: Summary) -> str:
    rate, streams = run_config(summary).get("rate"), run_config(summary).get("concurrency")
    return f"a lower --rate than {rate:g}" if rate else f"fewer streams than {streams}" if streams else "a lighter load"


def _pin(summary: Summary) -> str:
    cores, all_cores = _cores(summary), (summary.run.get("host") or {}).get("cores") or 0
    if len(cores) > 1 and _local(summary):
        others = ",".join(map(str, cores[:-1]))
        return f"pin the server elsewhere: taskset -c {others} SERVER, and taskset -c {cores[-1]} loadstone run ..."
    if len(cores) > 1:
        return f"stop what else runs here, or keep it off one core: taskset -c {cores[-1]} loadstone run ..."
    if all_cores > 1 and cores:
        other = next(core for core in range(all_cores) if core not in cores)
        return f"the client may use core {cores[0]} only; give it one of its own: taskset -c {other} loadstone run ..."
    return "use another client machine, or stop what else runs on this one"


def _workers(summary: Summary) -> int:
    return len(summary.run.get("workers") or ()) or 1


def _cores(summary: Summary) -> list[int]:
    host: dict[str, Any] = summary.run.get("host") or {}
    return list(host.get("allowed_cores") or range(host.get("cores") or 1))


def _local(summary: Summary) -> bool:
    """Whether a server is on this machine, by its address."""
    urls = run_config(summary).get("url") or ()
    return any(_here(url) for url in ([urls] if isinstance(urls, str) else urls))


def _here(url: str) -> bool:
    parts = urlsplit(url)
    name = parts.hostname or ""
    return parts.scheme in ("unix", "http+unix") or name in _LOCAL or name.startswith("127.")
