"""Throughput per user against total throughput: both for each point of a sweep, and the Pareto front. Pure.

The throughput of a user is that of a response while it streams, 1 over the median TPOT, as InferenceMAX counts
interactivity. `vllm bench sweep plot_pareto` divides the total by the number of users instead, which includes waiting.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from loadstone.summary import Summary
from loadstone.sweep.points import MeasuredPoint, rates_under_load


class ParetoPoint(Struct, frozen=True):
    """A point by its two throughputs.

    per_user: output tokens/s of one user, None if unknown
    total: output tokens/s of the server or, where their number is known, of each GPU; None if unknown
    """

    name: str
    per_user: float | None
    total: float | None


def pareto_point(point: MeasuredPoint, gpus: int | None = None) -> ParetoPoint:
    """Return both throughputs of a point, as means over its runs."""
    total = mean([throughput(run) for run in point.runs])
    each = mean([per_user(run) for run in point.runs])
    return ParetoPoint(point.name, each, None if total is None else total / (gpus or 1))


def pareto_front(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Return the points that no other point beats in both, by rising throughput per user."""
    known = [(one.per_user, one.total, one) for one in points if one.per_user is not None and one.total is not None]
    known.sort(key=lambda triple: triple[:2])
    best, front = -1.0, list[ParetoPoint]()
    for _, total, one in reversed(known):
        if total > best:
            best = total
            front.append(one)
    return front[::-1]


def per_user(summary: Summary) -> float | None:
    """Return the output tokens/s of a response while it streams."""
    tpot = summary.metrics.get("tpot")
    return None if tpot is None or not tpot.p50 else 1 / tpot.p50


def throughput(summary: Summary) -> float | None:
    """Return the total output tokens/s under the load that was requested."""
    return rates_under_load(summary).get("output_throughput")


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, None if any value is unknown or there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
