"""The most load that meets objectives: which load to probe next, and the interval that the answer lies in. Pure.

Doubling and halving find a load that is met and one that is missed; halving the ratio between them narrows the gap;
both ends are then probed once more. Probes that contradict each other, or stay unresolved, stay inside the interval: it
ends where everything below was met, and everything above was missed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from loadstone.sweep.slo_probe import Probe

# Of a load that is chosen.
DIGITS = 4
# Of one load.
MAX_RUNS = 16
# Runs in a row that the client spoils, after which a load is beyond it.
MAX_UNFIT = 3


class Range(Struct, frozen=True):
    """Where to look. `within`: the ratio of the ends at which it is good enough; `integers`: loads are whole numbers."""

    start: float
    lowest: float
    highest: float
    within: float = 1.05
    integers: bool = False
    # Loads to be probed at most.
    max_points: int = 40


class Answer(Struct, frozen=True):
    """The most load that meets the objectives is at least `low` and below `high`. None: no load so low was met, or none
    so high was missed. `against`: loads whose calls contradict another's or stayed open, inside the interval."""

    low: float | None
    high: float | None
    against: list[float]


class SearchOutcome(Struct, frozen=True):
    """The search at one combination of the other settings. `said`: what keeps the answer from being narrower."""

    settings: dict[str, Any]
    answer: Answer
    probes: list[Probe]
    said: str = ""


class SearchResult(Struct, frozen=True):
    """What search.json holds. `field`: what was searched for, `concurrency` or `rate`."""

    field: str
    objectives: list[str]
    within: float
    outcomes: list[SearchOutcome]
    format: int = 1


def find_answer(probes: Sequence[Probe]) -> Answer:
    met, missed = _loads(probes, "met"), _loads(probes, "missed")
    low = max((load for load in met if load < min(missed, default=math.inf)), default=None)
    high = min((load for load in missed if load > max(met, default=-math.inf)), default=None)
    inside = [probe.load for probe in probes
              if (low is None or probe.load > low) and (high is None or probe.load < high)]  # fmt: skip
    return Answer(low, high, sorted(inside))


def next_load(probes: Sequence[Probe], bounds: Range) -> float | None:
    """The load to probe next, new or for the second time; None when the answer is as good as it gets."""
    if not probes:
        return fit(bounds.start, bounds)
    loads, found = sorted(probe.load for probe in probes), find_answer(probes)
    if len(probes) < bounds.max_points:
        if found.high is None and loads[-1] < bounds.highest and not loads_beyond_client(probes):
            return fit(2 * loads[-1], bounds)
        if found.low is None and loads[0] > bounds.lowest:
            return fit(loads[0] / 2, bounds)
        if (between := _between(found, bounds)) is not None:
            return between
    return _to_confirm(probes, found)


def explain_gap(probes: Sequence[Probe]) -> str:
    """What keeps the interval from being narrower, in words; empty where nothing does."""
    found = find_answer(probes)
    if found.low is None and (unfit := loads_beyond_client(probes)):
        return f"the client was not up to {', '.join(f'{load:g}' for load in unfit)}, which tells nothing of the server"
    if found.low is None:
        return f"not even {_lowest(probes):g} was met" if probes else "nothing was probed"
    if found.high is None:
        told = f"{max(probe.load for probe in probes):g} is the most that was tried"
        return (
            f"{told}, and the client was not up to {loads_beyond_client(probes)[0]:g}"
            if loads_beyond_client(probes)
            else told
        )
    if found.against:
        told = ", ".join(f"{load:g}" for load in found.against)
        return f"probes at {told} stayed open or contradict others"
    return ""


def _between(found: Answer, bounds: Range) -> float | None:
    """The middle of the wider gap between an end and what lies inside, in ratio; None where both are narrow enough."""
    low, high = found.low, found.high
    if low is None or high is None:
        return None
    gaps = [(low, found.against[0]), (found.against[-1], high)] if found.against else [(low, high)]
    begin, end = max(gaps, key=lambda gap: gap[1] / gap[0])
    if end / begin <= bounds.within * (1 + 1e-9):
        return None
    middle = fit(math.sqrt(begin * end), bounds)
    return middle if begin < middle < end else None


def _to_confirm(probes: Sequence[Probe], found: Answer) -> float | None:
    """An end of the interval that only one probe speaks for; one that wavers is not asked for ever."""
    once = {probe.load for probe in probes if not probe.confirmed and probe.runs < MAX_RUNS and probe.unfit < MAX_UNFIT}
    return next((load for load in (found.low, found.high) if load in once), None)


def fit(load: float, bounds: Range) -> float:
    """A load within the range, as it is asked for: whole, or with so many digits as one types."""
    held = min(max(load, bounds.lowest), bounds.highest)
    return round(held) if bounds.integers else float(f"{held:.{DIGITS}g}")


def _loads(probes: Sequence[Probe], call: str) -> list[float]:
    return [probe.load for probe in probes if probe.call == call]


def loads_beyond_client(probes: Sequence[Probe]) -> list[float]:
    """Loads that stayed open because the client was not up to them."""
    return sorted(probe.load for probe in probes if probe.call == "unresolved" and probe.unfit >= MAX_UNFIT)


def _lowest(probes: Sequence[Probe]) -> float:
    return min(probe.load for probe in probes)
