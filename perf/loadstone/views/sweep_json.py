"""A sweep as JSON: what sweep.json holds, the summary of every run, and what a search has found."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from loadstone.points import Grid, Point, Sweep
from loadstone.search import Found


class _Whole(Struct):
    grid: Grid
    points: list[Point]
    search: Found | None


def render(sweep: Sweep, found: Found | None) -> str:
    whole = _Whole(sweep.grid, sweep.points, found)
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode() + "\n"
