"""What a point of a sweep comes to: tokens/s of a user, tokens/s in all, and which points no other one beats. Pure.

A user's tokens/s are those of an answer while it streams, 1 over the median TPOT, as InferenceMAX counts interactivity;
`vllm bench sweep plot_pareto` divides the throughput by the number of users instead, which counts the wait as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from loadstone.summary import Summary
from loadstone.sweep.points import MeasuredPoint, rates_under_load


class ParetoPoint(Struct, frozen=True):
    """`per_user`: output tokens/s of one user; `total`: of the server, or of each of its GPUs. None: not known."""

    name: str
    per_user: float | None
    total: float | None


def pareto_point(point: MeasuredPoint, gpus: int | None = None) -> ParetoPoint:
    """The mean over the runs of a point."""
    each, total = mean([per_user(run) for run in point.runs]), mean([throughput(run) for run in point.runs])
    return ParetoPoint(point.name, each, None if total is None else total / (gpus or 1))


def pareto_front(trades: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Those that no other beats on both sides, in order of a user's tokens/s."""
    known = sorted((t for t in trades if t.per_user is not None and t.total is not None), key=_by_user)
    best, found = -1.0, list[ParetoPoint]()
    for one in reversed(known):
        if (one.total or 0.0) > best:
            best = one.total or 0.0
            found.append(one)
    return found[::-1]


def per_user(summary: Summary) -> float | None:
    """Output tokens/s of an answer while it streams."""
    tpot = summary.metrics.get("tpot")
    return None if tpot is None or not tpot.p50 else 1 / tpot.p50


def throughput(summary: Summary) -> float | None:
    """Output tokens/s under the load that was asked for."""
    return rates_under_load(summary).get("output_throughput")


def mean(values: Sequence[float | None]) -> float | None:
    """None where any is not known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _by_user(one: ParetoPoint) -> tuple[float, float]:
    return one.per_user or 0.0, one.total or 0.0
