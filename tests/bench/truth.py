"""What Loadstone shows against what the server did, and what it costs against a plain aiohttp client, in one run.

The server runs on core 0, the clients one after the other on core 1 (Linux; elsewhere unpinned, and worth less).
Asserts ratios and errors, never absolute speeds. `make bench` runs it; it takes about a minute.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
TTFT, ITL, TOKENS = 0.1, 0.01, 128
TURNS = 3
BY = ("lines", "reads")


def pinned(core: int, *command: str) -> list[str]:
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") else list(command)


@contextmanager
def server(ttft: str, itl: str) -> Iterator[str]:
    command = [sys.executable, "-m", "loadstone", "serve", "--port", "0", "--ttft", ttft, "--itl", itl]
    with subprocess.Popen(pinned(0, *command), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def ours(url: str, concurrency: int, requests: int, tokens: int, *more: str) -> dict[str, Any]:
    """summary.json of a run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "loadstone", "run", "--url", url, "-c", str(concurrency), "-n", str(requests)]
        command += ["--output-len", str(tokens), "-o", f"{folder}/run", "--as", "json", *more]
        done = subprocess.run(pinned(1, *command), capture_output=True, text=True, check=True)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def plain(url: str, concurrency: int, requests: int, tokens: int, by: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "plain_aiohttp.py"), url, str(concurrency), str(requests), str(tokens), by]
    result: dict[str, Any] = json.loads(subprocess.check_output(pinned(1, *command)))
    return result


def truth(url: str) -> dict[str, float]:
    """The server's own record since it was last asked: from the receipt of a request to the sending of its tokens."""
    with urllib.request.urlopen(url + "/truth") as answer:
        rows = [json.loads(line) for line in answer]
    urllib.request.urlopen(urllib.request.Request(url + "/truth", method="DELETE")).close()
    ttft = np.array([row["sent"][0] - row["received"] for row in rows]) / 1e9
    gaps = np.concatenate([np.diff(row["sent"]) for row in rows]) / 1e9
    late = np.concatenate([np.subtract(row["sent"], row["planned"]) for row in rows]) / 1e9
    return {
        "ttft_mean": float(ttft.mean()),
        "ttft_p99": float(np.percentile(ttft, 99)),
        "gap_mean": float(gaps.mean()) if len(gaps) else float("nan"),
        "late_p99": float(np.percentile(late, 99)),
    }


def streams() -> list[tuple[str, bool]]:
    """256 streams: the error of the times, and CPU per event; the clients take turns, and the median turn counts."""
    print(f"256 streams, TTFT {TTFT * 1e3:g} ms, gap {ITL * 1e3:g} ms, {TOKENS} tokens (errors in ms; CPU in us)")
    print(f"{'client':<16}{'TTFT mean':>12}{'TTFT p99':>12}{'gap mean':>12}{'CPU/event':>12}{'CPU share':>12}")
    turns = []
    with server(f"{TTFT}s", f"{ITL}s") as url:
        for _ in range(TURNS):
            turns.append({name: _turn(name, client, url) for name, client in CLIENTS.items()})
    wire = {key: statistics.median(turn["wire"][key] for turn in turns) for key in turns[0]["wire"]}
    lines, reads = (statistics.median(t[f"plain, {by}"]["cpu"] / t["wire"]["cpu"] for t in turns) for by in BY)
    print(f"CPU per event against the leanest plain client (by reads): {reads:.2f} times lower")
    return [
        ("mean TTFT within 1 ms of the truth", abs(wire["ttft_mean"]) < 1e-3),
        ("p99 TTFT within 5 ms of the truth", abs(wire["ttft_p99"]) < 5e-3),
        ("mean gap within 0.1 ms of the truth", abs(wire["gap_mean"]) < 1e-4),
        (f"CPU per event {lines:.2f} times lower than plain aiohttp by lines (2.5 wanted)", lines >= 2.5),
    ]


CLIENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "wire": lambda url: _shown(ours(url, 256, 1024, TOKENS)),
    "aiohttp": lambda url: _shown(ours(url, 256, 1024, TOKENS, "--transport", "aiohttp")),
    "plain, lines": lambda url: plain(url, 256, 1024, TOKENS, "lines"),
    "plain, reads": lambda url: plain(url, 256, 1024, TOKENS, "reads"),
}


def _turn(name: str, client: Callable[[str], dict[str, Any]], url: str) -> dict[str, float]:
    """Shown minus true, and CPU seconds per event."""
    shown = client(url)
    true = truth(url)
    errors = {key: shown[key] - true[key] for key in ("ttft_mean", "ttft_p99", "gap_mean")}
    cells = "".join(f"{error * 1e3:>+12.3f}" for error in errors.values())
    print(f"{name:<16}{cells}{shown['cpu_per_event'] * 1e6:>12.2f}{shown['cpu_share']:>12.0%}", flush=True)
    return {**errors, "cpu": shown["cpu_per_event"]}


def _shown(summary: dict[str, Any]) -> dict[str, float]:
    metrics, client = summary["metrics"], summary["client"]
    return {
        "ttft_mean": metrics["ttft"]["mean"],
        "ttft_p99": metrics["ttft"]["p99"],
        "gap_mean": metrics["gap"]["mean"],
        "cpu_per_event": client["cpu_seconds"] / (metrics["gap"]["n"] + metrics["ttft"]["n"]),
        "cpu_share": client["cpu_share"],
    }


def requests() -> list[tuple[str, bool]]:
    """64 streams of one token, answered at once: requests a second."""
    with server("0s", "0s") as url:
        mine = ours(url, 64, 20_000, 1)["rates"]["qps"]
        theirs = {by: plain(url, 64, 4_992, 1, by)["requests_per_second"] for by in BY}
    rates = ", ".join(f"plain by {by} {rate:,.0f} /s" for by, rate in theirs.items())
    print(f"one-token answers, 64 in flight: wire {mine:,.0f} /s, {rates}")
    worst = mine / max(theirs.values())
    return [(f"requests a second {worst:.1f} times those of the better plain client (3 wanted)", worst >= 3)]


def serving() -> list[tuple[str, bool]]:
    """The simulated server at 45,000 events/s: what it sent when, by its own record."""
    with server("0.1s", "0.01s") as url:
        summary = ours(url, 450, 1800, TOKENS, "--quiet")
        late = truth(url)["late_p99"]
    steady = summary["steady"]["rates"]["output_throughput"]
    print(f"450 streams: {steady:,.0f} events/s while steady, sent late by {late * 1e3:.2f} ms at p99")
    return [("the simulated server sustains 40,000 events/s, 5 ms late at most at p99", steady > 40e3 and late < 5e-3)]


def main() -> int:
    results = streams() + requests() + serving()
    for text, held in results:
        print(f"{'ok  ' if held else 'MISS'} {text}")
    return 0 if all(held for _, held in results) else 1


if __name__ == "__main__":
    sys.exit(main())
