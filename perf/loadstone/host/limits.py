"""How many streams this machine has room for at once: open files, ports, memory. None: unknown, or no limit."""

from __future__ import annotations

from pathlib import Path

# Open files that are not streams.
SPARE = 200
_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def by_open_files() -> int | None:
    """Return how many streams the hard limit of open files allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else max(1, hard - SPARE)


def local_ports() -> list[int] | None:
    """Return the first and the last port that connections are opened from (Linux)."""
    try:
        return [int(port) for port in _PORTS.read_text().split()]
    except (OSError, ValueError):
        return None


def by_ports(servers: int) -> int | None:
    """Return how many streams have a port of their own: all ports for each of the server addresses."""
    span = local_ports()
    return None if span is None else servers * (span[1] - span[0] + 1)


def by_memory(bytes_each: float | None) -> int | None:
    """Return how many streams fit into the memory that is free now."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return int(free / bytes_each) if bytes_each else None


def smallest(limits: dict[str, int | None]) -> tuple[str, int] | None:
    """Return the smallest of the known limits, as (name, value); None if all are unknown."""
    known = [(name, value) for name, value in limits.items() if value is not None]
    return min(known, key=lambda limit: (limit[1], limit[0]), default=None)
