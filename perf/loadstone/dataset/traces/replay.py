"""Recorded arrival times: from the instants of a trace to offsets, and the stretch of it that a run replays.

Knows nothing of formats; prompts are made only for the rows that are left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from loadstone.dataset.source import Options, Source
from loadstone.errors import UsageError
from loadstone.units import NS_PER_S

T = TypeVar("T")


def select_window(rows: Iterable[tuple[int, T]], source: Source, options: Options) -> list[tuple[int, T]]:
    """(ns, row) pairs in order of time, the stretch from --from to --to of them counted from the first instant, at most
    as many as the run needs. Times in the result count from --from. Raises UsageError when nothing is left."""
    ordered = sorted(rows, key=lambda pair: pair[0])
    if not ordered:
        return []
    begin, length = ordered[0][0], ordered[-1][0] - ordered[0][0]
    low = begin + round((options.trace_from or 0.0) * NS_PER_S)
    high = None if options.trace_to is None else begin + round(options.trace_to * NS_PER_S)
    kept = [(at - low, row) for at, row in ordered if at >= low and (high is None or at < high)]
    if not kept:
        raise UsageError(f"{source.name} is {length / NS_PER_S:g} s long: no request lies between --from and --to")
    return kept[: options.count] if options.in_order else kept


def scale_length(length: int, scale: float) -> int:
    """Tokens of a trace after --scale-lengths, at least one."""
    return max(1, round(length * scale))
