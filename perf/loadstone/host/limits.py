"""Streams that are open at once: how many this machine has room for (open files, ports, memory; None: not told here),
how they are opened, how many were, and what kept them from being more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadstone.host import process_usage as usage
from loadstone.selftest.truth import NS
from loadstone.host.ceiling import Bound
from loadstone.records import Record

SPARE = 200
"""Open files that are not streams."""
STEPS = 100
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def files() -> int | None:
    """Streams that the hard limit of open files leaves room for."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else max(1, hard - SPARE)


def local_ports() -> list[int] | None:
    """First and last of the ports that connections are opened from (Linux)."""
    try:
        return [int(port) for port in _PORTS.read_text().split()]
    except (OSError, ValueError):
        return None


def ports(servers: int) -> int | None:
    """Streams that have a port of their own: each address that is connected to has all of them."""
    span = local_ports()
    return None if span is None else servers * (span[1] - span[0] + 1)


def memory(each: float | None) -> int | None:
    """Streams of `each` bytes that fit into what is free now."""
    free = usage.available()
    return None if free is None or not each else int(free / each)


def smallest(limits: dict[str, int | None]) -> tuple[str, int] | None:
    """The limit that comes first, of those that are told."""
    told = [(value, name) for name, value in limits.items() if value is not None]
    return min(told)[::-1] if told else None


def opening(wanted: int, seconds: float) -> list[str]:
    """Stages that open streams some at a time: a ramp has a step for each, and thousands of steps are work."""
    steps = min(wanted, STEPS)
    return [f"{seconds / steps:g}s@c{wanted * (step + 1) // steps}" for step in range(steps)]


def opened(records: Sequence[Record], at: float) -> int:
    """Streams that have begun to answer, and not ended."""
    instant = at / NS
    return sum(record.first is not None and record.first <= instant <= record.end for record in records)


def bound(count: int, wanted: int, records: Sequence[Record], limits: dict[str, int | None]) -> Bound:
    """What kept streams from being more, or will."""
    failed = [record.error for record in records if record.error and record.error.kind != "stopped"]
    if failed:
        return Bound(count, f"{len(failed)} failed: {failed[0].message}", lower=False)
    if count < wanted:
        return Bound(count, f"{wanted:,} were asked for, and did not begin in time", lower=True)
    first = smallest(limits)
    end = f"; {first[0]} would end it at {first[1]:,}" if first else ""
    return Bound(count, f"more was not tried{end}", lower=True)
