"""An evaluation of GSM8K's 1,319 questions against a server whose answers are known, item by item.

By hand: `python tests/bench/planted.py [FOLDER WITH DATA]`; a few minutes. Exit status 1 where a figure is not exact:
923 right answers; failures, truncated and unparsable ones beside them; an evaluation that was killed and went on; and
the load of `eval -c 64` against that of `run -c 64`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from loadstone import results
from loadstone.engine import run_folder
from loadstone.stats.distributions import wilson

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
DATA = Path(__file__).resolve().parents[3] / "shared/data"
ITEMS, RIGHT = 1319, 923
OURS = [sys.executable, "-m", "loadstone"]
SLOTS = 64
# Requests in flight by which the two loads may differ on average.
MAY_DIFFER = 2.0
failed: list[str] = []


def main() -> int:
    data = Path(sys.argv[1]) if sys.argv[1:] else DATA
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        for step in (right, shares, resumed, load):
            began = time.monotonic()
            step(data, Path(folder))
            print(f"  {step.__name__}: {time.monotonic() - began:.0f} s\n", flush=True)
    print("FAILED: " + "; ".join(failed) if failed else "all figures are exact")
    return 1 if failed else 0


def right(data: Path, root: Path) -> None:
    """923 of 1,319, and Wilson's interval."""
    with serving(data, "--answer-wrong", ITEMS - RIGHT) as url:
        out = evaluate(data, url, root / "right")
    figure = headline(out)
    low, high = by_hand(RIGHT, ITEMS)
    print(f"right: {figure['outcomes']}, {figure['all']['value']!r}, {figure['all']['interval']}")
    same("accuracy", figure["all"]["value"], RIGHT / ITEMS)
    same(
        "outcomes", figure["outcomes"], {**dict.fromkeys(figure["outcomes"], 0), "right": RIGHT, "wrong": ITEMS - RIGHT}
    )
    near("interval", figure["all"]["interval"], (low, high))
    near("interval of binomial.py", wilson(RIGHT, ITEMS), (low, high))


def shares(data: Path, root: Path) -> None:
    """5 % failures, 3 % truncated, 2 % unparsable, 1 % empty, 20 % wrong: each item is what was planted."""
    truth = root / "truth.jsonl"
    flags = ("--answer-failing", 0.05, "--answer-truncated", 0.03, "--answer-unparsable", 0.02, "--answer-empty", 0.01)
    with serving(data, *flags, "--answer-wrong", 0.2, "--planted", truth) as url:
        out = evaluate(data, url, root / "shares", "--retries", 1)
    planted = {row["id"]: row["kind"] for row in lines(truth)}
    expected = {number: _OUTCOME[planted[str(number)]] for number in range(ITEMS)}
    found = outcomes(out)
    figure = headline(out)
    print(f"shares: {Counter(planted.values())}\n  -> {figure['outcomes']}")
    same("items", found, expected)
    same("shares", figure["outcomes"], {**dict.fromkeys(figure["outcomes"], 0), **Counter(expected.values())})
    for kind, share in (("failed", 0.05), ("truncated", 0.03), ("unparsed", 0.02)):
        same(kind, figure["outcomes"][kind], math.floor(share * ITEMS + 0.5))
    count = Counter(expected.values())
    answered = count["right"] + count["wrong"] + count["unparsed"]
    same("over answered", figure["answered"]["value"], count["right"] / answered)


_OUTCOME = {"right": "right", "wrong": "wrong", "failing": "failed", "truncated": "truncated",
            "unparsable": "unparsed", "empty": "wrong"}  # fmt: skip


