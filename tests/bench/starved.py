"""A client that is starved on purpose, and one that is not: what the check says of each run, beside the truth.

By hand, on Linux with two cores or more: the server on core 0, the client on core 1 unless it is to suffer. Every run
is also held against the server's own record, so the table shows what each disturbance did to the numbers. `--quiet 10`:
ten runs that are left alone; `--sweep`: the measured points behind the limits of docs/doubts.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from loadstone import loadtest, results
from loadstone.checks import rules
from loadstone.config.schema import Config
from loadstone.host import event_loop

SERVER, CLIENT = 0, 1
FIGURES = [(name, point) for name in ("ttft", "gap") for point in ("mean", "p50", "p99", "p999")]


class Scenario(Struct, frozen=True):
    """Seconds of `block` in the event loop every `every` s, from `every` on; `stress`: share of the client's core that
    somebody else wants; `core`: the client's; `times`: blocks at most."""

    name: str
    streams: int = 64
    block: float = 0.0
    every: float = 0.2
    times: int = 1_000_000
    stress: int = 0
    core: int = CLIENT
    files: int | None = None
    suffers: bool = True


SCENARIOS = [
    Scenario("left alone", suffers=False),
    Scenario("on the server's core", 128, core=SERVER),
    Scenario("stress-ng on its core", stress=100),
    Scenario("50 ms block 5 times a second", block=0.05),
    Scenario("50 ms block once a second", block=0.05, every=1.0),
    Scenario("one 50 ms block", block=0.05, every=3.0, times=1),
    Scenario("1,100 streams, ulimit -n 1024", streams=1100, files=1024),
]
SWEEP = [
    *(Scenario(f"{streams} streams", streams) for streams in (16, 64, 128, 256, 384, 512, 640)),
    *(Scenario(f"stress {load} %", stress=load) for load in (10, 25, 50, 75, 100)),
    *(Scenario(f"block {ms} ms / 200 ms", block=ms / 1e3) for ms in (1, 2, 5, 10, 20, 50)),
    *(Scenario(f"block {ms} ms / 1 s", block=ms / 1e3, every=1.0) for ms in (5, 10, 20, 50)),
    *(Scenario(f"shared core, {streams}", streams, core=SERVER) for streams in (16, 64, 128, 256)),
]


def main() -> int:
    options = _options()
    if options.client:
        return _client(options)
    scenarios = SWEEP if options.sweep else [SCENARIOS[0]] * options.quiet if options.quiet else SCENARIOS
    scenarios = [scenario for scenario in scenarios if options.only in scenario.name]
    wrong = 0
    _head()
    for scenario in scenarios:
        verdict = _run(scenario, options)
        wrong += not options.sweep and (verdict != "valid") != scenario.suffers
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quiet", type=int, default=0, metavar="N", help="N runs that nobody disturbs")
    parser.add_argument("--sweep", action="store_true", help="many disturbances, for the limits")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios that have it in their name")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    parser.add_argument("--ttft", default="100ms")
    parser.add_argument("--itl", default="10ms")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--given", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(scenario: Scenario, options: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as folder, _server(options) as url, _stress(scenario):
        given = {"url": url, "seconds": options.seconds, "output": f"{folder}/run", **_plain(scenario)}
        command = [sys.executable, __file__, "--client", url, "--given", json.dumps(given)]
        command = ["taskset", "-c", str(scenario.core), *command]
        if scenario.files is not None:
            command = ["sh", "-c", f'ulimit -n {scenario.files}; exec "$@"', "sh", *command]
        subprocess.run(command, check=True, timeout=options.seconds + 120)
        return _show(scenario, Path(folder) / "run", _truth(url))


def _plain(scenario: Scenario) -> dict[str, Any]:
    return {name: getattr(scenario, name) for name in scenario.__struct_fields__}


def _client(options: argparse.Namespace) -> int:
    """The run itself, in a process of its own."""
    given = json.loads(options.given)
    config = Config(
        url=given["url"],
        concurrency=given["streams"],
        duration=given["seconds"],
        output_len=100,
        output=given["output"],
    )

    async def work() -> None:
        blocks = asyncio.ensure_future(_blocks(given)) if given["block"] else None
        await loadtest.load_test(config)
        if blocks is not None:
            blocks.cancel()

    event_loop.run(work())
    return 0


async def _blocks(given: dict[str, Any]) -> None:
    for _ in range(given["times"]):
        await asyncio.sleep(given["every"])
        time.sleep(given["block"])


@contextlib.contextmanager
def _server(options: argparse.Namespace) -> Iterator[str]:
    command = [sys.executable, "-m", "loadstone", "serve", "--port", "0", "--ttft", options.ttft, "--itl", options.itl]
    with subprocess.Popen(["taskset", "-c", str(SERVER), *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextlib.contextmanager
def _stress(scenario: Scenario) -> Iterator[None]:
    if not scenario.stress:
        yield
        return
    if not shutil.which("stress-ng"):
        sys.exit("install stress-ng first")
    command = ["taskset", "-c", str(scenario.core), "stress-ng", "--cpu", "1", "--cpu-load", str(scenario.stress)]
    with subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL) as process:
        time.sleep(0.5)
        try:
            yield
        finally:
            process.terminate()


def _truth(url: str) -> dict[tuple[str, str], float]:
    """From the receipt of a request to the sending of its tokens, by the server's own record."""
    with urllib.request.urlopen(url + "/truth") as answer:
        rows = [json.loads(line) for line in answer]
    rows = [row for row in rows if len(row["sent"]) == 100]
    ttft = np.array([row["sent"][0] - row["received"] for row in rows]) / 1e9
    gaps = np.concatenate([np.diff(row["sent"]) for row in rows]) / 1e9
    return {
        (name, point): float(values.mean() if point == "mean" else np.percentile(values, SHARES[point]))
        for name, values in (("ttft", ttft), ("gap", gaps))
        for point in ("mean", "p50", "p99", "p999")
    }


SHARES = {"p50": 50, "p99": 99, "p999": 99.9}
CLIENT_FIGURES = {
    "loop_lag_mean": 1e3,
    "loop_lag_p50": 1e3,
    "loop_lag_p99": 1e3,
    "loop_lag_p999": 1e3,
    "loop_lag_max": 1e3,
    "send_lag_p99": 1e3,
    "core_wait_mean": 1e3,
    "cpu_share": 1e2,
    "run_queue_share": 1e2,
}


def _head() -> None:
    names = ["lag mean", "p50", "p99", "p99.9", "max", "send p99", "core wait", "CPU %", "queue %"]
    names += [f"{'' if point != 'mean' else name + ' '}{point}" for name, point in FIGURES]
    print(f"{'scenario':<32}" + "".join(f"{name:>10}" for name in names) + "  (errors: shown - true, ms)")


def _show(scenario: Scenario, folder: Path, true: dict[tuple[str, str], float]) -> str:
    summary = results.read_summary(folder)
    cells = [(summary.client.get(name) or 0.0) * scale for name, scale in CLIENT_FIGURES.items()]
    for name, point in FIGURES:
        shown = getattr(summary.metrics[name], point)
        cells.append(float("nan") if shown is None else (shown - true[name, point]) * 1e3)
    print(f"{scenario.name:<32}" + "".join(f"{cell:>10.3f}" for cell in cells), flush=True)
    verdict = rules.judge(summary)
    reasons = "; ".join(f"{doubt.what} {doubt.measured} (limit {doubt.limit})" for doubt in verdict.doubts)
    print(f"    {verdict.status}: {reasons}", flush=True)
    return verdict.status


if __name__ == "__main__":
    sys.exit(main())
