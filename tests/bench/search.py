"""Whether a search for objectives finds what is true: 20 searches of a server whose capacity is known from its model.

By hand: `python tests/bench/search.py [--seeds N]`, some ten minutes on two cores. The real runner, plan, campaign and
search run in virtual time against the simulated engine; the truth comes from the engine alone, under millions of
Poisson arrivals at each rate, bisected until the rate is known to 0.1 %. Ends with status 1 unless the interval holds
the truth in 18 of 20.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import simulated
from loadstone import courses
from loadstone.campaign import Campaign
from loadstone.config import Config

SLO, LIMIT, SHARE = "ttft.p99<200ms", 0.2, 0.99
BEGIN = 10.0
COUNT, SERIES = 500_000, 4
"""Arrivals of a series, and series, that tell the truth at a rate."""
NEEDED = 0.9


class Row(NamedTuple):
    seed: int
    low: float | None
    high: float | None
    loads: int
    requests: int
    said: str


def truth() -> tuple[float, float]:
    """The rate at which the 99th percentile of TTFT is the limit, and the standard error of that."""
    low, high = 60.0, 100.0
    while high / low > 1.001:
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(_tails(middle)) < LIMIT else (low, middle)
    tails, slope = _tails(low), (np.mean(_tails(low * 1.02)) - np.mean(_tails(low * 0.98))) / (0.04 * low)
    return (low + high) / 2, float(np.std(tails, ddof=1) / np.sqrt(len(tails)) / slope)


def _tails(rate: float) -> list[float]:
    with Pool(2) as pool:
        return pool.starmap(_tail, [(rate, 7_000 + number) for number in range(SERIES)])


def _tail(rate: float, seed: int) -> float:
    return float(np.quantile(simulated.waits(rate, COUNT, seed), SHARE))


def search(seed: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search"
        config = Config(url="http://simulated", dataset="random", rate=BEGIN, seed=1_000 * seed)
        course = courses.course({"slo": SLO}, config, {}, path)
        campaign = Campaign(path, course.grid, config)
        assert course.search is not None
        assert campaign.run(course.guide, simulated.go()) == "done"
        (found,) = course.search.found(campaign.sweep).outcomes
    requests = sum(probe.requests for probe in found.probes)
    return Row(seed, found.answer.low, found.answer.high, len(found.probes), requests, found.said)


def holds(row: Row, true: float) -> bool:
    return row.low is not None and row.high is not None and row.low <= true <= row.high


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    true, error = truth()
    print(f"true: {SLO} holds up to {true:.2f} requests/s (± {2 * error:.2f})", flush=True)
    print(f"{'seed':>4} {'met':>8} {'missed':>8} {'apart':>6} {'loads':>5} {'requests':>9}  holds", flush=True)
    held = []
    with Pool(2) as pool:
        for row in pool.imap(search, range(1, seeds + 1)):
            low, high = row.low or float("nan"), row.high or float("nan")
            held.append(holds(row, true))
            print(f"{row.seed:>4} {low:>8.2f} {high:>8.2f} {high / low - 1:>6.1%} {row.loads:>5} {row.requests:>9,}"
                  f"  {'yes' if held[-1] else 'NO'}  {row.said}", flush=True)  # fmt: skip
    print(f"{sum(held)} of {len(held)} intervals hold the truth; needed: {NEEDED:.0%}")
    return 0 if sum(held) >= NEEDED * len(held) else 1


if __name__ == "__main__":
    sys.exit(main())
