"""A sweep in progress: one run after the other, as a strategy chooses them, into one folder.

The strategy decides from what has been measured so far, so that a sweep resumes after an interruption. The caller does
the runs themselves. A run that cannot start becomes a point with a reason, and does not end the sweep.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config, flag
from loadstone.dataset import READERS, resolve
from loadstone.engine import run_folder
from loadstone.errors import ConfigError, UsageError
from loadstone.summary import EndReason, Summary
from loadstone.sweep import folder
from loadstone.sweep.fresh_prompts import FreshPrompts
from loadstone.sweep.grid import describe
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep, SweepPoint

# Requests of a point with neither -n nor a time: so many for each slot of the concurrency ...
PER_SLOT = 10
# ... or as many as arrive in so many seconds ...
SECONDS = 30
# ... and at least this many.
MIN_REQUESTS = 100
# Keys of a search's rule that are given by a flag of another name.
RULES = {
    "field": "search", "first": "requests", "range_start": "begin", "range_least": "at_least",
    "range_most": "at_most", "range_within": "within", "range_probes": "max_points",
}  # fmt: skip


class NextRun(Struct, frozen=True):
    """A run to do at a point.

    overrides: settings of this run alone
    numbered: it is one of several at its point, each in a numbered folder
    """

    point: SweepPoint
    overrides: dict[str, Any] = {}
    numbered: bool = False


# Returns what to run next, from what has been measured; None when the sweep is complete.
Strategy = Callable[[Sweep], NextRun | None]
# Does a run in `config.output`. Raises UsageError if it cannot start.
RunOnce = Callable[[Config], Summary]


class SweepRun:
    """Run a sweep in a folder, or resume the one that is there.

    Raise UsageError if the folder holds something else, ConfigError if it holds a sweep with other settings or a
    point makes no sense.
    """

    def __init__(self, path: Path, grid: Grid, config: Config, notice: Callable[[str], None] = lambda _: None) -> None:
        self.path, self._config, self._notice = path, config, notice
        if folder.is_sweep(path):
            before = folder.read_sweep(path).grid
            _check_same(path, before, grid)
            # Points that the sweep has chosen so far stay. What could not be run is tried again.
            points = before.places if grid.rule else grid.places
            points = [msgspec.structs.replace(point, failed=None) for point in points]
            grid = msgspec.structs.replace(grid, places=points, note=before.note)
        else:
            run_folder.check_free(path)
        if config.dataset == "-":
            raise ConfigError(
                "--dataset - can be read once, and a sweep reads it at every point: give a file", field="dataset"
            )
        for point in grid.places:
            point_config(config, point.settings)
        self.sweep = Sweep(grid, [folder.load_point(path, point) for point in grid.places])
        self._prompts = FreshPrompts(config.seed, frozenset(grid.varied))
        self._folder: run_folder.RunFolder | None = None

    def run(self, strategy: Strategy, run_once: RunOnce, between: Callable[[], None] = lambda: None) -> str:
        """Run to the end and return `done`, or `interrupted`. `between` is called before every run but the first."""
        for config, sent in folder.all_runs(self.path):
            self._prompts.add(config, sent)
        runs = 0
        while (next_run := strategy(self.sweep)) is not None:
            try:
                if runs:
                    between()
                summary = self._run(next_run, run_once)
            except KeyboardInterrupt:
                return "interrupted"
            if summary is not None and summary.run.ended == EndReason.INTERRUPTED:
                return "interrupted"
            runs += 1
        return "done"

    def save_note(self, note: str) -> None:
        """Write the result in words into sweep.json."""
        self.sweep = Sweep(msgspec.structs.replace(self.sweep.grid, note=note), self.sweep.points)
        self._save()

    def _run(self, next_run: NextRun, run_once: RunOnce) -> Summary | None:
        """Do one run and note its result. Return None if it could not start."""
        point = next_run.point
        failed = summary = None
        try:
            for moved in folder.move_unfinished(self.path, point.name):
                self._notice(f"{point.name} was not finished: what there is of it is now in {moved}")
            self._add_point(point)
            config = self._config_of(next_run)
            summary = run_once(config)
            self._prompts.add(summary.run.config, folder.count_records(Path(config.output or "")))
        except UsageError as exc:
            if not any(known.runs or known.failed for known in self.sweep.points):
                # Nothing has been run, so nothing is left behind.
                (self.path / folder.SWEEP).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # something else is in it
                    self.path.rmdir()
                raise
            failed = str(exc)
            self._notice(f"{describe(point.settings)} could not be run: {failed}")

        # Note the result of the point.
        grid = self.sweep.grid
        places = [msgspec.structs.replace(old, failed=failed) if old.name == point.name else old for old in grid.places]
        points = {known.name: known for known in self.sweep.points}
        points[point.name] = folder.load_point(self.path, SweepPoint(point.name, point.settings, failed))
        self.sweep = Sweep(msgspec.structs.replace(grid, places=places), list(points.values()))
        self._save()
        return summary

    def _config_of(self, next_run: NextRun) -> Config:
        """Return the configuration of a run, with its folder, its label and prompts not used before."""
        point = next_run.point
        config = point_config(self._config, {**point.settings, **next_run.overrides})
        generated = resolve.resolve(config.dataset, READERS)[1] is None
        output, number = self.path / point.name, 1
        if next_run.numbered:
            while (output / str(number)).exists():
                number += 1
            output /= str(number)
        label = " ".join(part for part in (self._config.label, point.name) if part)
        fresh = self._prompts.settings_for(config.dataset, generated)
        return dataclasses.replace(config, output=str(output), label=label, **fresh)

    def _add_point(self, point: SweepPoint) -> None:
        """Write sweep.json with the point before it is run. The folder is made with the first run."""
        self._folder = self._folder or run_folder.RunFolder(self.path, new=False)
        known = {measured.name: measured for measured in self.sweep.points}
        if point.name not in known:
            known[point.name] = MeasuredPoint(point.name, point.settings, [])
            # By rising load, for each combination of the other settings.
            grid = self.sweep.grid
            field = str(grid.rule.get("field"))
            others: dict[str, str] = {}
            for planned in [*grid.places, point]:
                rest = {name: value for name, value in planned.settings.items() if name != field}
                others[planned.name] = describe(rest)
            order = list(dict.fromkeys(others.values()))
            places = sorted(
                [*grid.places, point],
                key=lambda planned: (order.index(others[planned.name]), planned.settings[field]),
            )
            grid = msgspec.structs.replace(grid, places=places)
            self.sweep = Sweep(grid, [known[planned.name] for planned in places])
        self._save()

    def _save(self) -> None:
        if self._folder:
            self._folder.write_json(folder.SWEEP, self.sweep.grid)


def next_grid_run(sweep: Sweep) -> NextRun | None:
    """Return the next run of a fixed grid: each point in turn, as often as it is to be repeated."""
    for point in sweep.points:
        if point.failed is None and len(point.runs) < sweep.grid.repeat:
            return NextRun(SweepPoint(point.name, point.settings), numbered=sweep.grid.repeat > 1)
    return None


def point_config(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return the configuration of a point.

    Without a number of requests or a time it has enough requests to hold the load for a while. Raise
    ConfigError, naming the point, if the settings make no sense together.
    """
    try:
        config = dataclasses.replace(config, **settings)
        open_end = config.requests is None and config.duration is None and config.stages is None
        if open_end and config.arrivals != "replay":
            requests = None
            if config.rate is not None:
                requests = max(MIN_REQUESTS, round(SECONDS * config.rate))
            elif config.concurrency is not None:
                requests = max(MIN_REQUESTS, PER_SLOT * config.concurrency)
            config = dataclasses.replace(config, requests=requests)
        return config.check()
    except UsageError as exc:
        raise exc.with_message(f"at {describe(settings)}: {exc}" if settings else str(exc)) from exc


def _check_same(path: Path, before: Grid, now: Grid) -> None:
    """Raise ConfigError unless the same command has made both grids."""
    # A setting that the version which began the sweep did not know had its default.
    config = Config().redacted() | before.config
    differing = [name for name in now.config if now.config[name] != config.get(name)]
    if not differing:
        fixed = not now.rule and before.places
        # As sweep.json holds them.
        settings = [msgspec.json.decode(msgspec.json.encode(point.settings)) for point in now.places]
        if before.varied != now.varied or (fixed and [point.settings for point in before.places] != settings):
            differing.append("points")
        if before.repeat != now.repeat:
            differing.append("repeat")
        # By the flags that choose points. More requests for a probe resume the search.
        if before.rule.get("by") != now.rule.get("by"):
            differing.append("auto or slo")
        else:
            names = [name for name in {**before.rule, **now.rule} if before.rule.get(name) != now.rule.get(name)]
            differing += dict.fromkeys(RULES.get(name, name) for name in names if name != "most")
    if differing:
        names = [flag(name) for name in differing[:5]]
        raise ConfigError(
            f"{path} holds a sweep with other settings ({', '.join(names)}): give the same command to go on with it, or"
            " another -o"
        )
