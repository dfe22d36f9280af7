"""The knee of a server's curve: loads are doubled until more load adds no throughput, then refined around the knee.

Pure. The knee is the load of most power, throughput over latency (L. Kleinrock, Power and deterministic rules of thumb,
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

# Relative gain of throughput for a doubled load, below which the server is saturated.
GAIN = 0.05
# Ratio between neighbouring loads at which the knee is known well enough, unless --within is given.
WITHIN = 1.25
# Loads to measure at most, unless --max-points is given.
POINTS = 16


class Level(Struct, frozen=True):
    """A load as measured.

    throughput: 0 where nothing succeeded
    latency: mean, s
    margin: half-width of the interval of the throughput, as a fraction of it
    client_unfit: the client spoiled a run
    """

    load: float
    throughput: float
    latency: float
    margin: float = 0.0
    client_unfit: bool = False


def level(point: MeasuredPoint, field: str) -> Level | None:
    """Return a point as a level, None while it has no runs.

    The relative error of the throughput of a closed loop is that of its mean latency, by Little's law; that of an open
    loop is no larger.
    """
    if not point.runs:
        return None
    unfit = any(map(client_faults, point.runs))
    output = mean([throughput(run) or run.rates.get("qps") for run in point.runs])
    latencies = [run.metrics.get("latency") for run in point.runs]
    latency = mean([metric.mean if metric else None for metric in latencies])
    if not output or not latency:
        return Level(float(point.settings[field]), 0.0, math.inf, client_unfit=unfit)
    margins = [(interval[1] - interval[0]) / 2 / latency for metric in latencies
               if metric and (interval := metric.ci95.get("mean"))]  # fmt: skip
    margin = max(margins, default=0.0) / math.sqrt(len(point.runs))
    return Level(float(point.settings[field]), output, latency, margin, unfit)


def next_load(levels: Sequence[Level], bounds: Range) -> float | None:
    """Return the load to measure next, None when the knee is known well enough or all points are used."""
    levels = sorted(levels, key=lambda level: level.load)
    if not levels:
        return fit(bounds.start, bounds)
    if len(levels) >= bounds.max_points:
        return None
    if not saturated(levels):
        return fit(2 * levels[-1].load, bounds) if levels[-1].load < bounds.highest else None

    # The middle of the wider gap beside the knee.
    best = knee(levels)
    if best is None:
        return None
    index = levels.index(best)
    loads = [level.load for level in levels[max(0, index - 1) : index + 2]]
    for begin, end in sorted(pairwise(loads), key=lambda gap: gap[0] / gap[1]):
        middle = fit(math.sqrt(begin * end), bounds)
        if end / begin > bounds.within * (1 + 1e-9) and begin < middle < end:
            return middle
    return None


def saturated(levels: Sequence[Level]) -> bool:
    """Return True if the last doubling of the load gained less than GAIN: with its margin, or twice in a row."""
    top = max(levels, key=lambda level: level.load)
    half = _half(levels, top)
    gain, margin = _gain(half, top)
    return gain + margin < GAIN or (gain < GAIN and half is not None and _gain(_half(levels, half), half)[0] < GAIN)


def knee(levels: Sequence[Level]) -> Level | None:
    """Return the level of most power."""
    return max((one for one in levels if one.throughput), key=lambda one: one.throughput / one.latency, default=None)


def describe(levels: Sequence[Level]) -> str:
    """Return the result in words."""
    best, levels = knee(levels), sorted(levels, key=lambda level: level.load)
    if best is None:
        return "nothing succeeded at any load"
    if not saturated(levels):
        return f"there is no knee up to {levels[-1].load:g}, the highest load tried: throughput still grew"
    others = [one.load for one in levels if one.load != best.load]
    below = max((load for load in others if load < best.load), default=None)
    above = min((load for load in others if load > best.load), default=None)
    span = f" (between {below or best.load:g} and {above or best.load:g})" if others else ""
    text = f"the knee is at {best.load:g}{span}: beyond it latency grows faster than throughput"
    unfit = [f"{one.load:g}" for one in levels if one.client_unfit and one.load >= (below or best.load)]
    if unfit:
        text += f"; at {', '.join(unfit)} the client was unfit, so the knee may be the client's and not the server's"
    return text


def _half(levels: Sequence[Level], top: Level) -> Level | None:
    """Return the highest level at half the load of `top` or less."""
    below = [one for one in levels if one.load <= top.load / 2 * (1 + 1e-9)]
    return max(below, key=lambda level: level.load, default=None)


def _gain(before: Level | None, now: Level) -> tuple[float, float]:
    """Return the relative growth of throughput for each doubling of the load between two levels, and its margin."""
    if before is None or not before.throughput:
        return math.inf, 0.0
    ratio, doublings = now.throughput / before.throughput, math.log2(now.load / before.load)
    margin = ratio * math.hypot(before.margin, now.margin) / doublings
    return (math.pow(ratio, 1 / doublings) if ratio else 0.0) - 1, margin
