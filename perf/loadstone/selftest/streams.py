"""How many streams the client can hold open at once: opening them in steps, counting them, what the limit is."""

from __future__ import annotations

from collections.abc import Sequence

from loadstone.host.ceiling import Bound
from loadstone.host.limits import smallest
from loadstone.records import Record
from loadstone.units import S_PER_NS

# Steps that a ramp of streams is opened in.
STEPS = 100


def opening_stages(wanted: int, seconds: float) -> list[str]:
    """Stages that open streams some at a time: a ramp has a step for each, and thousands of steps are work."""
    steps = min(wanted, STEPS)
    return [f"{seconds / steps:g}s@c{wanted * (step + 1) // steps}" for step in range(steps)]


def count_open(records: Sequence[Record], at: float) -> int:
    """Streams that have begun to answer, and not ended."""
    instant = at / S_PER_NS
    return sum(record.first is not None and record.first <= instant <= record.end for record in records)


def stream_ceiling(count: int, wanted: int, records: Sequence[Record], limits: dict[str, int | None]) -> Bound:
    """What kept streams from being more, or will."""
    failed = [record.error for record in records if record.error and record.error.kind != "stopped"]
    if failed:
        return Bound(count, f"{len(failed)} failed: {failed[0].message}", lower=False)
    if count < wanted:
        return Bound(count, f"{wanted:,} were asked for, and did not begin in time", lower=True)
    first = smallest(limits)
    end = f"; {first[0]} would end it at {first[1]:,}" if first else ""
    return Bound(count, f"more was not tried{end}", lower=True)
