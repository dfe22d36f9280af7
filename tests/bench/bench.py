"""What Loadstone shows against what the server did, and what it costs against other clients: one table, in one run.

The server runs on core 0, the clients one after the other on core 1 (Linux; elsewhere unpinned, and worth less).
Asserts ratios and errors, never absolute speeds. `make bench` runs it, in under five minutes; `--write` puts the table
into docs/performance.md. Exit status 1 when something misses.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from clients import Client, everyone
from machine import description
from scenes import LATE, RATES, ceilings, median, memory, one_token, take_turns

import report
from report import C, Found

# Average number of running processes before anything begins.
BUSY = 0.5
OFF = ("ttft_mean", "ttft_p99", "gap_bias")
OURS, KERNEL = "wire", "wire, kernel clock"
LINES, READS = "plain, by lines", "plain, by reads"


def measured(clients: list[Client]) -> Found:
    """All scenes, one after the other. `plain, by lines` takes part where nothing more than its cost is asked."""
    print("CPU per event and errors, in turns")
    few = [client for client in clients if client.name != LINES]
    slow, fast = RATES
    rates = {slow: take_turns(clients, RATES[slow]), fast: take_turns(few, RATES[fast])}
    print("ceilings, and 80 % of them")
    tops = ceilings(few, rates[fast], RATES[fast])
    print("answers of one token, 64 in flight")
    requests = one_token(clients)
    print("memory of open streams")
    return Found([client.name for client in clients], rates, tops, requests, memory(clients))


def verdicts(found: Found) -> Iterator[tuple[str, bool]]:
    """What is promised, and whether it held."""
    slow = min(RATES)
    for name in (OURS, KERNEL):
        if name in found.rates[slow]:
            yield from _of(found, name)
    for rate in RATES:
        times = found.ratio(rate, KERNEL, OURS)
        if times is not None:
            yield f"{KERNEL}: {times:.2f} times the CPU of the user clock at {rate:,} events/s (1.5)", times <= 1.5
    less = 1 / (found.ratio(slow, "wire", LINES) or 1)
    yield f"wire: CPU per event {less:.2f} times lower than plain aiohttp by lines (2.5)", less >= 2.5
    more = found.one_token["wire"].rate / max(found.one_token[name].rate for name in (LINES, READS))
    yield f"wire: one-token requests/s {more:.2f} times those of the better plain client (3)", more >= 3
    turns = [turn for at in found.rates.values() for turns in at.values() for turn in turns]
    turns += [top.near for top in found.ceilings.values()]
    most = max((turn.rate for turn in turns if turn.late < LATE), default=0.0)
    yield f"the simulated server sent {most:,.0f} events/s, 5 ms late at most at p99 (40,000)", most >= 40_000


def _of(found: Found, name: str) -> Iterator[tuple[str, bool]]:
    slow = min(RATES)
    for rate in RATES:
        times = found.ratio(rate, name, C)
        if times is not None:
            yield (
                f"{name}: {times:.2f} times the CPU per event of the C client at {rate:,} events/s (2.5)",
                times <= 2.5,
            )
    mean, p99, bias = (median(found.rates[slow][name], lambda t, n=n: abs(getattr(t.off, n))) * 1e3 for n in OFF)
    yield f"{name}: mean TTFT error {mean:.2f} ms at {slow:,} events/s (0.5)", mean < 0.5
    yield f"{name}: p99 TTFT error {p99:.2f} ms at {slow:,} events/s (3)", p99 < 3
    yield f"{name}: mean gap off by {bias:.4f} ms at {slow:,} events/s (0.1)", bias < 0.1


def main() -> int:
    began = time.monotonic()
    print(description())
    if os.getloadavg()[0] > BUSY:
        print(f"this machine is busy (load {os.getloadavg()[0]:.1f}): its figures will be worth nothing")
    with tempfile.TemporaryDirectory() as folder:
        found = measured(everyone(Path(folder)))
    cells = report.rows(found)
    print(f"\n{report.text(cells)}\n")
    held = list(verdicts(found))
    for sentence, good in held:
        print(f"{'ok  ' if good else 'MISS'} {sentence}")
    print(f"{time.monotonic() - began:.0f} s")
    if "--write" in sys.argv[1:]:
        report.write(cells)
    return 0 if all(good for _, good in held) else 1


if __name__ == "__main__":
    sys.exit(main())
