"""Streams that are open at once: how many this machine has room for (open files, ports, memory; None: not told here),
how they are opened, how many were, and what kept them from being more."""

from __future__ import annotations

from pathlib import Path

from loadstone.host import process_usage as usage

# Open files that are not streams.
SPARE = 200
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def by_open_files() -> int | None:
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


def by_ports(servers: int) -> int | None:
    """Streams that have a port of their own: each address that is connected to has all of them."""
    span = local_ports()
    return None if span is None else servers * (span[1] - span[0] + 1)


def by_memory(each: float | None) -> int | None:
    """Streams of `each` bytes that fit into what is free now."""
    free = usage.available_memory()
    return None if free is None or not each else int(free / each)


def smallest(limits: dict[str, int | None]) -> tuple[str, int] | None:
    """The limit that comes first, of those that are told."""
    told = [(value, name) for name, value in limits.items() if value is not None]
    return min(told)[::-1] if told else None
