"""Sweeps on disk: a folder with sweep.json, and below it the folder of a run (or of its repeats) for each point."""

from __future__ import annotations

from pathlib import Path

import msgspec

from loadstone import results, store
from loadstone.points import Grid, Point, Sweep
from loadstone.records import Summary, UsageError

SWEEP = "sweep.json"


def read(path: Path) -> Sweep:
    """Raises UsageError where there is no sweep. Points without results have no runs."""
    try:
        grid = msgspec.json.decode((path / SWEEP).read_bytes(), type=Grid)
    except OSError as exc:
        raise UsageError(f"{path} is not a sweep: no {SWEEP} in it ({exc.strerror})") from exc
    except msgspec.MsgspecError as exc:
        raise UsageError(f"{path / SWEEP} is not readable: {exc}") from exc
    return Sweep(grid, [Point(place.name, place.settings, _runs(path / place.name)) for place in grid.places])


def _runs(path: Path) -> list[Summary]:
    """Of the finished runs in it; the summaries as written when they ended."""
    if not path.is_dir():
        return []
    found = [run / "summary.json" for run in store.runs(path)]
    return [results.load_summary(file.read_bytes()) for file in found if file.exists()]
