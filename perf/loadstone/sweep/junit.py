"""A sweep as JUnit XML suites: a case a point, and one for the objectives of a search."""

from __future__ import annotations

from collections.abc import Sequence

from loadstone.metrics.slo import Outcome
from loadstone.report.junit import Case, Suite
from loadstone.sweep.points import MeasuredPoint, Sweep
from loadstone.sweep.slo_search import SearchOutcome as Search
from loadstone.sweep.slo_search import SearchResult


def sweep_suites(sweep: Sweep, found: SearchResult | None, failed: Sequence[str]) -> list[Suite]:
    """A test for each point, which `failed` or did not, and for the objectives of a search."""
    points = [Case(point.name, "missed" if point.name in failed else "met", point.failed or _counted(point))
              for point in sweep.points]  # fmt: skip
    name = f"loadstone sweep {sweep.grid.label}".strip()
    if found is None:
        return [Suite(name, points)]
    return [Suite(name, points), Suite("objectives", [_searched(found, outcome) for outcome in found.outcomes])]


def _counted(point: MeasuredPoint) -> str:
    counts = [run.counts for run in point.runs]
    return f"{sum(c.failed for c in counts)} of {sum(c.completed for c in counts)} requests failed"


def _searched(found: SearchResult, outcome: Search) -> Case:
    low, high = outcome.answer.low, outcome.answer.high
    names = [*found.objectives, *(f"{name}={value}" for name, value in outcome.settings.items())]
    ends = f"{'-' if low is None else f'{low:g}'} to {'-' if high is None else f'{high:g}'}"
    told: Outcome = "met" if low is not None else "missed" if high is not None else "unresolved"
    said = f"; {outcome.said}" if outcome.said else ""
    return Case(", ".join(names), told, f"highest {found.field} that meets them: {ends}{said}")
