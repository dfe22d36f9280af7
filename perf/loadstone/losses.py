"""What a process that died did not deliver: the requests that were under way, or due, and have no record.

Pure. A request that was not due yet is not lost, only not sent, as after any early end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loadstone.plan import Plan
from loadstone.records import Failure, Record
from loadstone.shares import Share


class Written:
    """What is known of a process from its records: how many turns of each place it wrote, and which places are over."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._failed: dict[int, bool] = {}
        for record in records:
            self._failed[record.index] = record.error is not None

    def turns(self, plan: Plan, place: int) -> int:
        """Turns of a place that are written, or need not be: all of them, once one has failed."""
        first, turns = plan.index(place), int(plan.turns[plan.row(place)])
        for turn in range(turns):
            if first + turn not in self._failed:
                return turn
            if self._failed[first + turn]:
                return turns
        return turns


def missing(plan: Plan, share: Share, written: Written, at: int, slots: int, why: str) -> Iterator[Record]:
    """A `stopped` record for each request of `share` that was due at `at` (ns of the run's clock) and is not written;
    of a closed loop, for those in its `slots`, which take places in their order."""
    for place in _open(plan, share, written, at, slots):
        turn, turns = written.turns(plan, place), int(plan.turns[plan.row(place)])
        due = at if plan.offsets is None or turn else int(plan.offsets[place])
        conversation = plan.conversation(place)
        yield Record(
            index=plan.index(place, turn),
            phase=plan.phase(place),
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


def _open(plan: Plan, share: Share, written: Written, at: int, slots: int) -> Iterator[int]:
    """Places that had been begun, or were due, and are not over."""
    places = _begun(plan, share, at)
    found = (place for place in places if written.turns(plan, place) < int(plan.turns[plan.row(place)]))
    for count, place in enumerate(found):
        if plan.offsets is None and count >= slots:
            return
        yield place


def _begun(plan: Plan, share: Share, at: int) -> Iterator[int]:
    if plan.offsets is not None:
        due = int(plan.offsets.searchsorted(at, "right"))
        yield from share.places(due).tolist()
        return
    ordinal = 0
    while plan.total is None or ordinal < share.count(plan.total):
        yield share.place(ordinal)
        ordinal += 1
