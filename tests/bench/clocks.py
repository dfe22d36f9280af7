"""The user clock against the kernel's, in one run: CPU per event, and what is shown against what the server did.

The server runs on core 0, the client on core 1, alone and then beside a busy loop. The clocks take turns, and the
median turn counts. Asserts nothing: it is the measurement behind `--clock auto` (docs/clocks.md). About four minutes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from machine import pinned
from truth import server

TURNS = 3
CLOCKS = ("user", "kernel")
# Shown minus true, and how long after the server sent them output events are said to have arrived.
ERRORS = ("ttft mean", "ttft p99", "gap mean", "gap p99", "late mean", "late p99")
Figures = dict[str, float]


class Load(NamedTuple):
    """`gap` in ms; `tokens` a request; each stream carries four requests."""

    streams: int
    gap: float
    tokens: int


LOADS = {"20,000 events/s": Load(256, 12.8, 128), "40,000 events/s": Load(450, 11.25, 128)}


@contextmanager
def busy() -> Iterator[None]:
    """Somebody else on the client's core."""
    with subprocess.Popen(pinned(1, [sys.executable, "-c", "while True: pass"])) as process:
        try:
            yield
        finally:
            process.terminate()


def run(url: str, clock: str, load: Load) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and records."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "loadstone", "run", "--url", url, "-c", str(load.streams), "--clock", clock]
        command += ["-n", str(4 * load.streams), "--output-len", str(load.tokens), "--request-id", "bench-"]
        command += ["-o", f"{folder}/run", "--quiet"]
        subprocess.run(pinned(1, [*command]), capture_output=True, check=True)
        summary = json.loads(Path(folder, "run/summary.json").read_bytes())
        return summary, [json.loads(line) for line in Path(folder, "run/records.jsonl").open()]


def truth(url: str) -> dict[str, dict[str, Any]]:
    """The server's record by request id, which is emptied."""
    with urllib.request.urlopen(url + "/truth") as answer:
        rows = {row["request_id"]: row for row in map(json.loads, answer)}
    urllib.request.urlopen(urllib.request.Request(url + "/truth", method="DELETE")).close()
    return rows


def turn(url: str, clock: str, load: Load) -> Figures:
    """Errors in seconds, CPU seconds per event, events/s while steady, and the share of events that shared a read."""
    summary, records = run(url, clock, load)
    rows = truth(url)
    assert {record["clock"] for record in records} == {clock}
    sent = [np.array(rows[record["request_id"]]["sent"]) for record in records]
    received = np.array([rows[record["request_id"]]["received"] for record in records])
    arrived = [record["first"] + np.cumsum(record["pieces"]["times"]) for record in records]
    origin = min(received - [record["sent"] for record in records])
    late = np.concatenate([at - origin_sent for at, origin_sent in zip(arrived, sent, strict=True)]) + origin
    metrics = summary["metrics"]
    shown = [metrics["ttft"]["mean"], metrics["ttft"]["p99"], metrics["gap"]["mean"], metrics["gap"]["p99"]]
    true = [
        *_mean_p99(np.array([at[0] for at in sent]) - received),
        *_mean_p99(np.concatenate(list(map(np.diff, sent)))),
    ]
    errors = [*np.subtract(shown, true), *_mean_p99(late)]
    return {
        **dict(zip(ERRORS, map(float, errors), strict=True)),
        "cpu": summary["client"]["cpu_seconds"] / len(late),
        "share": summary["client"]["cpu_share"],
        "rate": summary["steady"]["rates"]["output_throughput"],
        "shared": summary["checks"]["shared_reads"],
    }


def _mean_p99(ns: Any) -> tuple[float, float]:
    return float(np.mean(ns)) / 1e9, float(np.percentile(ns, 99)) / 1e9


def compare(load: Load, company: Callable[[], Any]) -> None:
    """A table: a row per clock, the median of its turns, and the ratio of the two's CPU."""
    turns: list[dict[str, Figures]] = []
    with server("0.1s", f"{load.gap}ms") as url, company():
        for number in range(TURNS):
            turns.append({clock: turn(url, clock, load) for clock in CLOCKS[:: -1 if number % 2 else 1]})
    print(f"{'clock':<8}" + "".join(f"{error:>11}" for error in ERRORS), end="")
    print(f"{'CPU':>9}{'share':>7}{'rate':>9}{'shared':>9}")
    for clock in CLOCKS:
        median = {name: statistics.median(at[clock][name] for at in turns) for name in turns[0][clock]}
        errors = "".join(f"{median[name] * 1e3:>+11.3f}" for name in ERRORS)
        print(f"{clock:<8}{errors}{median['cpu'] * 1e6:>9.2f}{median['share']:>7.0%}{median['rate']:>9,.0f}", end="")
        print(f"{median['shared']:>9.2%}")
    ratios = sorted(at["kernel"]["cpu"] / at["user"]["cpu"] for at in turns)
    print(f"CPU per event, kernel : user  {statistics.median(ratios):.2f}  ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def main() -> int:
    for rate, load in LOADS.items():
        for name, company in (("alone", nullcontext), ("beside a busy loop", busy)):
            print(f"\n{load.streams} streams, {rate}, {name} (errors in ms, CPU per event in us)", flush=True)
            compare(load, company)
    return 0


if __name__ == "__main__":
    sys.exit(main())
