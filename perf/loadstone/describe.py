"""What a run says of itself in run.json: configuration, versions, host, server, schedule. Also the run's clock."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import time
from importlib import metadata
from typing import Any

import msgspec

from loadstone import __version__
from loadstone.config import Config
from loadstone.health import cores
from loadstone.plan import Plan
from loadstone.preflight import Server
from loadstone.records import FORMAT

clock = time.monotonic_ns
_LIBRARIES = ("aiohttp", "httptools", "msgspec", "numpy", "uvloop")


def now() -> str:
    """Wall-clock time, ISO 8601 with the offset from UTC."""
    return datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")


def run(config: Config, plan: Plan, model: str, server: Server, prompts: int) -> dict[str, Any]:
    """The content of run.json when the run begins; `ended` and `client` are added when it ends."""
    return {
        "format": FORMAT,
        "began": now(),
        "config": config.shown(),
        "model": model,
        "expected": plan.expected,
        "schedule": _schedule(plan, prompts),
        "server": msgspec.to_builtins(server),
        "host": _host(),
        "versions": {"loadstone": __version__, "python": platform.python_version(), **_versions()},
    }


def _schedule(plan: Plan, prompts: int) -> dict[str, Any]:
    return {
        "file": "schedule.jsonl",
        "loop": "closed" if plan.offsets is None else "open",
        "requests": plan.total,
        "prompts": prompts,
        "repeats": plan.repeats,
        "seed": plan.load.seed,
    }


def _host() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "allowed_cores": cores(),
        "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
