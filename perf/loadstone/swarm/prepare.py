"""Prepares a run for a swarm, in a process without gevent: `python -m loadstone.swarm.prepare`, told on stdin.

Reads the dataset, asks the server, plans, makes the run folder, and writes a commission for each engine process.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from loadstone.engine import (run_metadata as describe, prepare as setup, run_folder as store, worker_pool as workers)
from loadstone.config import secrets as keys
from loadstone.host import event_loop as loop
from loadstone.report import output as outputs
from loadstone.server_metrics import discovery as scraping
from loadstone import load_test as session
from loadstone.server_metrics.process import Quest
from loadstone.records import UsageError
from loadstone.engine.prepare import Setup
from loadstone.schedule.partition import deal
from loadstone.swarm.process_messages import Made, Order

ENDLESS = 30 * 86_400.0
"""Seconds that a run lasts which only Locust ends: longer than any."""


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    try:
        made = loop.run(prepare(order))
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
    path = Path(config.output) if config.output else store.default_path(config.label)
    store.check_free(path)
    async with setup.ready(config, outputs.notice) as made:
        places = await scraping.find(made.config, scraping.paths(made.api), outputs.notice)
        folder = store.Folder(path)
        head = describe.run(made) | {"digest": session.write_plan(made, folder, keys.secrets(made.config))}
        head["ceiling"] = None  # it would be the master's, which sends nothing
        if endless:
            head["config"]["duration"] = None
        folder.write_json(store.RUN, head)
        shares = await asyncio.to_thread(_commissions, made, order)
    quest = scraping.quest(config, places, path) if places else None
    return _made(made, path, shares, endless, quest)


def _commissions(made: Setup, order: Order) -> int:
    ids, shares = session.request_ids(made.config), deal(made.plan, order.processes)
    for share in shares:
        wanted = workers.commission(made, share, Path("."), ids, order.led)
        (Path(order.parcels) / str(share.worker)).write_bytes(msgspec.msgpack.encode(wanted))
    return len(shares)


def _made(made: Setup, path: Path, shares: int, endless: bool, quest: Quest | None) -> Made:
    plan = made.plan
    levels = [] if plan.offsets is not None else [(at / 1e9, level) for at, level in plan.levels]
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
