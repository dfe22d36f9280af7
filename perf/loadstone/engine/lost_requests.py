"""Find the requests that a dead process owed: those in flight, or due, that have no record.

Pure. A request that was not due yet is not lost, only not sent, as after any early end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import count

from loadstone.records import Failure, FailureCause, Phase, Record
from loadstone.schedule.partition import Partition, known_total
from loadstone.schedule.plan import Plan
from loadstone.units import NS_PER_S


class WrittenRecords:
    """The records that a process wrote, by request."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._failed = {record.index: record.error is not None for record in records if not record.superseded}

    def turns_over(self, plan: Plan, position: int) -> int:
        """Return how many turns of a position are over: those recorded, or all of them once one has failed."""
        first = plan.index(position)
        turns = int(plan.turns[plan.row(position)])
        for turn in range(turns):
            if first + turn not in self._failed:
                return turn
            if self._failed[first + turn]:
                return turns
        return turns


def missing_records(
    plan: Plan, partition: Partition, written: WrittenRecords, at: int, slots: int, message: str
) -> Iterator[Record]:
    """Yield a `stopped` record for each request of a partition that was due at `at` and has none.

    at: when the process died, ns of the run's clock; before 0 nothing was due.
    slots: of a closed loop, how many were open; they take positions in order.
    message: of the failure.
    """
    if at < 0:
        return

    # Positions that had started, or were due.
    started: Iterable[int]
    if plan.offsets is not None:
        started = partition.positions(int(plan.offsets.searchsorted(at, "right"))).tolist()
    else:
        total = known_total(plan)
        ordinals: Iterable[int] = count() if total is None else range(partition.count(total))
        started = map(partition.position, ordinals)

    # Those that are not over; in a closed loop no more than there were slots.
    left = sys.maxsize if plan.offsets is not None else slots
    for position in started if left else ():
        row = plan.row(position)
        turn = written.turns_over(plan, position)
        if turn >= int(plan.turns[row]):
            continue
        conversation = plan.conversation(position)
        due = at if plan.offsets is None or turn else int(plan.offsets[position])
        # The phase is by time where warm-up is a time, which takes positions of its own.
        phase: Phase = plan.phase(position)
        if plan.offsets is None and plan.load.warmup_time:
            phase = "warmup" if at < plan.load.warmup_time * NS_PER_S else "measure"
        yield Record(
            index=plan.index(position, turn),
            phase=phase,
            worker=partition.worker,
            prompt=plan.rows.ids[row],
            conversation=conversation,
            turn=None if conversation is None else turn + 1,
            abandoned=int(plan.turns[row]) - turn - 1,
            stage=plan.stage(position, due),
            scheduled=due,
            end=at,
            error=Failure(FailureCause.STOPPED, message),
        )
        left -= 1
        if not left:
            return


def open_slots(plan: Plan, partition: Partition, at: int, in_flight: int) -> int:
    """Return how many slots of a closed loop a partition may have had open at `at` (ns).

    Those of the level at that time or, where the level has fallen, as many as still had a request in flight.
    """
    level = next((level for start, level in reversed(plan.levels) if start <= at), 0)
    return max(partition.slots(level), in_flight)
