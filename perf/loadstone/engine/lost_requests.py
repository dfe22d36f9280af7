"""What a process that died did not deliver: the requests that were under way, or due, and have no record.

Pure. A request that was not due yet is not lost, only not sent, as after any early end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice

from loadstone.records import Failure, Phase, Record
from loadstone.schedule.partition import Partition, known_total
from loadstone.schedule.plan import Plan
from loadstone.units import NS_PER_S


class WrittenRecords:
    """What is known of a process from its records: how many turns of each place it wrote, and which places are over."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._failed: dict[int, bool] = {}
        for record in records:
            if record.superseded:
                continue
            self._failed[record.index] = record.error is not None

    def turns_over(self, plan: Plan, place: int) -> int:
        """Turns of a place that are written, or need not be: all of them, once one has failed."""
        first, turns = plan.index(place), int(plan.turns[plan.row(place)])
        for turn in range(turns):
            if first + turn not in self._failed:
                return turn
            if self._failed[first + turn]:
                return turns
        return turns


def missing_records(
    plan: Plan, share: Partition, written: WrittenRecords, at: int, slots: int, why: str
) -> Iterator[Record]:
    """A `stopped` record for each request of `share` that was due at `at` (ns of the run's clock; before 0 nothing was)
    and is not written; of a closed loop, for those in its `slots`, which take places in their order."""
    for place in _open(plan, share, written, at, slots) if at >= 0 else ():
        turn, turns = written.turns_over(plan, place), int(plan.turns[plan.row(place)])
        due = at if plan.offsets is None or turn else int(plan.offsets[place])
        conversation = plan.conversation(place)
        yield Record(
            index=plan.index(place, turn),
            phase=_phase(plan, place, at),
            worker=share.worker,
            prompt=plan.rows.ids[plan.row(place)],
            conversation=conversation,
            turn=None if conversation is None else turn + 1,
            abandoned=turns - turn - 1,
            stage=plan.stage(place, due),
            scheduled=due,
            end=at,
            error=Failure("stopped", why),
        )


def _open(plan: Plan, share: Partition, written: WrittenRecords, at: int, slots: int) -> Iterator[int]:
    """Places that had been begun, or were due, and are not over."""
    places = _begun(plan, share, at)
    found = (place for place in places if written.turns_over(plan, place) < int(plan.turns[plan.row(place)]))
    yield from found if plan.offsets is not None else islice(found, slots)


def _begun(plan: Plan, share: Partition, at: int) -> Iterator[int]:
    if plan.offsets is not None:
        due = int(plan.offsets.searchsorted(at, "right"))
        yield from share.positions(due).tolist()
        return
    total = known_total(plan)
    for ordinal in count() if total is None else range(share.count(total)):
        yield share.position(ordinal)


def _phase(plan: Plan, place: int, at: int) -> Phase:
    """By time where warm-up is a time, which takes places of its own."""
    timed = plan.offsets is None and plan.load.warmup_time
    if timed:
        return "warmup" if at < plan.load.warmup_time * NS_PER_S else "measure"
    return plan.phase(place)


def open_slots(plan: Plan, share: Partition, at: int, in_flight: int) -> int:
    """Slots of a closed loop that `share` may have had open at `at`: those of the level then and, where it has fallen,
    those that still had a request `in_flight`."""
    level = next((level for begin, level in reversed(plan.levels) if begin <= at), 0)
    return max(share.slots(level), in_flight)
