"""Brings a run in a swarm to its end, in a process without gevent: `python -m loadstone.swarm.closing`, told on stdin.

What was not delivered is written down as `stopped`, the shards become one file, and the results are computed from it
alone, as after `loadstone run`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from loadstone import results
from loadstone.engine import lost_requests, run_folder
from loadstone.engine.worker_messages import WorkerSpec, unpack_plan
from loadstone.errors import UsageError
from loadstone.loadtest import Result
from loadstone.records import Record
from loadstone.report import show
from loadstone.report.output import notice
from loadstone.swarm.process_messages import Closing, Gone


def main() -> None:
    closing = msgspec.json.decode(sys.stdin.buffer.read(), type=Closing)
    try:
        sys.exit(close(closing))
    except UsageError as exc:
        notice(str(exc))
        sys.exit(2)


def close(closing: Closing) -> int:
    """The exit status, as of `loadstone run`."""
    folder = run_folder.RunFolder(Path(closing.folder), new=False)
    for gone in closing.gone:
        folder.append(folder.shard(NUMBER + gone.engine), owed(folder, Path(closing.parcels), gone))
    folder.merge()
    folder.write_json(run_folder.RUN, _told(run_folder.load_run(folder.path), closing))
    summary = results.write_results(folder, closing.config.tokenizer, closing.config.html)
    show.show(summary, show.view_of(closing.view), page=lambda: results.saved_page(folder.path))
    notice(f"results are in {folder.path}")
    for sentence in closing.tail["lost"]:
        notice(sentence)
    return Result(summary, folder.path).exit_status(closing.config, notice)


# Shards of what was not delivered are numbered from here, behind all others.
NUMBER = 1_000_000


def _told(head: dict[str, Any], closing: Closing) -> dict[str, Any]:
    if closing.users is not None:
        head["config"]["concurrency"] = closing.users or None
    return head | closing.tail


def owed(folder: run_folder.RunFolder, parcels: Path, gone: Gone) -> Iterator[Record]:
    """What a process was to send and did not deliver."""
    wanted = msgspec.msgpack.decode((parcels / str(gone.engine)).read_bytes(), type=WorkerSpec)
    plan, share, shard = unpack_plan(wanted.plan), wanted.partition, folder.shard(gone.engine)
    written = lost_requests.WrittenRecords(run_folder.load_records(shard) if shard.exists() else ())
    slots = lost_requests.open_slots(plan, share, gone.at, 0) if gone.slots is None else gone.slots
    return lost_requests.missing_records(plan, share, written, gone.at, slots, gone.why)


if __name__ == "__main__":
    main()