def resumed(data: Path, root: Path) -> None:
    """Killed in mid-run: only what is missing is sent, and the file is the same byte for byte."""
    with serving(data, "--answer-wrong", ITEMS - RIGHT) as url:
        out = root / "killed"
        with subprocess.Popen(command(data, url, out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            wait_for(out / "runs/1", 500)
            process.send_signal(signal.SIGKILL)
        time.sleep(3)  # what was in flight when it was killed is over
        kept, before = sum(1 for _ in run_folder.load_records(out / "runs/1")), served(url)
        evaluate(data, url, out)
        sent = served(url) - before
    whole = root / "right"
    print(f"resumed: {kept} of {ITEMS} answered when it was killed, {sent} sent after")
    same("sent after the kill", sent, ITEMS - kept)
    same("requests written", sum(1 for _ in lines(out / "requests-2.jsonl")), ITEMS - kept)
    same("samples file", samples(out).read_bytes() == samples(whole).read_bytes(), True)
    once = Counter(record.prompt for run in ("1", "2") for record in run_folder.load_records(out / "runs" / run))
    same("most records of an item", max(once.values()), 1)


def load(data: Path, root: Path) -> None:
    """The same requests by `eval -c 64` and by `run -c 64`: as many in flight, timings valid by the check."""
    with serving(data, ttft="100ms", itl="20ms") as url:
        one = evaluate(data, url, root / "load") / "runs/1"
        other = root / "run"
        requests = root / "load/requests-1.jsonl"
        call("run", "--url", url, "--dataset", f"jsonl:{requests}", "-n", ITEMS, "-c", SLOTS, "-o", other, "--quiet")
    curves = [in_flight(folder) for folder in (one, other)]
    apart = float(np.abs(curves[0] - curves[1]).mean())
    for name, folder, curve in (("eval", one, curves[0]), ("run ", other, curves[1])):
        summary = results.read_summary(folder)
        status = summary.verdict.status if summary.verdict else None
        print(f"{name}: {summary.duration:.2f} s, {summary.rates['qps']:.1f} a second, in flight {curve.mean():.2f} on "
              f"average and {curve.max():.0f} at most, ttft p50 {1e3 * (summary.metrics['ttft'].p50 or 0):.2f} ms, "
              f"check {status}")  # fmt: skip
        for doubt in summary.verdict.doubts if summary.verdict else ():
            print(f"  {doubt.severity}: {doubt.what} {doubt.measured}")
        same(f"check of {name}", status, "valid")
        same(f"most in flight of {name}", int(curve.max()), SLOTS)
    print(f"in flight at 200 instants they differ by {apart:.2f} on average")
    same("curves", apart <= MAY_DIFFER, True)


def in_flight(folder: Path, instants: int = 200) -> Any:
    """Requests in flight at instants of the run, evenly spread."""
    records = [record for record in run_folder.load_records(folder) if record.sent is not None]
    sent, end = (np.array([getattr(record, name) for record in records]) for name in ("sent", "end"))
    at = np.linspace(sent.min(), end.max(), instants + 2)[1:-1]
    return np.array([((sent <= instant) & (end > instant)).sum() for instant in at])


@contextlib.contextmanager
def serving(data: Path, *flags: object, ttft: str = "50ms", itl: str = "5ms") -> Iterator[str]:
    """`loadstone serve` with GSM8K's own answers."""
    answers = data / "gsm8k/test.jsonl"
    given = ["serve", "--port", "0", "--ttft", ttft, "--itl", itl, "--answers", str(answers), *map(str, flags)]
    with subprocess.Popen([*OURS, *given], stdout=subprocess.PIPE, text=True) as server:
        apart(server.pid)
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def command(data: Path, url: str, out: Path, *flags: object) -> list[str]:
    given = ["eval", "--url", url, "--tasks", "gsm8k", "--data-dir", data, "-c", SLOTS, "-o", out, "--quiet"]
    return [*OURS, *map(str, given), "--no-html", *map(str, flags)]


def evaluate(data: Path, url: str, out: Path, *flags: object) -> Path:
    done = subprocess.run(command(data, url, out, *flags), capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-2000:])
        raise SystemExit(f"eval ended with {done.returncode}")
    return out


def call(*arguments: object) -> None:
    subprocess.run([*OURS, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def apart(pid: int) -> None:
    """The server on one core and we on the others, where there are several: else each waits for the other's."""
    if len(CORES) > 1:
        os.sched_setaffinity(pid, CORES[:1])
        os.sched_setaffinity(0, CORES[1:])


def served(url: str) -> int:
    """Answers that the server has given, as it counts them itself."""
    page = urllib.request.urlopen(f"{url}/metrics").read().decode()
    found = re.findall(r"^vllm:request_success_total\{.*\} (\S+)$", page, re.MULTILINE)
    return round(sum(map(float, found)))


def wait_for(run: Path, count: int) -> None:
    """Until a run has so many records."""
    path = run / run_folder.RECORDS
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        time.sleep(0.05)


def by_hand(right: int, n: int) -> tuple[float, float]:
    """Wilson's interval from its formula (Wilson 1927), z of 95 %."""
    z, p = 1.959963984540054, right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def headline(out: Path) -> Any:
    (path,) = out.glob("results_*.json")
    (task,) = json.loads(path.read_text("utf-8"))["loadstone"]["tasks"]
    return task["figures"][0]


def outcomes(out: Path) -> dict[int, str]:
    first = headline(out)["filter"]
    rows = (row for row in lines(samples(out)) if row["filter"] == first)
    return {row["doc_id"]: row["loadstone"]["passes"][0]["outcome"] for row in rows}


def samples(out: Path) -> Path:
    (path,) = out.glob("samples_*.jsonl")
    return path


def lines(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def same(name: str, found: object, expected: object) -> None:
    if found != expected:
        print(f"  {name}: {str(found)[:300]}, not {str(expected)[:300]}")
        failed.append(name)


def near(name: str, found: Any, expected: Any) -> None:
    if max(abs(one - other) for one, other in zip(found, expected, strict=True)) > 1e-9:
        same(name, found, expected)


if __name__ == "__main__":
    sys.exit(main())
