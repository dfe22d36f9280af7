"""Split a plan over several worker processes: which positions and which slots each of them has.

Pure. A position is a request or a whole conversation, so conversations stay together. Together the processes send what
one would send alone: every position once, at its own time.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.schedule.plan import Plan


class Partition(Struct, frozen=True, kw_only=True):
    """The part of process `worker` of `workers` in a plan.

    It has the positions p with (p % cycle) % workers == worker, and the slots s with s % workers == worker. In an open
    loop the cycle is the number of processes. In a closed loop it is the number of slots: a process with three of ten
    slots gets three of ten positions.
    """

    worker: int = 0
    workers: int = 1
    cycle: int = 1

    def position(self, ordinal: int) -> int:
        """Return the position that comes `ordinal`th, from 0, among those of this process."""
        cycle, rest = divmod(ordinal, self.slots(self.cycle))
        return cycle * self.cycle + self.worker + rest * self.workers

    def count(self, total: int) -> int:
        """Return how many of the first `total` positions this process has."""
        cycles, rest = divmod(total, self.cycle)
        return cycles * self.slots(self.cycle) + self.slots(rest)

    def positions(self, total: int) -> NDArray[np.int64]:
        """Return those of the first `total` positions that this process has, in order."""
        numbers = np.arange(total, dtype=np.int64)
        own: NDArray[np.int64] = numbers[numbers % self.cycle % self.workers == self.worker]
        return own

    def slots(self, level: int) -> int:
        """Return how many of `level` slots this process has. The first processes take a remainder."""
        return len(range(self.worker, level, self.workers))


def known_total(plan: Plan) -> int | None:
    """Return the number of positions; None where only the run shows it.

    That is so if a time ends the run, or if warm-up and cool-down are times, which come on top of the number of
    requests.
    """
    timed = plan.offsets is None and (plan.load.warmup_time or plan.load.cooldown_time)
    return None if timed else plan.total


def split_plan(plan: Plan, workers: int) -> list[Partition]:
    """Split a plan into `workers` partitions, or fewer where there are fewer slots or requests."""
    concurrency = plan.load.concurrency
    if plan.offsets is None:
        slots = max(level for _, level in plan.levels)
        workers = max(1, min(workers, slots, plan.total or workers))
        cycle = slots
    else:
        workers = max(1, min(workers, concurrency or workers, plan.total or workers))
        cycle = workers
    return [Partition(worker=worker, workers=workers, cycle=cycle) for worker in range(workers)]
