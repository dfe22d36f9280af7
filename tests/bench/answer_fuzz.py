"""Sends 200,000 spoilt answers of all protocols through the real sender, in virtual time.

By hand: `python tests/bench/answer_fuzz.py [STREAMS] [SEED]`; a few minutes on one core. Prints each finding with the
arguments of `fuzz` that repeat it. Exit status 1 if anything raises, a request has no record, or a record cannot be
read back.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadstone.apis import APIS
from support.answer_fuzz import fuzz

STREAMS = 200_000
# Requests of one run.
RUN = 50


def main(streams: int = STREAMS, first_seed: int = 0) -> int:
    """Fuzz every protocol. Return the exit status."""
    began = time.monotonic()
    findings = total = 0
    for name in APIS:
        kinds: Counter[str] = Counter()
        seed = first_seed
        while kinds.total() < streams / len(APIS):
            try:
                records, faults = fuzz(name, seed, RUN)
            except Exception:
                records, faults = [], [f"the run ended: {traceback.format_exc(limit=-3)}"]
                kinds["raised"] += RUN
            kinds.update("ok" if record.error is None else record.error.kind for record in records)
            for fault in faults:
                print(f"fuzz({name!r}, {seed}, {RUN}): {fault}")
            findings += len(faults)
            seed += 1
        total += kinds.total()
        print(f"{name}: {kinds.total():,} streams, " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common()))
    print(f"\n{total:,} streams in {time.monotonic() - began:.0f} s, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
