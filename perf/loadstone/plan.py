"""The schedule of a run as data: which prompt each request takes, when it is wanted, which requests only warm up.

Computed once from one seed, before the first request, and saved with the run. Nobody else draws a random number for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import msgspec
import numpy as np
from msgspec import Struct

from loadstone.arrivals import ARRIVALS, Offsets
from loadstone.records import Phase, Prompt, UsageError

_ARRIVALS, _ORDER = 1, 2  # streams of the one seed


class Load(Struct, frozen=True, kw_only=True):
    """How much load, and how long. `rate` (requests/s) makes an open loop, in which `concurrency` is a cap."""

    concurrency: int | None = None
    rate: float | None = None
    arrivals: str = "poisson"
    requests: int | None = None
    duration: float | None = None
    warmup: int = 0
    seed: int = 0
    shuffle: bool = False


class Plan:
    """Request i takes prompt `row(i)` and is wanted at `offsets[i]`; closed loop: `offsets` is None and a free slot
    takes the next. `total` counts warm-up and measured requests; None: until the duration ends."""

    def __init__(self, load: Load, prompts: int, total: int | None, offsets: Offsets | None) -> None:
        self.load = load
        self.prompts = prompts
        self.total = total
        self.offsets = offsets
        self._order = lru_cache(maxsize=2)(self._epoch)

    def row(self, index: int) -> int:
        """Row of the dataset for request `index`: file order, or a new shuffle each time the dataset is used up."""
        epoch, place = divmod(index, self.prompts)
        return int(self._order(epoch)[place]) if self.load.shuffle else place

    def phase(self, index: int) -> Phase:
        return "warmup" if index < self.load.warmup else "measure"

    @property
    def expected(self) -> int | None:
        """Measured requests planned."""
        return None if self.total is None else self.total - self.load.warmup

    @property
    def repeats(self) -> bool:
        """Whether prompts are used more than once."""
        return self.total is not None and self.total > self.prompts

    def _epoch(self, epoch: int) -> Offsets:
        return np.random.default_rng([self.load.seed, _ORDER, epoch]).permutation(self.prompts)


def make(load: Load, prompts: int) -> Plan:
    """The plan for a load over a dataset of `prompts` rows (at least one)."""
    if load.rate is None:
        total = None if load.requests is None else load.requests + load.warmup
        return Plan(load, prompts, total, None)
    count = load.requests
    if load.duration is not None:
        fitting = max(1, math.floor(load.rate * load.duration + 1e-6))  # 0.29 x 100 is 28.999999999999996
        count = fitting if count is None else min(count, fitting)
    if count is None:
        raise UsageError("an open loop needs an end: give -n REQUESTS or --duration SECONDS")
    rng = np.random.default_rng([load.seed, _ARRIVALS])
    offsets = ARRIVALS[load.arrivals](load.rate, count + load.warmup, rng)
    return Plan(load, prompts, count + load.warmup, offsets)


def lines(plan: Plan, prompts: list[Prompt]) -> Iterator[bytes]:
    """The schedule as JSON lines: one a request or, where their number is open, one a prompt in order of first use."""
    for index in range(plan.total if plan.total is not None else plan.prompts):
        offset = None if plan.offsets is None else int(plan.offsets[index])
        row = {
            "index": index,
            "phase": plan.phase(index),
            "prompt": prompts[plan.row(index)].id,
            "offset": offset,
        }
        yield msgspec.json.encode(row) + b"\n"
