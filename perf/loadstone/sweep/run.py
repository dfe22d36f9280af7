"""A sweep under way: run after run as a guide asks for them, into one folder, until there is no more to ask.

The guide decides from what was measured so far, so that a sweep which was interrupted goes on where it stopped. Runs
themselves are handed to whoever called; a run that cannot be made is a point with a reason, not an end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.config.schema import Config, flag
from loadstone.dataset import READERS
from loadstone.dataset import resolve as names
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.summary import Summary
from loadstone.sweep import folder as sweeps
from loadstone.sweep.fresh_prompts import FreshPrompts
from loadstone.sweep.grid import describe
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep, SweepPoint

# Requests of a point for which neither -n nor a time is given: so many a slot, or as arrive in so many seconds.
PER_SLOT, SECONDS, LEAST = 10, 30, 100
# What of the rule of a search is given by which flag.
RULES = {
    "field": "search", "first": "requests", "range_start": "begin", "range_least": "at_least",
    "range_most": "at_most", "range_within": "within", "range_probes": "max_points",
}  # fmt: skip


class NextRun(Struct, frozen=True):
    """One run to be made at a place. `overrides`: settings of this run alone; `numbered`: it is one of several at its place."""

    point: SweepPoint
    overrides: dict[str, Any] = {}
    numbered: bool = False


# What to run next, from what has been measured; None: all is done.
Strategy = Callable[[Sweep], NextRun | None]
# Makes a run in `config.output`. Raises UsageError where it cannot be made.
RunOnce = Callable[[Config], Summary]


class SweepRun:
    """Raises UsageError when the folder holds something else, or a sweep with other settings."""

    def __init__(self, path: Path, grid: Grid, config: Config, notice: Callable[[str], None] = lambda _: None) -> None:
        self.path, self._config, self._notice = path, config, notice
        if sweeps.is_sweep(path):
            before = sweeps.read_sweep(path)
            _same(path, before.grid, grid)
            grid = msgspec.structs.replace(grid, places=_places(before.grid, grid), note=before.grid.note)
        else:
            run_folder.check_free(path)
        if config.dataset == "-":
            raise UsageError("--dataset - can be read once, and a sweep reads it at every point: give a file")
        for place in grid.places:
            point_config(config, place.settings)
        self.sweep = Sweep(grid, [sweeps.load_point(path, place) for place in grid.places])
        self._stock = FreshPrompts(config.seed, frozenset(grid.varied))
        self._folder: run_folder.RunFolder | None = None

    def run(self, strategy: Strategy, run_once: RunOnce, between: Callable[[], None] = lambda: None) -> str:
        """To the end; returns `done`, or `interrupted`. `between` is called before every run but the first."""
        for used in sweeps.all_runs(self.path):
            self._stock.add(*used)
        runs = 0
        while (task := strategy(self.sweep)) is not None:
            try:
                if runs:
                    between()
                summary = self._make(task, run_once)
            except KeyboardInterrupt:
                return "interrupted"
            if summary is not None and summary.run.get("ended") == "interrupted":
                return "interrupted"
            runs += 1
        return "done"

    def save_note(self, note: str) -> None:
        """What came of it, for sweep.json."""
        self.sweep = Sweep(msgspec.structs.replace(self.sweep.grid, note=note), self.sweep.points)
        self._save()

    def _make(self, task: NextRun, go: RunOnce) -> Summary | None:
        failed = summary = None
        try:
            for there in sweeps.move_unfinished(self.path, task.point.name):
                self._notice(f"{task.point.name} was not finished: what there is of it is now in {there}")
            self._prepare(task.point)
            config = self._config_of(task)
            summary = go(config)
            self._stock.add(summary.run.get("config") or {}, sweeps.count_records(Path(config.output or "")))
        except UsageError as exc:
            if not any(point.runs or point.failed for point in self.sweep.points):
                self._leave()
                raise
            failed = str(exc)
            self._notice(f"{describe(task.point.settings)} could not be run: {failed}")
        self._note(task.point, failed)
        return summary

    def _config_of(self, task: NextRun) -> Config:
        settings = {**task.point.settings, **task.overrides}
        config = point_config(self._config, settings)
        made_up = names.resolve(config.dataset, READERS)[1] is None
        folder = self.path / task.point.name
        output = str(folder / str(_free(folder)) if task.numbered else folder)
        label = " ".join(part for part in (self._config.label, task.point.name) if part)
        fresh = self._stock.settings_for(config.dataset, made_up)
        return msgspec.structs.replace(config, output=output, label=label, **fresh)

    def _prepare(self, place: SweepPoint) -> None:
        """The folder is made with the first run, and knows every place before it is run."""
        self._folder = self._folder or run_folder.RunFolder(self.path, new=False)
        if place.name not in {point.name for point in self.sweep.points}:
            known = {point.name: point for point in self.sweep.points}
            known[place.name] = MeasuredPoint(place.name, place.settings, [])
            places = _in_order([*self.sweep.grid.places, place], self.sweep.grid)
            grid = msgspec.structs.replace(self.sweep.grid, places=places)
            self.sweep = Sweep(grid, [known[place.name] for place in places])
        self._save()

    def _leave(self) -> None:
        """Nothing has been run, so nothing is left behind."""
        (self.path / sweeps.SWEEP).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else is in it
            self.path.rmdir()

    def _note(self, place: SweepPoint, failed: str | None) -> None:
        """What has become of a place."""
        grid = self.sweep.grid
        places = [msgspec.structs.replace(old, failed=failed) if old.name == place.name else old for old in grid.places]
        known = {point.name: point for point in self.sweep.points}
        known[place.name] = sweeps.load_point(self.path, SweepPoint(place.name, place.settings, failed))
        self.sweep = Sweep(msgspec.structs.replace(grid, places=places), list(known.values()))
        self._save()

    def _save(self) -> None:
        if self._folder:
            self._folder.write_json(sweeps.SWEEP, self.sweep.grid)


def next_grid_run(sweep: Sweep) -> NextRun | None:
    """The guide of a grid: each place in turn, as often as wanted."""
    for point in sweep.points:
        if point.failed is None and len(point.runs) < sweep.grid.repeat:
            return NextRun(SweepPoint(point.name, point.settings), numbered=sweep.grid.repeat > 1)
    return None


def point_config(config: Config, settings: Mapping[str, Any]) -> Config:
    """The configuration of a point. Raises UsageError, naming the point, where it makes no sense."""
    try:
        made: Config = msgspec.structs.replace(config, **settings)
        return msgspec.structs.replace(made, requests=_requests(made)).check()
    except UsageError as exc:
        raise UsageError(f"at {describe(settings)}: {exc}" if settings else str(exc)) from exc


def _requests(config: Config) -> int | None:
    """As asked for; else enough that the load is held for a while."""
    unsaid = config.requests is None and config.duration is None and config.stages is None
    if not unsaid or config.arrivals == "replay":
        return config.requests
    if config.rate is not None:
        return max(LEAST, round(SECONDS * config.rate))
    return None if config.concurrency is None else max(LEAST, PER_SLOT * config.concurrency)


def _same(path: Path, before: Grid, now: Grid) -> None:
    """Raises UsageError unless the same command has made both."""
    settings = [name for name in now.config if now.config[name] != before.config.get(name)]
    if not settings:
        lists = before.varied != now.varied or (not now.rule and before.places and not _equal(before, now))
        unlike = [("points", lists), ("repeat", before.repeat != now.repeat)]
        settings = [name for name, differs in unlike if differs] + _unlike_rules(before.rule, now.rule)
    if settings:
        told = ", ".join(flag(name) for name in settings[:5])
        raise UsageError(
            f"{path} holds a sweep with other settings ({told}): give the same command to go on with it, or another -o"
        )


def _unlike_rules(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """By the flags that say how points are found. More requests for a probe go on with what there is."""
    if before.get("by") != now.get("by"):
        return ["auto or slo"]
    names = [name for name in {**before, **now} if name != "most" and before.get(name) != now.get(name)]
    return list(dict.fromkeys(RULES.get(name, name) for name in names))


def _equal(before: Grid, now: Grid) -> bool:
    return [place.settings for place in before.places] == [
        msgspec.json.decode(msgspec.json.encode(place.settings)) for place in now.places
    ]


def _places(before: Grid, now: Grid) -> list[SweepPoint]:
    """Those of before where they were chosen on the way; what could not be run is tried again."""
    places = before.places if now.rule else now.places
    return [msgspec.structs.replace(place, failed=None) for place in places]


def _in_order(places: Sequence[SweepPoint], grid: Grid) -> list[SweepPoint]:
    """Places that were found on the way, by the load that was looked for."""
    field = str(grid.rule.get("field"))
    others = {
        place.name: describe({name: value for name, value in place.settings.items() if name != field})
        for place in places
    }
    order = list(dict.fromkeys(others.values()))
    return sorted(places, key=lambda place: (order.index(others[place.name]), place.settings[field]))


def _free(folder: Path) -> int:
    """The next number of a run in a folder."""
    number = 1
    while (folder / str(number)).exists():
        number += 1
    return number
