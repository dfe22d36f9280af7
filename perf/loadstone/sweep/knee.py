"""Where a server's curve bends: loads doubled until more load brings no more throughput, then more of them around the
knee. Pure.

The knee is the load of most power, throughput over latency (L. Kleinrock, Power and deterministic rules of thumb,
1979): beyond it latency grows faster, in proportion, than throughput does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from loadstone.checks.rules import client_faults
from loadstone.sweep.pareto import mean, throughput
from loadstone.sweep.points import MeasuredPoint
from loadstone.sweep.slo_search import Range, fit

# Doubling the load must bring so much more throughput; what brings less is saturated.
GAIN = 0.05
WITHIN = 1.25
POINTS = 16


class Level(Struct, frozen=True):
    """A load as measured. `margin`: half-width of the interval of the throughput, as a share of it; `latency`: mean,
    seconds. A load at which nothing succeeded has no throughput. `client_unfit`: the client spoiled a run."""

    load: float
    throughput: float
    latency: float
    margin: float = 0.0
    client_unfit: bool = False


def level(point: MeasuredPoint, field: str) -> Level | None:
    """A point as a level; None while it has no runs. The throughput of a closed loop is as sure as its mean latency is,
    by Little's law, and that of an open loop is no less sure."""
    if not point.runs:
        return None
    unfit = any(map(client_faults, point.runs))
    output = mean([throughput(run) or run.rates.get("qps") for run in point.runs])
    latencies = [run.metrics.get("latency") for run in point.runs]
    middle = mean([metric.mean if metric else None for metric in latencies])
    if not output or not middle:
        return Level(float(point.settings[field]), 0.0, math.inf, client_unfit=unfit)
    margins = [(interval[1] - interval[0]) / 2 / middle for metric in latencies
               if metric and (interval := metric.ci95.get("mean"))]  # fmt: skip
    margin = max(margins, default=0.0) / math.sqrt(len(point.runs))
    return Level(float(point.settings[field]), output, middle, margin, unfit)


def next_load(levels: Sequence[Level], bounds: Range) -> float | None:
    """The load to measure next; None when the knee is known well enough, or the points are used up."""
    levels = sorted(levels, key=lambda level: level.load)
    if not levels:
        return fit(bounds.start, bounds)
    if len(levels) >= bounds.max_points:
        return None
    if not saturated(levels):
        return fit(2 * levels[-1].load, bounds) if levels[-1].load < bounds.highest else None
    return _around(levels, bounds)


def saturated(levels: Sequence[Level]) -> bool:
    """Whether the last doubling of the load brought less than GAIN: surely so, or twice in a row."""
    top = max(levels, key=lambda level: level.load)
    half = _half(levels, top)
    gain, margin = _gain(half, top)
    return gain + margin < GAIN or (gain < GAIN and half is not None and _gain(_half(levels, half), half)[0] < GAIN)


def knee(levels: Sequence[Level]) -> Level | None:
    """The level of most power."""
    return max((one for one in levels if one.throughput), key=lambda one: one.throughput / one.latency, default=None)


def describe(levels: Sequence[Level]) -> str:
    """What was found, in words."""
    best, levels = knee(levels), sorted(levels, key=lambda level: level.load)
    if best is None:
        return "nothing succeeded at any load"
    if not saturated(levels):
        return f"there is no knee up to {levels[-1].load:g}, the most that was tried: throughput still grew"
    near = [one.load for one in levels if one.load != best.load]
    below = max((load for load in near if load < best.load), default=None)
    above = min((load for load in near if load > best.load), default=None)
    span = f" (between {below or best.load:g} and {above or best.load:g})" if near else ""
    unfit = ", ".join(f"{one.load:g}" for one in levels if one.client_unfit and one.load >= (below or best.load))
    whose = f"; at {unfit} the client was unfit, so the knee may be the client's and not the server's" if unfit else ""
    return f"the knee is at {best.load:g}{span}: beyond it latency grows faster than throughput{whose}"


def _half(levels: Sequence[Level], top: Level) -> Level | None:
    """The highest at half the load or less."""
    below = [one for one in levels if one.load <= top.load / 2 * (1 + 1e-9)]
    return max(below, key=lambda level: level.load, default=None)


def _gain(before: Level | None, now: Level) -> tuple[float, float]:
    """Growth of throughput for each doubling of the load between two levels, and its margin."""
    if before is None or not before.throughput:
        return math.inf, 0.0
    ratio, doublings = now.throughput / before.throughput, math.log2(now.load / before.load)
    margin = ratio * math.hypot(before.margin, now.margin) / doublings
    return (math.pow(ratio, 1 / doublings) if ratio else 0.0) - 1, margin


def _around(levels: Sequence[Level], bounds: Range) -> float | None:
    """The middle of the wider gap beside the knee."""
    best = knee(levels)
    if best is None:
        return None
    for begin, end in sorted(_gaps(levels, levels.index(best)), key=lambda gap: gap[0] / gap[1]):
        middle = fit(math.sqrt(begin * end), bounds)
        if end / begin > bounds.within * (1 + 1e-9) and begin < middle < end:
            return middle
    return None


def _gaps(levels: Sequence[Level], place: int) -> list[tuple[float, float]]:
    ends = [levels[at].load for at in range(max(0, place - 1), min(len(levels), place + 2))]
    return list(pairwise(ends))
