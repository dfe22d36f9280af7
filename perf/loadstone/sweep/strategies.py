"""The guides of a sweep that finds its own points: to the knee (knee.py), or to the most load that meets objectives
(search.py). Both know only what has been measured, so that either goes on after an interruption.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadstone import results
from loadstone.errors import UsageError
from loadstone.metrics.slo import Objective
from loadstone.sweep import folder, grid, knee, slo_search
from loadstone.sweep import slo_probe as probes
from loadstone.sweep.points import MeasuredPoint, Sweep, SweepPoint
from loadstone.sweep.run import NextRun
from loadstone.sweep.slo_probe import Evidence, Probe
from loadstone.sweep.slo_search import Range, SearchOutcome, SearchResult

SEARCH = "search.json"
# Requests of a probe's first run, and no fewer than arrive in SHORTEST seconds or than ROUNDS for each slot.
FIRST = 200
SHORTEST = 10.0
ROUNDS = 5
# Requests ahead of a probe's run, as a share of it: a queue takes time to become what it is.
WARMUP = 0.2
Seen = Callable[[Path], Evidence]


class ProbeLimits(Struct, frozen=True):
    """Of one probe: requests of its first run, and in all; `max_seconds` in all where they end it before. `add_warmup`: its runs
    get a warm-up."""

    first_requests: int = FIRST
    max_requests: int = 20_000
    max_seconds: float = math.inf
    add_warmup: bool = True


class KneeSearch:
    """To the knee of `field`, at each combination of the other settings."""

    def __init__(self, field: str, bounds: Range, others: Sequence[Mapping[str, Any]], repeat: int = 1) -> None:
        self.field, self.bounds, self._others, self._repeat = field, bounds, others, repeat

    def __call__(self, sweep: Sweep) -> NextRun | None:
        for settings in self._others:
            points = _at(sweep, settings, self.field)
            for point in points:
                if point.failed is None and 0 < len(point.runs) < self._repeat:
                    return NextRun(SweepPoint(point.name, point.settings), numbered=True)
            if any(point.failed for point in points):
                continue
            load = knee.next_load(_levels(points, self.field), self.bounds)
            if load is not None:
                return NextRun(point_at(settings, self.field, load), numbered=self._repeat > 1)
        return None

    def describe(self, sweep: Sweep) -> str:
        """What was found, in words."""
        told = []
        for settings in self._others:
            found = knee.describe(_levels(_at(sweep, settings, self.field), self.field))
            told.append(f"At {grid.describe(settings)} {found}." if settings else f"{found[0].upper()}{found[1:]}.")
        return " ".join(told)


class SloSearch:
    """To the most `field` that meets the objectives. `seen` gives the evidence of a finished run's folder."""

    def __init__(
        self,
        path: Path,
        field: str,
        bounds: Range,
        objectives: Sequence[Objective],
        others: Sequence[Mapping[str, Any]],
        limits: ProbeLimits,
        seen: Seen | None = None,
    ) -> None:
        self.field, self.bounds, self.objectives, self.limits = field, bounds, objectives, limits
        self._path, self._others, self._seen = path, others, seen or self._look
        self._known: dict[Path, Evidence] = {}

    def __call__(self, sweep: Sweep) -> NextRun | None:
        if any(point.failed for point in sweep.points):
            return None
        for settings in self._others:
            task = self._next(settings, self.probes(sweep, settings))
            if task is not None:
                return task
        return None

    def result(self, sweep: Sweep) -> SearchResult:
        """As far as it has come."""
        return SearchResult(self.field, [str(one) for one in self.objectives], self.bounds.within,
                     [self._outcome(settings, self.probes(sweep, settings)) for settings in self._others])  # fmt: skip

    def probes(self, sweep: Sweep, settings: Mapping[str, Any]) -> list[Probe]:
        """Every load that has been probed there."""
        found = []
        for point in _at(sweep, settings, self.field):
            evidence = [self._evidence(run) for run, _ in folder.finished_runs(self._path / point.name)]
            if evidence:
                load = float(point.settings[self.field])
                found.append(probes.make_probe(load, evidence, self.objectives, self._looks(load)))
        return found

    def _outcome(self, settings: Mapping[str, Any], found: list[Probe]) -> SearchOutcome:
        ordered = sorted(found, key=lambda probe: probe.load)
        return SearchOutcome(dict(settings), slo_search.find_answer(found), ordered, slo_search.explain_gap(found))

    def _evidence(self, run: Path) -> Evidence:
        if run not in self._known:
            self._known[run] = self._seen(run)
        return self._known[run]

    def _look(self, run: Path) -> Evidence:
        summary, columns = results.read_summary_and_columns(run)
        return probes.read_evidence(columns, summary, self.objectives)

    def _next(self, settings: Mapping[str, Any], found: Sequence[Probe]) -> NextRun | None:
        """A probe that is not decided goes on, with as much again, while it may; else the next load."""
        under_way = next((probe for probe in found if probe.call == "unresolved" and self._may_go_on(probe)), None)
        if under_way is not None:
            return self._task(
                settings, under_way.load, min(under_way.requests, self.limits.max_requests - under_way.requests)
            )
        load = slo_search.next_load(found, self.bounds)
        if load is None:
            return None
        before = next((probe.requests for probe in found if probe.load == load), 0)
        return self._task(settings, load, min(before, self.limits.max_requests) or self._first(load))

    def _may_go_on(self, probe: Probe) -> bool:
        room = self.limits.max_requests - probe.requests
        able = probe.runs < slo_search.MAX_RUNS and probe.unfit < slo_search.MAX_UNFIT
        return room >= probe.requests / 10 and probe.seconds < self.limits.max_seconds and able

    def _task(self, settings: Mapping[str, Any], load: float, requests: int) -> NextRun:
        only: dict[str, Any] = {"requests": requests, "html": False}
        if self.limits.add_warmup:
            only["warmup"] = math.ceil(max(WARMUP * requests, 0 if self.field == "rate" else load))
        return NextRun(point_at(settings, self.field, load), only, numbered=True)

    def _first(self, load: float) -> int:
        least = SHORTEST * load if self.field == "rate" else ROUNDS * load
        return min(self.limits.max_requests, max(self.limits.first_requests, math.ceil(least)))

    def _looks(self, load: float) -> int:
        """How often a probe may be looked at: each look has a share of the risk."""
        return 2 + math.ceil(math.log2(max(1.0, self.limits.max_requests / self._first(load))))


def point_at(settings: Mapping[str, Any], field: str, load: float) -> SweepPoint:
    """The place of a load; a concurrency is a whole number."""
    made = {**settings, field: int(load) if field == "concurrency" else load}
    return SweepPoint(grid.name(made), made)


def load_result(path: Path) -> SearchResult | None:
    """search.json of a sweep's folder; None where nothing was searched for."""
    import msgspec

    try:
        return msgspec.json.decode((path / SEARCH).read_bytes(), type=SearchResult)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as exc:
        raise UsageError(f"{path / SEARCH} is not readable: {exc}") from exc


def _at(sweep: Sweep, settings: Mapping[str, Any], field: str) -> list[MeasuredPoint]:
    """The points that differ from `settings` in the load alone."""
    return [point for point in sweep.points
            if {name: value for name, value in point.settings.items() if name != field} == settings]  # fmt: skip


def _levels(points: Sequence[MeasuredPoint], field: str) -> list[knee.Level]:
    found = (knee.level(point, field) for point in points)
    return [level for level in found if level is not None]
