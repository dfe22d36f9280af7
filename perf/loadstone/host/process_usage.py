"""Measure what another process has used so far: CPU time, time waiting for a core, memory. None: unknown here.

Linux has exact figures in /proc; elsewhere `ps` has rounded ones.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from msgspec import Struct

from loadstone.units import NS_PER_S

_TIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")


class Usage(Struct, frozen=True):
    """Usage of a process since it started. None: unknown.

    cpu: seconds of all threads.
    core_wait: seconds in which its first thread was ready but had no core.
    memory: bytes.
    """

    cpu: float | None = None
    core_wait: float | None = None
    memory: int | None = None


def measure(pid: int) -> Usage:
    """Measure a process: the CPU time of all threads, the wait of the first one, which runs the event loop."""
    try:
        first, *others = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name) != pid)
        run, core_wait = _schedstat(first)
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        if os.path.isdir("/proc/self"):
            return Usage()
        try:
            command = ["ps", "-o", "cputime=", "-p", str(pid)]
            return Usage(parse_cputime(subprocess.run(command, capture_output=True, text=True, check=False).stdout))
        except OSError:
            return Usage()
    for task in others:
        with contextlib.suppress(OSError, ValueError):  # a thread that has just ended
            run += _schedstat(task)[0]
    return Usage(run, core_wait, pages * os.sysconf("SC_PAGE_SIZE"))


def _schedstat(task: Path) -> tuple[float, float]:
    """Return the seconds in which a thread ran, and in which it waited for a core."""
    run, waited, _ = (task / "schedstat").read_bytes().split()
    return int(run) / NS_PER_S, int(waited) / NS_PER_S


def parse_cputime(text: str) -> float | None:
    """Parse `[[days-]hours:]minutes:seconds`, as ps prints it, to seconds."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, rest = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest
