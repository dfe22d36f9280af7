"""This machine: which core a process runs on, what it is called in the report, how much memory a process holds."""

from __future__ import annotations

import platform
import shutil
from importlib import metadata
from pathlib import Path

LIBRARIES = ("uvloop", "httptools", "msgspec", "aiohttp")


def pinned(core: int, command: list[str]) -> list[str]:
    """`command` on that core, where the system can do so (Linux)."""
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") else command


def description() -> str:
    """Processor, system, versions: what a figure is worth nothing without."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return f"{_processor()}, {platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} cores of {models[0]}" if models else platform.machine()


def resident(pid: int) -> int:
    """Bytes of memory in use by a process; 0 where the system does not tell or the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)
