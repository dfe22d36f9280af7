"""Check that the client had the resources for the load: open files, local ports, worker processes, agreeing clocks.

Pure. The transports say in each failure what this machine lacked (`records.Resource`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from loadstone.checks.finding import Finding, Rule, format_ms, format_percent, grade
from loadstone.records import Resource
from loadstone.summary import EndReason, Summary

# Files that a process has open beside its streams.
SPARE = 32
# Fraction of the local ports that a run may use before the next one could fail.
_FULL = 0.8


def open_files_advice(streams: int, limit: int | None, workers: int = 1) -> str | None:
    """Return what to do before a run with more streams than open files allow; None where they fit.

    limit: hard limit of open files per process; None: no limit.
    """
    each = math.ceil(streams / workers)
    if limit is None or each + SPARE <= limit:
        return None
    return (
        f"{streams} streams need {each + SPARE} open files in a process, and the hard limit is {limit}: "
        f"raise it (ulimit -Hn {2 * each}), or stay at -c {max(0, limit - SPARE) * workers}"
    )


def open_files(summary: Summary) -> Iterator[Finding]:
    """Find requests that failed for want of a file."""
    failed = summary.counts.lacking.get(Resource.OPEN_FILES, 0)
    if failed:
        soft_limit = summary.run.host.open_files
        limit = f"{soft_limit} files" if soft_limit else "0"
        streams = summary.run.config.concurrency
        more = f"ulimit -n {2 * streams}" if streams else "a higher ulimit -n"
        advice = f"the client's fault, not the server's: {more}, or --workers, which have a limit each"
        yield Finding("open files", "invalid", f"{failed} requests failed", limit, advice)


def local_ports(summary: Summary) -> Iterator[Finding]:
    """Find requests that failed for want of a port: a closed connection keeps its port for a minute (TIME_WAIT)."""
    failed = summary.counts.lacking.get(Resource.LOCAL_PORTS, 0)
    span = summary.run.host.local_ports
    ports = span[1] - span[0] + 1 if span else 0
    opened = summary.checks.get("opened_a_minute")
    advice = (
        "the server does not keep connections open, or there are too many: "
        "sysctl net.ipv4.ip_local_port_range='1024 65535', more server addresses, or more client machines"
    )
    if failed:
        yield Finding("local ports", "invalid", f"{failed} requests failed", "0", advice)
    elif opened is not None and ports:
        severity = grade(opened / ports, _FULL, math.inf)
        limit = f"{format_percent(_FULL)} of {ports:,}"
        yield Finding("local ports", severity, f"{opened:,.0f} connections opened in a minute", limit, advice)


def workers(summary: Summary) -> Iterator[Finding]:
    """Find lost processes or machines, and records that never came."""
    lost = list(summary.run.lost)
    if summary.run.ended is EndReason.WORKER and not lost:
        lost = [str(summary.run.ended_because or "a worker process died")]
    if lost:
        advice = "part of the load ended, and its records may be missing: see why it died (dmesg tells of memory)"
        yield Finding("lost workers", "invalid", "; ".join(lost), "none", advice)


def clocks(summary: Summary) -> Iterator[Finding]:
    """Find clocks of several machines that differ: what is in flight together is only known to within their error."""
    if not summary.run.clocks:
        return
    latency = summary.metrics.get("latency")
    mean = (latency.mean if latency else None) or 0.0
    worst = max(summary.run.clocks, key=lambda clock: clock.error)
    limit = max(0.001, 0.05 * mean)
    advice = "arrivals and the number in flight are blurred by it: use the same network for control, or chrony or PTP"
    severity = grade(worst.error, limit, 5 * limit)
    yield Finding("clocks", severity, f"{format_ms(worst.error)} on {worst.host}", format_ms(limit), advice)


RULES: tuple[Rule, ...] = (workers, open_files, local_ports, clocks)
