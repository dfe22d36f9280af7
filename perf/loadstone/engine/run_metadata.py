"""The content of run.json: configuration, versions, host, servers, schedule. Also the wall clock of a run."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import platform
from importlib import metadata

import msgspec

from loadstone.config import secrets
from loadstone.config.schema import Config
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.shared_prefixes import planned_share
from loadstone.host import machine
from loadstone.host.ceiling import load_ceiling
from loadstone.host.client_health import allowed_cores, open_files
from loadstone.host.limits import local_ports
from loadstone.records import FORMAT
from loadstone.summary import Digest, HostInfo, RunInfo, ScheduleInfo, StageInfo
from loadstone.version import __version__

# Libraries whose versions are kept, where they are installed.
_LIBRARIES = ("aiohttp", "httptools", "msgspec", "numpy", "uvloop")


def now() -> str:
    """Return the wall-clock time, ISO 8601 with the offset from UTC."""
    now = datetime.datetime.now(datetime.UTC)
    with contextlib.suppress(OSError, ValueError, OverflowError):  # a TZ that means nothing
        now = now.astimezone()
    return now.isoformat(timespec="milliseconds")


def describe_run(prepared: PreparedRun, digest: Digest) -> RunInfo:
    """Return the content of run.json when the run begins; its end is added when it ends."""
    plan = prepared.plan
    stages = []
    start = 0.0
    for index, stage in enumerate(plan.load.stages):
        stages.append(StageInfo(index=index, name=stage.name, start=start, end=start + stage.seconds))
        start += stage.seconds
    versions = {"loadstone": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)

    return RunInfo(
        format=FORMAT,
        began=now(),
        config=msgspec.convert(secrets.redacted_settings(prepared.config), Config),
        model=prepared.models[0],
        models=prepared.models,
        expected=plan.expected,
        schedule=ScheduleInfo(
            loop="closed" if plan.offsets is None else "open",
            requests=plan.requests,
            prompts=len(plan.turns),
            repeats=plan.repeats,
            seed=plan.load.seed,
            shared=planned_share(prepared.requests, plan),
        ),
        stages=stages,
        server=prepared.servers[0],
        servers=prepared.servers,
        clock=machine.arrival_clock(prepared.config),
        ceiling=load_ceiling(prepared.config),
        host=HostInfo(
            system=platform.platform(),
            machine=platform.machine(),
            cores=os.cpu_count(),
            allowed_cores=allowed_cores(),
            open_files=open_files(),
            local_ports=local_ports(),
            event_loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
        ),
        versions=versions,
        digest=digest,
    )
