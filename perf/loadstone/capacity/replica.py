"""The capacity of one replica within objectives, and its figures at any load, from a Curve.

Pure. Capacity is an interval between loads that were measured: the highest at which all objectives are certainly met,
and the lowest at which one is certainly missed. Loads above the highest measured are unknown. Between two points,
figures are interpolated linearly, after isotonic regression has made them rise with load. Loads of a closed loop are
those at random arrivals (queueing.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.capacity.curves import Curve, OperatingPoint
from loadstone.config.slo import Objective, format_value
from loadstone.metrics.slo import Estimate, Outcome, combine, judge

Basis = Literal["measured", "interpolated", "extrapolated", "derived"]
# A load this near to a measured one, as a fraction of it, counts as measured.
SAME = 0.01


class JudgedPoint(Struct, frozen=True):
    """A point judged by the objectives.

    load: requests/s that it stands for
    against: what is not met, in words
    """

    spot: OperatingPoint
    load: float
    judgement: Outcome
    against: list[str]


class Capacity(Struct, frozen=True, kw_only=True):
    """The capacity of one replica, requests/s.

    low: certainly within the objectives, None if no load is
    high: certainly too much, None if no load was
    limits: what prevents more than `low`
    reason: why there is no `low`
    """

    low: float | None
    high: float | None
    spots: list[JudgedPoint]
    limits: list[str]
    reason: str = ""

    @property
    def usable(self) -> list[JudgedPoint]:
        """Return the points up to the capacity, which a plan may use."""
        return [one for one in self.spots if self.low is not None and one.load <= self.low]


def find_capacity(curve: Curve, objectives: Sequence[Objective]) -> Capacity:
    """Return the capacity by rising load, up to the first point that is missed."""
    spots = [_judge(spot, objectives) for spot in curve.spots]
    first_missed = next((index for index, one in enumerate(spots) if one.judgement == "missed"), len(spots))
    met = [index for index in range(first_missed) if spots[index].judgement == "met" and spots[index].load > 0]
    best = max(met, key=lambda index: spots[index].load, default=None)
    low = None if best is None else spots[best].load
    too_much = [one.spot.load for one in spots[first_missed:] if one.judgement == "missed"]
    high = min((load for load in too_much if load > (low or 0.0)), default=None)

    # What prevents more: what the first load that is missed misses, else what the first unresolved load leaves open.
    beyond = spots[0 if best is None else best + 1 :]
    limit = next((one for one in beyond if one.judgement == "missed"), beyond[0] if beyond else None)
    limits = [] if limit is None else [*limit.against, *limit.spot.server]
    reason = "" if low is not None else _reason(spots[0], objectives)
    return Capacity(low=low, high=high, spots=spots, limits=limits, reason=reason)


def _judge(spot: OperatingPoint, objectives: Sequence[Objective]) -> JudgedPoint:
    judgements, against = [], []
    for objective in objectives:
        figure = spot.figures.get(objective.name)
        judgement = spot.called.get(objective.name) or judge(figure, objective)
        judgements.append(judgement)
        if judgement == "met":
            continue
        if figure is None:
            against.append(f"{objective.name} unknown after {spot.requests:,} requests")
            continue
        low, value, high = (format_value(objective.metric, one) for one in (figure.low, figure.value, figure.high))
        interval = "" if "-" in (low, high) else f" ({low} to {high})"
        text = f"{objective.name} {value}{interval} of {format_value(objective.metric, objective.limit)}"
        against.append(text if judgement == "missed" else f"{text}, undecided after {spot.requests:,} requests")
    if spot.saturated:
        judgements.append("missed")
        against.append("saturation")
    elif spot.drifting:
        judgements.append("unresolved")
        against.append("TTFT still rising: not settled")
    load = min(spot.load_for(objective.name) for objective in objectives)
    return JudgedPoint(spot, load, combine(judgements), against)


def _reason(lowest: JudgedPoint, objectives: Sequence[Objective]) -> str:
    """Return why no load is certainly met, by the lowest one."""
    text = f"even at the lowest load, {lowest.load:.4g}/s: {'; '.join(lowest.against)}"
    if lowest.judgement == "missed":
        return text
    advice = "measure more requests a point"
    if any(objective.figure in ("p99", "p99.9") for objective in objectives):
        advice += ", or choose a lower percentile"
    return f"no load is certainly met, {text}; {advice}"


class _Line(Struct, frozen=True):
    """A figure along loads. An end of its interval is None where it is unknown at some load."""

    loads: list[float]
    value: list[float]
    low: list[float] | None
    high: list[float] | None


class CapacityModel:
    """The figures of the usable part of a curve, at any load up to the highest.

    falling: names of the figures that fall as the load rises
    """

    def __init__(self, spots: Sequence[OperatingPoint], falling: Collection[str] = ()) -> None:
        self.spots = sorted(spots, key=lambda spot: spot.load)
        self._falling = falling
        self._lines: dict[str, _Line | None] = {}

    def at(self, load: float, name: str) -> Estimate | None:
        """Return a figure at a load; None if a point lacks it. Below the lowest load measured it is constant."""
        if name not in self._lines:
            self._lines[name] = self._line(name)
        line = self._lines[name]
        if line is None:
            return None
        low, high = (None if side is None else _interpolate(line.loads, side, load) for side in (line.low, line.high))
        return Estimate(_interpolate(line.loads, line.value, load), low, high)

    def _line(self, name: str) -> _Line | None:
        """Return a figure along rising loads: of several points at one load the first, which has fewer in flight."""
        loads: list[float] = []
        figures: list[Estimate] = []
        for spot in self.spots:
            load, figure = spot.load_for(name), spot.figures.get(name)
            if loads and load <= loads[-1]:
                continue
            if figure is None:
                return None
            loads.append(load)
            figures.append(figure)
        sides = ([one.value for one in figures], [one.low for one in figures], [one.high for one in figures])
        value, low, high = (_monotone(side, falls=name in self._falling) for side in sides)
        return _Line(loads, value or [], low, high)

    def basis(self, load: float) -> Basis:
        """Return where figures at a load come from."""
        loads = [spot.load for spot in self.spots]
        if any(spot.carried for spot in self.spots):
            return "derived"
        if any(abs(load - other) <= SAME * other for other in loads):
            return "measured"
        return "interpolated" if loads[0] < load < loads[-1] else "extrapolated"


def _interpolate(loads: Sequence[float], values: Sequence[float], load: float) -> float:
    after = bisect_left(loads, load)
    if after == 0 or after == len(loads):
        return values[min(after, len(values) - 1)]
    weight = (load - loads[after - 1]) / (loads[after] - loads[after - 1])
    return values[after - 1] + weight * (values[after] - values[after - 1])


def _monotone(values: Sequence[float | None], falls: bool) -> list[float] | None:
    known = [-value if falls else value for value in values if value is not None]
    return [-value if falls else value for value in isotonic(known)] if len(known) == len(values) else None


def isotonic(values: Sequence[float]) -> list[float]:
    """Return the rising sequence that is nearest in least squares.

    By pooling adjacent violators (Barlow et al., Statistical Inference under Order Restrictions, 1972).
    """
    pools: list[tuple[float, int]] = []
    for value in values:
        total, count = value, 1
        while pools and pools[-1][0] / pools[-1][1] >= total / count:
            before, times = pools.pop()
            total, count = total + before, count + times
        pools.append((total, count))
    return [total / count for total, count in pools for _ in range(count)]
