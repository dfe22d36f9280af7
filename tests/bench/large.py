"""Memory and time at the end of a long run: a synthetic run folder is written, then measured in processes of their own.

    python tests/bench/large.py                        100,000 requests of 100 events each (what `make bench` does)
    python tests/bench/large.py --requests 1000000     the full size: 1.2 GB of records, two minutes or so
    python tests/bench/large.py --folder DIR           where the run is written, until the end (a temporary folder)

Asserts that `loadstone report` and the end of `loadstone run` each take less than 1 GiB of memory, and less than 90 us
a request (90 s for a million). Prints CPU seconds too: on a machine that is not idle they are the figure to go by.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadstone import results
from loadstone.engine import run_folder
from loadstone.records import FORMAT, Failure, FailureCause, Pieces, Record, Usage, to_line

MS = 1_000_000
RATE, STEP, WARMUP = 1000.0, 100 * MS, 1000
BLOCK = 20_000
LIMIT_BYTES, LIMIT_SECONDS = 2**30, 90e-6
KINDS = {
    0: Failure(FailureCause.STATUS, "HTTP 429: too many requests"),
    1: Failure(FailureCause.TIMEOUT, "no output after 2 s"),
}


def finish(given: Path, made: Path) -> None:
    """Do in a new folder what `loadstone run` does once its records are written."""
    folder = run_folder.RunFolder(made)
    for name in (run_folder.RUN, run_folder.RECORDS):
        os.link(given / name, folder.path / name)
    results.write_results(folder)


def write(folder: Path, requests: int, events: int) -> None:
    folder.mkdir(parents=True)
    config = {"rate": RATE, "requests": requests, "goodput": {"ttft": 0.3, "tpot": 0.03}}
    run = {"format": FORMAT, "began": "2025-01-01T12:00:00.000+00:00", "config": config, "ended": "done", "client": {}}
    (folder / "run.json").write_text(json.dumps(run | {"expected": requests - WARMUP}))
    with (folder / "records.jsonl").open("wb") as file:
        for records in _blocks(np.random.default_rng(7), requests, events):
            file.write(b"".join(map(to_line, records)))


def _blocks(rng: np.random.Generator, requests: int, events: int) -> Iterator[list[Record]]:
    """Poisson arrivals in blocks, each in the order in which its requests end."""
    scheduled = np.cumsum(rng.exponential(1e9 / RATE, requests)).astype(np.int64)
    speed = _speed(rng, int(scheduled[-1] / STEP) + 10_000)
    for begin in range(0, requests, BLOCK):
        records = list(_block(rng, begin, scheduled[begin : begin + BLOCK], speed, events))
        yield sorted(records, key=lambda record: record.end)


def _speed(rng: np.random.Generator, steps: int) -> NDArray[np.float64]:
    """How long a step of the server takes at each time: a walk around 20 ms, which all requests share."""
    walk, level = np.empty(steps), 0.0
    for place, noise in enumerate(rng.normal(size=steps)):
        level = 0.98 * level + 0.05 * noise
        walk[place] = level
    return 20 * MS * np.exp(walk)


def _block(
    rng: np.random.Generator, begin: int, scheduled: NDArray[np.int64], speed: NDArray[np.float64], events: int
) -> Iterator[Record]:
    count = len(scheduled)
    sent = scheduled + rng.integers(20_000, 200_000, count)
    first = sent + rng.lognormal(np.log(120 * MS), 0.5, count).astype(np.int64)
    gaps = speed[first // STEP][:, None] * rng.lognormal(0, 0.2, (count, events))
    gaps[rng.random(gaps.shape) < 0.02] = 0
    gaps[:, 0] = 0
    last = first + gaps.astype(np.int64).sum(axis=1)
    columns = sent, first, last, rng.lognormal(5, 1, count).astype(np.int64) + 8, rng.integers(0, 300, count)
    rows = zip(scheduled.tolist(), *(column.tolist() for column in columns), strict=True)
    chars = rng.integers(1, 9, (count, events)).tolist()
    for at, (row, times) in enumerate(zip(rows, gaps.astype(np.int64).tolist(), strict=True)):
        yield _record(begin + at, row, times, chars[at])


def _record(index: int, row: tuple[int, ...], times: list[int], chars: list[int]) -> Record:
    """`chance`, from 0 to 299, makes one in 150 fail, and one in three end by a stop token."""
    scheduled, sent, first, last, prompt, chance = row
    given: dict[str, Any] = {
        "index": index,
        "phase": "warmup" if index < WARMUP else "measure",
        "prompt": f"chat-{index % 267 + 1:04}",
        "scheduled": scheduled,
        "sent": sent,
        "connect": 0,
        "first_byte": sent + 2 * MS,
    }
    if chance in KINDS:
        return Record(**given, streamed=False, end=first, status=429 if chance == 0 else 200, error=KINDS[chance])
    stops = chance % 3 == 0
    return Record(
        **given,
        first=first,
        first_answer=first,
        last=last,
        end=last + 90_000,
        pieces=Pieces(times, chars),
        reads=2 + len(times) - times.count(0),
        status=200,
        finish="stop" if stops else "length",
        asked=len(times) + 1,
        usage=Usage(prompt, len(times) + stops, 0),
    )


def measured(what: str, requests: int, *command: str) -> list[tuple[str, bool]]:
    """Run it to its end; memory as the kernel counted it."""
    began = time.monotonic()
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds, memory = time.monotonic() - began, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cpu = used.ru_utime + used.ru_stime
    print(f"{what:<22}{seconds:>10.1f} s{cpu:>10.1f} s CPU{memory / 2**20:>10.0f} MiB", flush=True)
    return [
        (f"{what}: done", process.returncode == 0),
        (f"{what}: less than 1 GiB", memory < LIMIT_BYTES),
        (f"{what}: less than 90 us a request", seconds < LIMIT_SECONDS * requests),
    ]


def main() -> int:
    options = _options()
    if options.finish:
        finish(*options.finish)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as home:
        run, began = Path(home) / "run", time.monotonic()
        write(run, options.requests, options.events)
        size = (run / "records.jsonl").stat().st_size
        took = time.monotonic() - began
        print(f"{options.requests:,} requests of {options.events} events, {size / 1e9:.2f} GB, written in {took:.0f} s")
        checks = measured("loadstone report", options.requests, "-m", "loadstone", "report", str(run))
        again = (__file__, "--finish", str(run), f"{home}/made")
        checks += measured("end of loadstone run", options.requests, *again)
    for text, held in checks:
        print(f"{'ok  ' if held else 'MISS'} {text}")
    return 0 if all(held for _, held in checks) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000, metavar="N")
    parser.add_argument("--events", type=int, default=100, metavar="N", help="of each request (100)")
    parser.add_argument("--folder", metavar="DIR", help="where the run is written (a temporary folder)")
    parser.add_argument("--finish", nargs=2, type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
