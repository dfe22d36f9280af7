"""Recorded arrival times: from the times of a trace to offsets, and the window of it that a run replays.

Works on rows of any format, so that prompts are built only for the rows that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from loadstone.dataset.source import Options, Source
from loadstone.errors import DataError
from loadstone.units import NS_PER_S

T = TypeVar("T")


def select_window(rows: Iterable[tuple[int, T]], source: Source, options: Options) -> list[tuple[int, T]]:
    """Return the (ns, row) pairs from --from to --to in order of time, at most as many as the run needs.

    --from and --to count from the first row, the times of the result from --from. Raises DataError if no row is left.
    """
    ordered = sorted(rows, key=lambda pair: pair[0])
    if not ordered:
        return []
    start, length = ordered[0][0], ordered[-1][0] - ordered[0][0]
    low = start + round((options.trace_from or 0.0) * NS_PER_S)
    high = None if options.trace_to is None else start + round(options.trace_to * NS_PER_S)
    kept = [(at - low, row) for at, row in ordered if at >= low and (high is None or at < high)]
    if not kept:
        raise DataError(
            f"{source.name} is {length / NS_PER_S:g} s long: no request lies between --from and --to", file=source.name
        )
    return kept[: options.count] if options.in_order else kept


def scale_length(length: int, scale: float) -> int:
    """Return tokens of a trace after --scale-lengths, at least one."""
    return max(1, round(length * scale))
