"""What a run says of itself in run.json: configuration, versions, host, server, schedule. Also the run's clock."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

import msgspec

from loadstone.config.stages import Stage
from loadstone.engine.prepare import PreparedRun
from loadstone.host import machine
from loadstone.host.client_health import allowed_cores, open_files
from loadstone.host.limits import local_ports
from loadstone.records import FORMAT
from loadstone.schedule.plan import Plan
from loadstone.version import __version__

_LIBRARIES = ("aiohttp", "httptools", "msgspec", "numpy", "uvloop")


def now() -> str:
    """Wall-clock time, ISO 8601 with the offset from UTC."""
    return datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")


def describe_run(made: PreparedRun) -> dict[str, Any]:
    """The content of run.json when the run begins; its end is added when it ends."""
    return {
        "format": FORMAT,
        "began": now(),
        "config": made.config.redacted(),
        "model": made.models[0],
        "models": made.models,
        "expected": made.plan.expected,
        "schedule": _schedule(made.plan),
        "stages": list(_stages(made.plan.load.stages)),
        "server": msgspec.to_builtins(made.servers[0]),
        "servers": msgspec.to_builtins(made.servers),
        "clock": machine.arrival_clock(made.config),
        "ceiling": machine.load_ceiling(made.config),
        "host": _host(),
        "versions": {"loadstone": __version__, "python": platform.python_version(), **_versions()},
    }


def _schedule(plan: Plan) -> dict[str, Any]:
    return {
        "file": "schedule.jsonl",
        "loop": "closed" if plan.offsets is None else "open",
        "requests": plan.requests,
        "prompts": len(plan.turns),
        "repeats": plan.repeats,
        "seed": plan.load.seed,
    }


def _stages(stages: Sequence[Stage]) -> Iterator[dict[str, Any]]:
    begin = 0.0
    for index, stage in enumerate(stages):
        yield {"index": index, "name": stage.name, "start": begin, "end": begin + stage.seconds}
        begin += stage.seconds


def _host() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "allowed_cores": allowed_cores(),
        "open_files": open_files(),
        "local_ports": local_ports(),
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
