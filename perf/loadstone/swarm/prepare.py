"""Prepare a run of a swarm, in a process without gevent: `python -m loadstone.swarm.prepare`, with a request on stdin.

It reads the dataset, asks the server, plans, creates the run folder, and writes a WorkerSpec for each worker process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path
from typing import Any

import msgspec

from loadstone import loadtest
from loadstone.config import secrets
from loadstone.engine import prepare as engine_prepare
from loadstone.engine import run_folder, run_metadata, worker_pool
from loadstone.engine.prepare import PreparedRun
from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.report import output
from loadstone.schedule.partition import split_plan
from loadstone.server_metrics import discovery
from loadstone.swarm.process_messages import PreparedPlan, PrepareRequest
from loadstone.units import NS_PER_S

# Seconds that a run is planned for if only Locust ends it: longer than any run.
ENDLESS = 30 * 86_400.0


def main() -> None:
    """Read a PrepareRequest from stdin, prepare the run and write the PreparedPlan to stdout."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=PrepareRequest)
    try:
        plan = event_loop.run(prepare(request))
    except UsageError as exc:
        plan = PreparedPlan(refusal=str(exc))
    sys.stdout.buffer.write(msgspec.json.encode(plan))


async def prepare(request: PrepareRequest) -> PreparedPlan:
    """Create the run folder and the specs. Raises UsageError, before anything is written, if the run is impossible."""
    config = request.config.check()
    endless = request.user_driven and config.requests is None and config.duration is None
    if request.user_driven:
        changes: dict[str, Any] = {"concurrency": request.processes} | ({"duration": ENDLESS} if endless else {})
        config = dataclasses.replace(config, **changes)
    path = Path(config.output) if config.output else run_folder.default_path(config.label)
    run_folder.check_free(path)
    async with engine_prepare.open_run(config, output.notice) as run:
        pages = await discovery.find_pages(run.config, run.api, output.notice)
        folder = run_folder.RunFolder(path)
        digest = loadtest.write_plan(run, folder, secrets.find_secrets(run.config))
        head = run_metadata.describe_run(run, digest)
        settings = dataclasses.replace(head.config, duration=None) if endless else head.config
        # The ceiling would be the master's, which sends nothing.
        head = msgspec.structs.replace(head, config=settings, ceiling=None)
        folder.write_json(run_folder.RUN, head)
        partitions = await asyncio.to_thread(_write_specs, run, request)
    closed = run.plan.offsets is None
    return PreparedPlan(
        folder=str(path.absolute()),
        partitions=partitions,
        open=not closed,
        endless=endless,
        levels=[(at / NS_PER_S, level) for at, level in run.plan.levels] if closed else [],
        grace=run.config.grace,
        scrape=discovery.scrape_spec(config, pages, path) if pages else None,
    )


def _write_specs(run: PreparedRun, request: PrepareRequest) -> int:
    """Write the spec of each process. Return their number; runs in a thread, for it is slow with large datasets."""
    ids = loadtest.request_id_prefix(run.config)
    partitions = split_plan(run.plan, request.processes)
    for one in partitions:
        spec = worker_pool.worker_spec(run, one, Path("."), ids, request.user_driven)
        (Path(request.spec_folder) / str(one.worker)).write_bytes(msgspec.msgpack.encode(spec))
    return len(partitions)


if __name__ == "__main__":
    main()
