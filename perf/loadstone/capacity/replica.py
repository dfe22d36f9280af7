"""How much one replica carries within objectives, and what its figures are at a load: a Curve read as a law.

Pure. Capacity is an interval between loads that were measured: the highest at which all objectives are surely met, and
the lowest at which one is surely missed. Nothing is said of loads above the highest measured. Between two points
figures are interpolated linearly after they have been made to rise with load (isotonic regression). Loads of a closed
loop are those at random arrivals that the objectives' figures stand for (bursts.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from loadstone.capacity.curves import Curve, OperatingPoint
from loadstone.metrics.slo import ATTAINMENT, Estimate, Objective, Outcome, combine, format_value, judge

Basis = Literal["measured", "interpolated", "extrapolated", "derived"]
# A load this near to a measured one, relative to it, is that one.
SAME = 0.01


class JudgedPoint(Struct, frozen=True):
    """A spot held against the objectives, at the load (requests/s) that it stands for: what is not met, in words."""

    spot: OperatingPoint
    load: float
    judgement: Outcome
    against: list[str]


class Capacity(Struct, frozen=True, kw_only=True):
    """Requests a second of one replica. `low`: surely carried, None where nothing is; `high`: surely too much, None
    where nothing was. `limits`: what stands against more than `low`; `reason`: why there is no `low`."""

    low: float | None
    high: float | None
    spots: list[JudgedPoint]
    limits: list[str]
    reason: str = ""

    @property
    def usable(self) -> list[JudgedPoint]:
        """The part of the curve that a plan may use."""
        return [one for one in self.spots if self.low is not None and one.load <= self.low]


def find_capacity(curve: Curve, objectives: Sequence[Objective]) -> Capacity:
    """By rising load, up to the first that is missed."""
    spots = [_judged(spot, objectives) for spot in curve.spots]
    missed = next((place for place, one in enumerate(spots) if one.judgement == "missed"), len(spots))
    met = [place for place in range(missed) if spots[place].judgement == "met" and spots[place].load > 0]
    best = max(met, key=lambda place: spots[place].load, default=None)
    low = None if best is None else spots[best].load
    too_much = [one.spot.load for one in spots[missed:] if one.judgement == "missed"]
    high = min((load for load in too_much if load > (low or 0.0)), default=None)
    after = spots[0 if best is None else best + 1 :]
    return Capacity(
        low=low,
        high=high,
        spots=spots,
        limits=_limits(after),
        reason="" if low is not None else _reason(spots, objectives),
    )


def _judged(spot: OperatingPoint, objectives: Sequence[Objective]) -> JudgedPoint:
    found = {one: spot.called.get(one.name) or judge(spot.figures.get(one.name), one) for one in objectives}
    against = [_against(spot, objective, result) for objective, result in found.items() if result != "met"]
    results = list(found.values())
    if spot.saturated:
        results, against = [*results, "missed"], [*against, "saturation"]
    elif spot.drifting:
        results, against = [*results, "unresolved"], [*against, "TTFT still rising: not settled"]
    return JudgedPoint(spot, min(spot.load_for(objective.name) for objective in objectives), combine(results), against)


def _against(spot: OperatingPoint, objective: Objective, result: Outcome) -> str:
    found = spot.figures.get(objective.name)
    if found is None:
        return f"{objective.name} not known from {spot.requests:,} requests"
    told = f"{objective.name} {_pair(objective, found)} of {format_value(objective.metric, objective.limit)}"
    return told if result == "missed" else f"{told}, not told by {spot.requests:,} requests"


def _pair(objective: Objective, found: Estimate) -> str:
    low, value, high = (format_value(objective.metric, one) for one in (found.low, found.value, found.high))
    return value if "-" in (low, high) else f"{value} ({low} to {high})"


def _limits(after: Sequence[JudgedPoint]) -> list[str]:
    """What is missed at the first load that is missed; failing that, what is unresolved at the first."""
    first = next((one for one in after if one.judgement == "missed"), after[0] if after else None)
    return [] if first is None else [*first.against, *first.spot.server]


def _reason(spots: Sequence[JudgedPoint], objectives: Sequence[Objective]) -> str:
    """Why nothing is surely met, by the lightest load."""
    first = spots[0]
    least = f"even at the least load, {first.load:.4g}/s"
    if first.judgement == "missed":
        return f"{least}: {'; '.join(first.against)}"
    advice = "ask for more requests a point" + (
        ", or for a lower percentile" if any(objective.figure in ("p99", "p99.9") for objective in objectives) else ""
    )
    return f"nothing is surely met, {least}: {'; '.join(first.against)}; {advice}"


# figures at a load


class _Line(Struct, frozen=True):
    """A figure along loads; an end of its interval is None where one of them is not known."""

    loads: list[float]
    value: list[float]
    low: list[float] | None
    high: list[float] | None


class CapacityModel:
    """The figures of the usable part of a curve, at any load up to the highest."""

    def __init__(self, spots: Sequence[OperatingPoint]) -> None:
        self.spots = sorted(spots, key=lambda spot: spot.load)
        self._known: dict[str, _Line | None] = {}

    def at(self, load: float, name: str) -> Estimate | None:
        """A figure at this load; below the lowest measured, what it is there. None where some spot has none."""
        if name not in self._known:
            self._known[name] = self._line(name)
        line = self._known[name]
        if line is None:
            return None
        low, high = (None if side is None else _read(line.loads, side, load) for side in (line.low, line.high))
        return Estimate(_read(line.loads, line.value, load), low, high)

    def _line(self, name: str) -> _Line | None:
        """Along loads that rise: of several spots at one load the first, which has fewer in flight."""
        known = [(spot.load_for(name), spot.figures.get(name)) for spot in self.spots]
        loads = [
            load for place, (load, _) in enumerate(known) if not place or load > max(at for at, _ in known[:place])
        ]
        found = [next(one for at, one in known if at == load) for load in loads]
        values = [one for one in found if one is not None]
        if len(values) < len(found):
            return None
        sides = ([one.value for one in values], [one.low for one in values], [one.high for one in values])
        value, low, high = (_monotone(side, falls=name == ATTAINMENT) for side in sides)
        return _Line(loads, value or [], low, high)

    def basis(self, load: float) -> Basis:
        """Where figures at a load come from."""
        loads = [spot.load for spot in self.spots]
        if any(spot.carried for spot in self.spots):
            return "derived"
        if any(abs(load - other) <= SAME * other for other in loads):
            return "measured"
        return "interpolated" if loads[0] < load < loads[-1] else "extrapolated"


def _read(loads: Sequence[float], values: Sequence[float], load: float) -> float:
    after = bisect_left(loads, load)
    if after == 0 or after == len(loads):
        return values[min(after, len(values) - 1)]
    share = (load - loads[after - 1]) / (loads[after] - loads[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])


def _monotone(values: Sequence[float | None], falls: bool) -> list[float] | None:
    known = [-value if falls else value for value in values if value is not None]
    return [-value if falls else value for value in isotonic(known)] if len(known) == len(values) else None


def isotonic(values: Sequence[float]) -> list[float]:
    """The rising sequence that is nearest in least squares: pool adjacent violators (Barlow et al., Statistical
    Inference under Order Restrictions, 1972)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            before, times = pools.pop()
            total, count = total + before, count + times
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]
