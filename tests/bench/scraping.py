"""What asking for metrics costs the client: its loop lag without, by our process, and by a thread of its own process.

By hand: `python tests/bench/scraping.py [SECONDS] [REPEATS]`. The simulated server and the page (300 kB, as a vLLM with
six engines has) run on core 0, the client on core 1. Each round runs all three, so that what else the machine does
meets each alike; medians over the rounds, and the outcome is asserted: the process costs less than the thread.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from loadstone import loadtest
from loadstone.config.schema import Config
from loadstone.host import child_process, event_loop

FIGURES = ("loop_lag_mean", "loop_lag_p99", "loop_lag_p999", "loop_lag_max")
ENGINES, SERIES = 6, 480


def page() -> bytes:
    """As long as a real one: histograms of 22 buckets for each engine."""
    lines = []
    for number in range(SERIES // 24):
        name = f"vllm:some_quantity_{number}_seconds"
        lines += [f"# HELP {name} A quantity.", f"# TYPE {name} histogram"]
        for engine in range(ENGINES):
            labels = f'engine="{engine}",model_name="meta-llama/Llama-3.1-8B-Instruct"'
            lines += [f'{name}_bucket{{{labels},le="{bound / 8}"}} {bound}.0' for bound in range(22)]
            lines += [f'{name}_bucket{{{labels},le="+Inf"}} 22.0', f"{name}_count{{{labels}}} 22.0"]
            lines += [f"{name}_sum{{{labels}}} 31.5"]
    lines += ["# TYPE vllm:num_requests_running gauge", 'vllm:num_requests_running{engine="0"} 8.0']
    return ("\n".join(lines) + "\n").encode()


def serve_page() -> None:
    """In a process of its own; prints where."""
    body = page()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/metrics", flush=True)
    server.serve_forever()


@contextlib.contextmanager
def process(*command: str) -> Iterator[str]:
    pin = ["taskset", "-c", "0"]
    with subprocess.Popen(
        [*pin, *command], stdout=subprocess.PIPE, text=True, env=child_process.environment()
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@contextlib.contextmanager
def thread(url: str) -> Iterator[None]:
    """What a tool without a process of its own would do."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(1.0):
            with urllib.request.urlopen(url) as answer:
                list(text_string_to_metric_families(answer.read().decode()))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()


def measure(how: str, url: str, metrics: str, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, thread(metrics) if how == "thread" else contextlib.nullcontext():
        config = Config(
            url=url, concurrency=16, duration=seconds, output_len=200, output=str(Path(folder) / "run"),
            scrape=metrics if how == "process" else False, scrape_name="some_quantity", workers=1,
        )  # fmt: skip
        summary = event_loop.run(loadtest.load_test(config)).summary
    ttft = summary.metrics["ttft"]
    found = {name: summary.client[name] or 0.0 for name in FIGURES}
    return {**found, "ttft_mean": ttft.mean or 0.0, "ttft_p99": ttft.p99 or 0.0}


def main(seconds: float = 15.0, rounds: int = 5) -> None:
    os.sched_setaffinity(0, {1})
    print(f"a page of {len(page()) / 1e3:.0f} kB ({len(gzip.compress(page())) / 1e3:.0f} kB gzip), every second")
    serving = [sys.executable, "-m", "loadstone", "serve", "--port", "0", "--ttft", "50ms", "--itl", "10ms"]
    with process(*serving) as url, process(sys.executable, __file__, "page") as metrics:
        ways = ("without", "process", "thread")
        found = {way: list[dict[str, float]]() for way in ways}
        for _ in range(rounds):
            for way in ways:
                found[way].append(measure(way, url, metrics, seconds))
    middle = {way: {name: statistics.median(one[name] for one in runs) for name in runs[0]}
              for way, runs in found.items()}  # fmt: skip
    print(f"{'ms, median of ' + str(rounds):20}", *(f"{way:>10}" for way in ways))
    for name in middle["without"]:
        print(f"{name:20}", *(f"{middle[way][name] * 1e3:10.3f}" for way in ways))
    assert middle["process"]["loop_lag_p999"] < middle["thread"]["loop_lag_p999"]


if __name__ == "__main__":
    if sys.argv[1:] == ["page"]:
        serve_page()
    else:
        main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3]))
