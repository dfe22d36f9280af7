"""The highest load that meets objectives: which load to probe next, and the interval of the answer. Pure.

Doubling and halving find a load that is met and one that is missed. Halving the ratio between them narrows the gap.
Both ends are then probed once more. Probes that contradict each other, or stay unresolved, remain inside the interval:
everything below it was met, and everything above it was missed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from loadstone.sweep.slo_probe import Probe

# Significant digits of a load that is chosen.
DIGITS = 4
# Runs of one load at most.
MAX_RUNS = 16
# Runs in a row spoiled by the client, after which the load is beyond the client.
MAX_UNFIT = 3


class Range(Struct, frozen=True):
    """The loads to search.

    start: the first load
    lowest, highest: bounds
    within: ratio of the ends of the interval at which the search stops
    integers: loads are whole numbers
    max_points: loads to probe at most
    """

    start: float
    lowest: float
    highest: float
    within: float = 1.05
    integers: bool = False
    max_points: int = 40


class Answer(Struct, frozen=True):
    """The highest load that meets the objectives is at least `low` and below `high`.

    low: None if no load was met
    high: None if no load was missed
    against: loads inside the interval, which contradict another one or stayed unresolved
    """

    low: float | None
    high: float | None
    against: list[float]


class SearchOutcome(Struct, frozen=True):
    """The search at one combination of the other settings.

    said: what keeps the interval from being narrower
    """

    settings: dict[str, Any]
    answer: Answer
    probes: list[Probe]
    said: str = ""


class SearchResult(Struct, frozen=True):
    """The content of search.json.

    field: what was searched for, `concurrency` or `rate`
    within: ratio of the ends of an interval that is narrow enough
    """

    field: str
    objectives: list[str]
    within: float
    outcomes: list[SearchOutcome]
    format: int = 1


def find_answer(probes: Sequence[Probe]) -> Answer:
    """Return the interval of the answer as far as the probes show it."""
    met = [probe.load for probe in probes if probe.call == "met"]
    missed = [probe.load for probe in probes if probe.call == "missed"]
    low = max((load for load in met if load < min(missed, default=math.inf)), default=None)
    high = min((load for load in missed if load > max(met, default=-math.inf)), default=None)
    inside = [probe.load for probe in probes
              if (low is None or probe.load > low) and (high is None or probe.load < high)]  # fmt: skip
    return Answer(low, high, sorted(inside))


def next_load(probes: Sequence[Probe], bounds: Range) -> float | None:
    """Return the load to probe next, for the first or the second time; None when there is nothing left to gain."""
    if not probes:
        return fit(bounds.start, bounds)
    loads, answer = sorted(probe.load for probe in probes), find_answer(probes)
    if len(probes) < bounds.max_points:
        # Double or halve until both ends exist, then narrow the gap.
        if answer.high is None and loads[-1] < bounds.highest and not loads_beyond_client(probes):
            return fit(2 * loads[-1], bounds)
        if answer.low is None and loads[0] > bounds.lowest:
            return fit(loads[0] / 2, bounds)
        if (between := _between(answer, bounds)) is not None:
            return between
    # Confirm an end that rests on one probe. A load that keeps changing sides is not probed for ever.
    once = {probe.load for probe in probes if not probe.confirmed and probe.runs < MAX_RUNS and probe.unfit < MAX_UNFIT}
    return next((load for load in (answer.low, answer.high) if load in once), None)


def explain_gap(probes: Sequence[Probe]) -> str:
    """Return what keeps the interval from being narrower, empty if nothing does."""
    answer, unfit = find_answer(probes), loads_beyond_client(probes)
    if answer.low is None and unfit:
        loads = ", ".join(f"{load:g}" for load in unfit)
        return f"the client could not keep up at {loads}, which says nothing about the server"
    if answer.low is None:
        return f"not even {min(probe.load for probe in probes):g} was met" if probes else "nothing was probed"
    if answer.high is None:
        text = f"{max(probe.load for probe in probes):g} is the highest load tried"
        return f"{text}, and the client could not keep up at {unfit[0]:g}" if unfit else text
    if answer.against:
        loads = ", ".join(f"{load:g}" for load in answer.against)
        return f"probes at {loads} stayed unresolved or contradict others"
    return ""


def _between(answer: Answer, bounds: Range) -> float | None:
    """Return the middle of the widest gap inside the interval, by ratio; None where all are narrow enough."""
    low, high = answer.low, answer.high
    if low is None or high is None:
        return None
    gaps = [(low, answer.against[0]), (answer.against[-1], high)] if answer.against else [(low, high)]
    begin, end = max(gaps, key=lambda gap: gap[1] / gap[0])
    if end / begin <= bounds.within * (1 + 1e-9):
        return None
    middle = fit(math.sqrt(begin * end), bounds)
    return middle if begin < middle < end else None


def fit(load: float, bounds: Range) -> float:
    """Return a load within the range, as a whole number or with DIGITS significant digits."""
    held = min(max(load, bounds.lowest), bounds.highest)
    return round(held) if bounds.integers else float(f"{held:.{DIGITS}g}")


def loads_beyond_client(probes: Sequence[Probe]) -> list[float]:
    """Return the loads that stayed unresolved because the client could not keep up."""
    return sorted(probe.load for probe in probes if probe.call == "unresolved" and probe.unfit >= MAX_UNFIT)
