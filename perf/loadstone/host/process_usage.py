"""What another process has used so far: CPU time, time spent waiting for a core, memory. None: not told here.

Linux tells it exactly in /proc; elsewhere `ps` is asked, which rounds.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from msgspec import Struct

from loadstone.units import NS_PER_S

_TIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")


def measure(pid: int) -> Usage:
    """Of all threads; the wait is that of the first one, which runs the event loop."""
    try:
        first, *others = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name) != pid)
        run, waited = _schedstat(first)
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return Usage(_by_ps(pid)) if not os.path.isdir("/proc/self") else Usage()
    return Usage(run + sum(_ran(task) for task in others), waited, pages * os.sysconf("SC_PAGE_SIZE"))


def _schedstat(task: Path) -> tuple[float, float]:
    run, waited, _ = (task / "schedstat").read_bytes().split()
    return int(run) / NS_PER_S, int(waited) / NS_PER_S


def _ran(task: Path) -> float:
    try:
        return _schedstat(task)[0]
    except (OSError, ValueError):  # a thread that has just ended
        return 0.0


def _by_ps(pid: int) -> float | None:
    try:
        told = subprocess.run(["ps", "-o", "cputime=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return parse_cputime(told.stdout)


def parse_cputime(text: str) -> float | None:
    """`[[days-]hours:]minutes:seconds`, as ps prints it."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, rest = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def available_memory() -> int | None:
    """Bytes of memory that are free for programs."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


class Usage(Struct, frozen=True):
    """Seconds of CPU, and of waiting for a core, since a process began; bytes in memory. None: not told."""

    cpu: float | None = None
    core_wait: float | None = None
    memory: int | None = None
