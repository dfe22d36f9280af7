"""Sweeps on disk: a folder with sweep.json and, for each point, the folder of its run or of its repeats.

A run counts when it has ended. What was interrupted or killed is moved to the folder `unfinished`, and run again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone import results
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.errors import DataError, UsageError
from loadstone.report.json import to_json
from loadstone.summary import EndReason, Summary
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep, SweepPoint
from loadstone.sweep.slo_search import SearchResult

SWEEP, ASIDE = "sweep.json", "unfinished"
# Bytes read at a time.
_BLOCK = 1 << 20


def read_sweep(path: Path) -> Sweep:
    """Read a sweep; points without results have no runs. Raise DataError if there is none."""
    try:
        grid = msgspec.json.decode((path / SWEEP).read_bytes(), type=Grid)
    except OSError as exc:
        raise DataError(f"{path} is not a sweep: no {SWEEP} in it ({exc.strerror})", file=str(path / SWEEP)) from exc
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise DataError(f"{path / SWEEP} is not readable: {exc}", file=str(path / SWEEP)) from exc
    return Sweep(grid, [load_point(path, point) for point in grid.places])


def is_sweep(path: Path) -> bool:
    """Return True if a folder holds a sweep."""
    return (path / SWEEP).is_file()


def load_point(path: Path, point: SweepPoint) -> MeasuredPoint:
    """Return a point with the summaries of its finished runs. `path`: folder of the sweep."""
    runs = [summary for _, summary in finished_runs(path / point.name)]
    return MeasuredPoint(point.name, point.settings, runs, point.failed)


def finished_runs(path: Path) -> list[tuple[Path, Summary]]:
    """Return the finished runs in a point's folder, in order, with the summaries written when they ended."""
    try:
        runs = run_folder.find_runs(path)
    except UsageError:
        return []
    return [(run, summary) for run in runs if (summary := _finished(run)) is not None]


def move_unfinished(path: Path, point: str) -> list[Path]:
    """Move the unfinished runs of a point into `unfinished`, and return where they are now. Nothing is deleted."""
    folder = path / point
    if not folder.is_dir():
        return []
    # The folder is itself a run, or holds the repeats.
    inside = list(folder.iterdir())
    single = (folder / run_folder.RUN).exists() or any(not entry.is_dir() for entry in inside)
    moved = []
    for run in [folder] if single else sorted(inside):
        if _finished(run) is None:
            name, number = point if run == folder else f"{point}-{run.name}", 1
            (path / ASIDE).mkdir(exist_ok=True)
            while (target := path / ASIDE / f"{name}-{number}").exists():
                number += 1
            moved.append(run.rename(target))
    return moved


def all_runs(path: Path) -> Iterator[tuple[Config, int]]:
    """Yield the configuration of every run in a sweep's folder, finished or not, and the number of its requests."""
    for file in sorted(path.rglob(run_folder.RUN)):
        yield run_folder.load_run(file.parent).config, count_records(file.parent)


def _finished(run: Path) -> Summary | None:
    """Return the summary of a run that has ended, else None."""
    try:
        summary = results.decode_summary((run / "summary.json").read_bytes())
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None
    return None if summary.run.ended in (None, EndReason.INTERRUPTED) else summary


def count_records(run: Path) -> int:
    """Count the requests that a run has recorded, finished or not."""
    whole = run / run_folder.RECORDS
    count = 0
    for file in [whole] if whole.exists() else run_folder.find_shards(run):
        with file.open("rb") as lines:
            while block := lines.read(_BLOCK):
                count += block.count(b"\n")
    return count


class _SweepJson(Struct):
    grid: Grid
    points: list[MeasuredPoint]
    search: SearchResult | None


def render(sweep: Sweep, result: SearchResult | None) -> str:
    """Return a sweep with all its summaries as JSON."""
    return to_json(_SweepJson(sweep.grid, sweep.points, result))
