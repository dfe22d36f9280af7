"""A sweep as JSON: what sweep.json holds, the summary of every run, and what a search has found."""

from __future__ import annotations

from msgspec import Struct

from loadstone.sweep.points import Grid, Point, Sweep
from loadstone.sweep.slo_search import Found
from loadstone.report.json import indented


class _Whole(Struct):
    grid: Grid
    points: list[Point]
    search: Found | None


def render(sweep: Sweep, found: Found | None) -> str:
    return indented(_Whole(sweep.grid, sweep.points, found))
