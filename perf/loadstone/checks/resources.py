"""Whether the client had the means for the load: open files, local ports, all its worker processes, agreeing clocks.

Pure. What ran out is told from the failures that it caused, in the words of transport/http.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from loadstone.checks.finding import Finding, Rule, format_ms, format_percent, grade, run_config
from loadstone.summary import Summary

FILES, PORTS = "too many open files", "no local port is free"
# Files that a process has open beside its streams.
SPARE = 32
# Share of the local ports that a run may use up before the next one could fail.
_FULL = 0.8


def open_files_advice(streams: int, limit: int | None, workers: int = 1) -> str | None:
    """What to type before a run of so many streams under a hard limit of open files a process; None where they fit."""
    each = math.ceil(streams / workers)
    if limit is None or each + SPARE <= limit:
        return None
    return (
        f"{streams} streams need {each + SPARE} open files in a process, and the hard limit is {limit}: "
        f"raise it (ulimit -Hn {2 * each}), or stay at -c {max(0, limit - SPARE) * workers}"
    )


def files(summary: Summary) -> Iterator[Finding]:
    failed = _failed(summary, FILES)
    if failed:
        measured, limit = f"{failed} requests failed", _limit(summary)
        streams = run_config(summary).get("concurrency")
        most = f"ulimit -n {2 * streams}" if streams else "a higher ulimit -n"
        advice = f"the client's fault, not the server's: {most}, or --workers, which have a limit each"
        yield Finding("open files", "invalid", measured, limit, advice)


def ports(summary: Summary) -> Iterator[Finding]:
    """A connection that was closed keeps its port for a minute (TIME_WAIT)."""
    failed, most = _failed(summary, PORTS), _range(summary)
    advice = (
        "the server does not keep connections open, or there are too many: "
        "sysctl net.ipv4.ip_local_port_range='1024 65535', more server addresses, or more client machines"
    )
    opened = summary.checks.get("opened_a_minute")
    if failed:
        yield Finding("local ports", "invalid", f"{failed} requests failed", "0", advice)
    elif opened is not None and most:
        severity = grade(opened / most, _FULL, math.inf)
        limit = f"{format_percent(_FULL)} of {most:,}"
        yield Finding("local ports", severity, f"{opened:,.0f} connections opened in a minute", limit, advice)


def workers(summary: Summary) -> Iterator[Finding]:
    """Lost processes or machines, and records that never came."""
    lost = list(summary.run.get("lost") or ())
    if summary.run.get("ended") == "worker" and not lost:
        lost = [str(summary.run.get("ended_because") or "a worker process died")]
    if lost:
        advice = "part of the load ended, and its records may be missing: see why it died (dmesg tells of memory)"
        yield Finding("lost workers", "invalid", "; ".join(lost), "none", advice)


def clocks(summary: Summary) -> Iterator[Finding]:
    """Times of several machines on one axis: what is in flight together is only known to within the clocks' error."""
    told: list[dict[str, Any]] = summary.run.get("clocks") or []
    if not told:
        return
    latency = summary.metrics.get("latency")
    mean = (latency.mean if latency else None) or 0.0
    worst = max(told, key=lambda clock: clock["error"])
    limit = max(0.001, 0.05 * mean)
    advice = "arrivals and the number in flight are blurred by it: use the same network for control, or chrony or PTP"
    severity = grade(worst["error"], limit, 5 * limit)
    yield Finding("clocks", severity, f"{format_ms(worst['error'])} on {worst['host']}", format_ms(limit), advice)


RULES: tuple[Rule, ...] = (workers, files, ports, clocks)


def _failed(summary: Summary, words: str) -> int:
    return sum(count for _, message, count in summary.failures if words in message)


def _limit(summary: Summary) -> str:
    limit = (summary.run.get("host") or {}).get("open_files")
    return f"{limit} files" if limit else "0"


def _range(summary: Summary) -> int:
    span = (summary.run.get("host") or {}).get("local_ports")
    return span[1] - span[0] + 1 if span else 0
