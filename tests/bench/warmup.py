"""How often a warm-up is found where there is none, and where there is one: figures of docs/statistics.md.

By hand: `python tests/bench/warmup.py [REPETITIONS]`. Fails where more runs without one are doubted than promised.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadstone.checks.load import WARMUP
from loadstone.stats import warmup
from support.time_series import SERIES, Array, ar1

SIZES = (100, 200, 1_000, 10_000)
# Share of runs that may be doubted wrongly, by how a series' name begins.
FALSE = {"independent": 0.005, "AR(1)": 0.01, "bursts": 0.08, "lognormal": 0.005, "Pareto": 0.005}


def doubted(values: Array) -> bool:
    found = warmup.find_warmup(values)
    return found is not None and abs(found.shift) > WARMUP


def false_alarms(rounds: int, chance: np.random.Generator) -> bool:
    right = True
    for name, series in SERIES.items():
        shares = []
        for size in SIZES:
            times = rounds if size < 5000 else rounds // 4
            rows = series.draw(chance, times, size)
            positive = np.exp(0.3 * rows) if series.truth["p50"] <= 0 else rows
            shares.append(float(np.mean([doubted(row) for row in positive])))
        right &= max(shares) <= next(limit for kind, limit in FALSE.items() if name.startswith(kind))
        print(f"{name:26}", *(f"{share:8.2%}" for share in shares), flush=True)
    return right


def found(rounds: int, chance: np.random.Generator) -> None:
    """Of warm-ups that begin at 1 + `more` times the level and fade with a time constant of a twentieth of the run."""
    for rho in (0.0, 0.5, 0.9):
        for more in (0.5, 1.0, 2.0):
            shares = []
            for size in SIZES:
                fading = 1 + more * np.exp(-np.arange(size) / (size / 20))
                rows = np.exp(0.3 * ar1(chance, rho, rounds // 4, size)) * fading
                shares.append(float(np.mean([doubted(row) for row in rows])))
            print(f"rho {rho:g}, first x {1 + more:g}".ljust(26), *(f"{share:8.0%}" for share in shares), flush=True)


def main(rounds: int) -> int:
    chance = np.random.default_rng(20250102)
    print("doubted, of runs of".ljust(26), *(f"{size:8,}" for size in SIZES))
    right = false_alarms(rounds, chance)
    found(rounds, chance)
    print("" if right else "NOT AS PROMISED: more false alarms")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
