"""Plan how streams are opened, count those that are open at once, and name what limits them."""

from __future__ import annotations

from collections.abc import Sequence

from loadstone.host.ceiling_file import Bound
from loadstone.host.limits import smallest
from loadstone.records import FailureCause, Record
from loadstone.units import S_PER_NS

# Stages in which streams are opened.
STEPS = 100


def opening_stages(target: int, seconds: float) -> list[str]:
    """Return stages that open streams in groups: a ramp would have one step for each of thousands of streams."""
    steps = min(target, STEPS)
    return [f"{seconds / steps:g}s@c{target * (step + 1) // steps}" for step in range(steps)]


def count_open(records: Sequence[Record], at: float) -> int:
    """Return the number of streams that have had their first event at `at` (s) and have not ended."""
    instant = at / S_PER_NS
    return sum(record.first is not None and record.first <= instant <= record.end for record in records)


def stream_ceiling(count: int, target: int, records: Sequence[Record], limits: dict[str, int | None]) -> Bound:
    """Return the number of streams reached, with what kept it from more or will."""
    failed = [record.error for record in records if record.error and record.error.kind != FailureCause.STOPPED]
    if failed:
        return Bound(count, f"{len(failed)} failed: {failed[0].message}", lower=False)
    if count < target:
        return Bound(count, f"{target:,} were asked for, and did not begin in time", lower=True)
    first = smallest(limits)
    end = f"; {first[0]} would end it at {first[1]:,}" if first else ""
    return Bound(count, f"more was not tried{end}", lower=True)
