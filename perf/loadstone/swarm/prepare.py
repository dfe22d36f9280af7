"""Prepares a run for a swarm, in a process without gevent: `python -m loadstone.swarm.prepare`, told on stdin.

Reads the dataset, asks the server, plans, makes the run folder, and writes a commission for each engine process.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from loadstone import loadtest
from loadstone.config import secrets
from loadstone.engine import prepare as setup
from loadstone.engine import run_folder, run_metadata, worker_pool
from loadstone.engine.prepare import PreparedRun
from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.report import output
from loadstone.schedule.partition import split_plan
from loadstone.server_metrics import discovery
from loadstone.server_metrics.process import ScrapeSpec
from loadstone.swarm.process_messages import Made, Order
from loadstone.units import NS_PER_S

# Seconds that a run lasts which only Locust ends: longer than any.
ENDLESS = 30 * 86_400.0


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        made = event_loop.run(prepare(order))
    except UsageError as exc:
        made = Made(refused=str(exc))
    sys.stdout.buffer.write(msgspec.json.encode(made))


async def prepare(order: Order) -> Made:
    """Raises UsageError for whatever is not fit; nothing is written then."""
    config = order.config.check()
    endless = order.led and config.requests is None and config.duration is None
    if order.led:
        changes = {"concurrency": order.processes} | ({"duration": ENDLESS} if endless else {})
        config = msgspec.structs.replace(config, **changes)
    path = Path(config.output) if config.output else run_folder.default_path(config.label)
    run_folder.check_free(path)
    async with setup.open_run(config, output.notice) as made:
        places = await discovery.find_pages(made.config, discovery.api_paths(made.api), output.notice)
        folder = run_folder.RunFolder(path)
        head = run_metadata.describe_run(made) | {
            "digest": loadtest.write_plan(made, folder, secrets.find_secrets(made.config))
        }
        head["ceiling"] = None  # it would be the master's, which sends nothing
        if endless:
            head["config"]["duration"] = None
        folder.write_json(run_folder.RUN, head)
        shares = await asyncio.to_thread(_commissions, made, order)
    quest = discovery.scrape_spec(config, places, path) if places else None
    return _made(made, path, shares, endless, quest)


def _commissions(made: PreparedRun, order: Order) -> int:
    ids, shares = loadtest.request_id_prefix(made.config), split_plan(made.plan, order.processes)
    for share in shares:
        wanted = worker_pool.worker_spec(made, share, Path("."), ids, order.led)
        (Path(order.parcels) / str(share.worker)).write_bytes(msgspec.msgpack.encode(wanted))
    return len(shares)


def _made(made: PreparedRun, path: Path, shares: int, endless: bool, quest: ScrapeSpec | None) -> Made:
    plan = made.plan
    levels = [] if plan.offsets is not None else [(at / NS_PER_S, level) for at, level in plan.levels]
    return Made(
        folder=str(path.absolute()),
        shares=shares,
        open=plan.offsets is not None,
        endless=endless,
        levels=levels,
        grace=made.config.grace,
        quest=quest,
    )


if __name__ == "__main__":
    main()
