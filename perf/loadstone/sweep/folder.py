"""Sweeps on disk: a folder with sweep.json, and below it the folder of a run (or of its repeats) for each point.

A run counts when it has come to its end. What was interrupted or killed is moved aside, into `unfinished`, and made
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone import results
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.report.json import to_json
from loadstone.summary import Summary
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep, SweepPoint
from loadstone.sweep.slo_search import SearchResult

SWEEP, ASIDE = "sweep.json", "unfinished"


def read_sweep(path: Path) -> Sweep:
    """Raises UsageError where there is no sweep. Points without results have no runs."""
    try:
        grid = msgspec.json.decode((path / SWEEP).read_bytes(), type=Grid)
    except OSError as exc:
        raise UsageError(f"{path} is not a sweep: no {SWEEP} in it ({exc.strerror})") from exc
    except msgspec.MsgspecError as exc:
        raise UsageError(f"{path / SWEEP} is not readable: {exc}") from exc
    return Sweep(grid, [load_point(path, place) for place in grid.places])


def is_sweep(path: Path) -> bool:
    return (path / SWEEP).is_file()


def load_point(path: Path, place: SweepPoint) -> MeasuredPoint:
    """A place with the summaries of its finished runs."""
    return MeasuredPoint(
        place.name, place.settings, [summary for _, summary in finished_runs(path / place.name)], place.failed
    )


def finished_runs(path: Path) -> list[tuple[Path, Summary]]:
    """The finished runs of a point's folder, in order, with their summaries as written when they ended."""
    return [(run, summary) for run in _runs(path) if (summary := _ended(run)) is not None]


def move_unfinished(path: Path, place: str) -> list[Path]:
    """Move what of a place is not finished out of its way; returns where it is now. Nothing is ever deleted."""
    folder = path / place
    if not folder.is_dir():
        return []
    left = [run for run in _parts(folder) if _ended(run) is None]
    return [_move(run, path / ASIDE, place if run == folder else f"{place}-{run.name}") for run in left]


def all_runs(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Of every run in a sweep's folder, whether it came to its end or not: its configuration, and requests sent."""
    for file in sorted(path.rglob(run_folder.RUN)):
        yield run_folder.load_run(file.parent).get("config") or {}, count_records(file.parent)


def _runs(path: Path) -> list[Path]:
    try:
        return run_folder.find_runs(path)
    except UsageError:
        return []


def _parts(folder: Path) -> list[Path]:
    """The folder itself where it is a run, or holds anything but folders; else the repeats in it."""
    inside = list(folder.iterdir())
    if (folder / run_folder.RUN).exists() or any(not part.is_dir() for part in inside):
        return [folder]
    return sorted(inside)


def _ended(run: Path) -> Summary | None:
    try:
        summary = results.decode_summary((run / "summary.json").read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return None if summary.run.get("ended") in (None, "interrupted") else summary


def _move(run: Path, to: Path, name: str) -> Path:
    to.mkdir(exist_ok=True)
    number = 1
    while (there := to / f"{name}-{number}").exists():
        number += 1
    return run.rename(there)


def count_records(run: Path) -> int:
    """Requests that a run has recorded, finished or not."""
    whole = run / run_folder.RECORDS
    files = [whole] if whole.exists() else run_folder.find_shards(run)
    return sum(chunk.count(b"\n") for file in files for chunk in _chunks(file))


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as lines:
        while data := lines.read(1 << 20):
            yield data


class _Whole(Struct):
    grid: Grid
    points: list[MeasuredPoint]
    search: SearchResult | None


def render(sweep: Sweep, found: SearchResult | None) -> str:
    return to_json(_Whole(sweep.grid, sweep.points, found))
