"""How a plan is dealt out to several processes: whose each place is, and which slots each has.

Pure. A place is a request or a whole conversation, so conversations stay together. What the processes plan between them
is what one would plan alone: every place once, at its own instant.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.schedule.plan import Plan


class Partition(Struct, frozen=True, kw_only=True):
    """What belongs to process `worker` of `workers`: the places p with (p % cycle) % workers == worker, and the slots s
    with s % workers == worker.

    Where requests have instants the cycle is the number of processes. Where slots take them it is the number of slots:
    a process with three of ten slots gets three of ten places.
    """

    worker: int = 0
    workers: int = 1
    cycle: int = 1

    @property
    def _mine(self) -> int:
        """Places of a cycle that are this one's."""
        return self.slots(self.cycle)

    def position(self, ordinal: int) -> int:
        """The place that comes `ordinal`th, from 0, among those of this process."""
        cycle, rest = divmod(ordinal, self._mine)
        return cycle * self.cycle + self.worker + rest * self.workers

    def count(self, total: int) -> int:
        """How many of the first `total` places are this one's."""
        cycles, rest = divmod(total, self.cycle)
        return cycles * self._mine + self.slots(rest)

    def positions(self, total: int) -> NDArray[np.int64]:
        """Those of the first `total` places, in order."""
        numbers = np.arange(total, dtype=np.int64)
        mine: NDArray[np.int64] = numbers[numbers % self.cycle % self.workers == self.worker]
        return mine

    def slots(self, level: int) -> int:
        """How many of `level` slots are this one's; those that do not divide evenly go to the first processes."""
        return len(range(self.worker, level, self.workers))


def known_total(plan: Plan) -> int | None:
    """How many places there are; None where that turns out: a time ends the run, or warm-up and cool-down are times,
    which come on top of the number asked for."""
    timed = plan.offsets is None and (plan.load.warmup_time or plan.load.cooldown_time)
    return None if timed else plan.total


def split_plan(plan: Plan, workers: int) -> list[Partition]:
    """The plan in `workers` shares, or in fewer where there are not as many slots or requests."""
    closed, cap = plan.offsets is None, plan.load.concurrency
    slots = max(level for _, level in plan.levels) if closed else cap or workers
    workers = max(1, min(workers, slots, plan.total or workers))
    return [Partition(worker=k, workers=workers, cycle=slots if closed else workers) for k in range(workers)]
