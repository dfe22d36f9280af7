"""Whether the verdicts of `compare` hold: false alarms between equal servers, and changes found at the size asked for.

By hand: `python tests/bench/verdicts.py`, some 20 minutes on two cores; `--pairs` for fewer than 200. Runs are of the
simulated engine without waiting (tests/engine_runs.py). Ends with status 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

sys.path[:0] = [str(Path(__file__).parents[1])]

from loadstone.compare import difference  # noqa: E402
from loadstone.compare.difference import Estimate  # noqa: E402
from loadstone.compare.estimate import estimate  # noqa: E402
from loadstone.compare.verdicts import Figure, SideComparison, judge_sides  # noqa: E402
from support.engine_records import Load, measured  # noqa: E402

DIFFERENT = ("better", "worse", "differs")
FAMILIES = (
    "ttft", "tpot", "latency", "gap", "ttft_scheduled", "packet_time", "packets", "input_tokens", "output_tokens",
    "rates",
)  # fmt: skip
ALARMS, FOUND = 0.05, 0.80
SCENES = {
    "closed loop, 16 in flight, 500 requests": (Load(requests=500), 1),
    "20 requests/s, 1,000 requests": (Load(requests=1000, rate=20), 1),
    "40 requests/s, 2,000 requests": (Load(requests=2000, rate=40), 1),
    "three runs a side, machine differs by 2 %": (Load(requests=300, drift=0.02), 3),
}
# What one run a side cannot see: shown, not promised.
UNKNOWN = {"one run a side, machine differs by 2 %": (Load(requests=500, drift=0.02), 1)}
CHANGE = 0.05
PILOTS = {
    "closed loop, 500 requests": (Load(requests=500, warmup=32, spread=0.3), 1),
    "20 requests/s, 500 requests": (Load(requests=500, rate=20, spread=0.3), 1),
    "two runs a side, machine differs by 1 %": (Load(requests=600, warmup=32, drift=0.01, spread=0.3), 2),
}
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def estimates(asked: tuple[Load, int]) -> dict[str, Estimate]:
    """Of one run, by load and seed."""
    return estimate(*measured(*asked)).estimates


def side(asked: tuple[Load, int, int]) -> dict[str, Estimate]:
    """Of a side with several runs, by load, first seed and number."""
    load, seed, runs = asked
    found = [estimates((load, seed + number)) for number in range(runs)]
    return {name: difference.pool_runs([run[name] for run in found])
            for name in found[0] if all(name in run for run in found)}  # fmt: skip


def pair(asked: tuple[Load, Load, int, int]) -> SideComparison:
    """Base and new, from seeds of their own."""
    base, new, seed, runs = asked
    return judge_sides(side((base, seed, runs)), {"new": side((new, seed + 50, runs))})[0]


def alarms(load: Load, runs: int, pairs: int, each: Each) -> dict[str, float]:
    """Share of pairs of equals in which a family is called different."""
    found: Counter[str] = Counter()
    for one in each(pair, [(load, load, 100 * number, runs) for number in range(pairs)]):
        found.update({figure.family for figure in one.figures if figure.verdict in DIFFERENT})
    return {family: found[family] / pairs for family in FAMILIES}


def detections(load: Load, runs: int, pairs: int, each: Each) -> tuple[float, float, float]:
    """Of pilot pairs whose mean TTFT is not told apart: the share found at the size that each had asked for, the share
    of pilots that found it at once, and the median size."""
    slower = msgspec.structs.replace(load, slower=CHANGE)
    pilots = [_ttft(one) for one in each(pair, [(load, slower, 100 * number, runs) for number in range(pairs)])]
    later = []
    for number, figure in enumerate(pilots):
        if figure.verdict == "inconclusive" and figure.wanted is not None:
            size = {"requests": figure.wanted} if figure.wanted_of == "requests" else {}
            loads = [msgspec.structs.replace(which, **size) for which in (load, slower)]
            count = figure.wanted if figure.wanted_of == "runs" else 1
            later.append((*loads, 100 * number + 10_000_000, count))
    found = [_ttft(one).verdict == "worse" for one in each(pair, later)]
    sizes = [figure.wanted for figure in pilots if figure.verdict == "inconclusive" and figure.wanted is not None]
    at_once = sum(figure.verdict == "worse" for figure in pilots) / pairs
    return sum(found) / len(found), at_once, statistics.median(sizes)


def _ttft(found: SideComparison) -> Figure:
    return next(figure for figure in found.figures if figure.name == "ttft.mean")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="scenes whose line begins with this")
    options = parser.parse_args(arguments)
    with ProcessPoolExecutor(options.processes) as pool:
        kept = [hold(options.pairs, options.only, pool.map) for hold in (_alarms, _detections)]
    print("kept" if all(kept) else "BROKEN")
    return 0 if all(kept) else 1


def _alarms(pairs: int, only: str, each: Each) -> bool:
    shares = []
    for name, (load, runs) in (SCENES | UNKNOWN).items():
        if f"A/A {name}".startswith(only):
            found = alarms(load, runs, pairs, each)
            print(f"A/A {name}: " + ", ".join(f"{family} {share:.1%}" for family, share in found.items()), flush=True)
            shares += found.values() if name in SCENES else []
    if shares:
        print(f"a family at most in {max(shares):.1%} of {pairs} pairs, promised: {ALARMS:.0%}", flush=True)
    return max(shares, default=0.0) <= ALARMS


def _detections(pairs: int, only: str, each: Each) -> bool:
    shares = []
    for name, (load, runs) in PILOTS.items():
        if f"A/B {name}".startswith(only):
            share, at_once, size = detections(load, runs, pairs, each)
            print(f"A/B {name}: {at_once:.0%} at once; of the others {share:.1%} at the size asked for, "
                  f"median {size:,.0f}", flush=True)  # fmt: skip
            shares.append(share)
    if shares:
        print(f"TTFT by {CHANGE:.0%}: found in {min(shares):.1%} at least, promised: {FOUND:.0%}")
    return min(shares, default=1.0) >= FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
