"""A sweep as JUnit XML suites: a case for each point, and one for each answer of a search."""

from __future__ import annotations

from collections.abc import Sequence

from loadstone.metrics.slo import Outcome
from loadstone.report.junit import Case, Suite
from loadstone.sweep.points import Sweep
from loadstone.sweep.slo_search import SearchResult


def sweep_suites(sweep: Sweep, result: SearchResult | None, failed: Sequence[str]) -> list[Suite]:
    """Return the suites of a sweep. `failed`: names of the points that count as failures."""
    points = []
    for point in sweep.points:
        counts = [run.counts for run in point.runs]
        text = f"{sum(c.failed for c in counts)} of {sum(c.completed for c in counts)} requests failed"
        points.append(Case(point.name, "missed" if point.name in failed else "met", point.failed or text))
    suites = [Suite(f"loadstone sweep {sweep.grid.label}".strip(), points)]
    if result is None:
        return suites

    cases = []
    for outcome in result.outcomes:
        low, high = outcome.answer.low, outcome.answer.high
        names = [*result.objectives, *(f"{name}={value}" for name, value in outcome.settings.items())]
        status: Outcome = "met" if low is not None else "missed" if high is not None else "unresolved"
        ends = f"{'-' if low is None else f'{low:g}'} to {'-' if high is None else f'{high:g}'}"
        gap = f"; {outcome.said}" if outcome.said else ""
        cases.append(Case(", ".join(names), status, f"highest {result.field} that meets them: {ends}{gap}"))
    return [*suites, Suite("objectives", cases)]
