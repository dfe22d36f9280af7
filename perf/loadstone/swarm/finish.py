"""Finish a run of a swarm, in a process without gevent: `python -m loadstone.swarm.finish`, with a request on stdin.

Requests that were lost are recorded as `stopped`, the shards are merged into one file, and the results are computed
from that file alone, as after `loadstone run`.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import msgspec
from msgspec.structs import replace

from loadstone import results
from loadstone.engine import lost_requests, run_folder
from loadstone.engine.worker_messages import WorkerSpec, unpack_plan
from loadstone.errors import UsageError
from loadstone.loadtest import Result
from loadstone.report import show
from loadstone.report.output import notice
from loadstone.swarm.process_messages import FinishRequest

# Shards of lost requests are numbered from here, after all shards of processes.
FIRST_LOST_SHARD = 1_000_000


def main() -> None:
    """Read a FinishRequest from stdin, finish the run and exit with its status."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=FinishRequest)
    try:
        sys.exit(finish(request))
    except UsageError as exc:
        notice(str(exc))
        sys.exit(2)


def finish(request: FinishRequest) -> int:
    """Complete the records, compute and print the results. Return the exit status, as of `loadstone run`."""
    folder = run_folder.RunFolder(Path(request.folder), new=False)
    for lost in request.lost_processes:
        # A record for each request that the process was to send and for which no record has arrived.
        spec = msgspec.msgpack.decode((Path(request.spec_folder) / str(lost.process)).read_bytes(), type=WorkerSpec)
        plan, partition, shard = unpack_plan(spec.plan), spec.partition, folder.shard(lost.process)
        written = lost_requests.WrittenRecords(run_folder.load_records(shard) if shard.exists() else ())
        slots = lost_requests.open_slots(plan, partition, lost.at, 0) if lost.slots is None else lost.slots
        missing = lost_requests.missing_records(plan, partition, written, lost.at, slots, lost.cause)
        folder.append(folder.shard(FIRST_LOST_SHARD + lost.process), missing)
    folder.merge()

    run = run_folder.load_run(folder.path)
    if request.users is not None:
        run = replace(run, config=dataclasses.replace(run.config, concurrency=request.users or None))
    folder.write_json(run_folder.RUN, replace(run, idle=request.idle, **msgspec.structs.asdict(request.ending)))

    summary = results.write_results(folder, request.config.tokenizer, request.config.html)
    show.show(summary, show.view_of(request.view), page=lambda: results.saved_page(folder.path))
    notice(f"results are in {folder.path}")
    for sentence in request.ending.lost:
        notice(sentence)
    return Result(summary, folder.path).exit_status(request.config, notice)


if __name__ == "__main__":
    main()
