"""How often 95 % intervals hold the truth, and how often they are refused: the table of docs/statistics.md.

By hand: `python tests/bench/coverage.py [REPETITIONS]`, a few minutes. Fails where a cell does not hold what the
document promises.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadstone.stats.describe import describe
from loadstone.stats.histogram import Histogram
from loadstone.summary import Metric
from support.time_series import SERIES, Array, cover

SIZES = (200, 1_000, 10_000)
COUNTED = 50_000


def counted(values: Array, unit: str) -> Metric:
    """By the histogram of large runs, one value a millisecond; what it takes is not negative."""
    at = 1_000_000 * np.arange(len(values))
    histogram = Histogram((0.0, float(at[-1])))
    histogram.add(values, at)
    return histogram.metric(unit)


def main(rounds: int) -> int:
    chance, wrong = np.random.default_rng(20250101), []
    print("covered %, refused % in brackets".ljust(43), *(f"{name:>12}" for name in ("mean", "p50", "p95", "p99")))
    plans = [(name, size, rounds, describe) for name in SERIES for size in SIZES]
    plans += [(name, COUNTED, rounds // 5, counted) for name in SERIES if min(SERIES[name].truth.values()) > 0]
    for name, size, times, how in plans:
        cells = cover(SERIES[name], size, times, chance, how)
        label = f"{name}{', histogram' if how is counted else ''}"
        print(f"{label:36}{size:7,}", *(f"{cell.text:>12}" for cell in cells.values()), flush=True)
        wrong += [f"{label}, {size}: {figure} {cell.text}" for figure, cell in cells.items() if not cell.right]
    print(*(f"NOT AS PROMISED: {text}" for text in wrong), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
