"""What the live display costs: CPU of a refresh and of a pulse, as shares of a core. By hand.

    python tests/bench/display.py

Fails where the display takes more than 0.4 % of a core for one process: twice what a quiet machine has shown.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import msgspec

from loadstone.engine.progress_digest import count_bins, digest_records
from loadstone.engine.worker import PROGRESS_INTERVAL
from loadstone.live import lines
from loadstone.live import terminal as screen
from loadstone.live.display import REFRESH
from loadstone.live.progress import RunProgress

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
example = import_module("example")
# Share of a core; pulses of each process; requests that end in each.
MOST, STEPS, REQUESTS = 0.004, 1500, 20


def cost(workers: int, width: int) -> tuple[float, float]:
    """Shares of a core that refreshes and pulses take while `workers` processes tell of their requests."""
    run, records, rng = example.run(), example.records(), random.Random(1)
    progress, slos = RunProgress(example.plan(), None, run), run["config"]["goodput"]
    lags = count_bins([rng.expovariate(1 / 2e5) for _ in range(15)])
    reader, writer = os.openpty()
    threading.Thread(target=_drain, args=(reader,), daemon=True).start()
    drawn, adding, drawing, looks = screen.TerminalScreen(os.fdopen(writer, "w")), 0.0, 0.0, 0
    for step in range(1, STEPS + 1):
        for worker in range(workers):
            since, at = (round(each * PROGRESS_INTERVAL * 1e9) for each in (step - 1, step))
            told = digest_records(rng.choices(records, k=REQUESTS), worker, since, at, slos)
            told = msgspec.structs.replace(
                told,
                finished=step * REQUESTS,
                failed=step,
                in_flight=16,
                loop_lags=lags,
                send_lags=lags,
                cpu=0.9,
                core_wait=0.1,
            )
            began = time.thread_time()
            progress.add(told)
            adding += time.thread_time() - began
        if step * PROGRESS_INTERVAL // REFRESH > looks:
            looks += 1
            began = time.thread_time()
            drawn.draw(lines.panel(progress.figures(), width))
            drawing += time.thread_time() - began
    return drawing / (STEPS * PROGRESS_INTERVAL), adding / (STEPS * PROGRESS_INTERVAL)


def _drain(terminal: int) -> None:
    with contextlib.suppress(OSError):  # the other end is closed
        while os.read(terminal, 65536):
            pass


def main() -> None:
    for workers, width in ((1, 80), (1, 200), (8, 200)):
        drawing, adding = cost(workers, width)
        print(f"{workers} processes, {width} columns: drawing {drawing:.3%}, pulses {adding:.3%} of a core")
        assert workers > 1 or drawing + adding < MOST


main()
