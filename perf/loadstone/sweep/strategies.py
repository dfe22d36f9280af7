"""The strategies of a sweep that chooses its own loads: up to the knee, or to the highest load that meets objectives.

Both decide from what has been measured only, so that either resumes after an interruption. knee.py and slo_search.py
have the methods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone import results
from loadstone.config.slo import Objective
from loadstone.errors import DataError
from loadstone.sweep import folder, grid, knee, slo_probe, slo_search
from loadstone.sweep.points import MeasuredPoint, Sweep, SweepPoint
from loadstone.sweep.run import NextRun
from loadstone.sweep.slo_probe import Evidence, Probe
from loadstone.sweep.slo_search import Range, SearchOutcome, SearchResult

SEARCH = "search.json"
# Requests of the first run of a probe.
FIRST = 200
# The first run has at least the requests that arrive in so many seconds.
SHORTEST = 10.0
# The first run has at least so many requests for each slot of the concurrency.
ROUNDS = 5
# Requests of the warm-up of a probe's run, as a fraction of the run: a queue takes time to reach its length.
WARMUP = 0.2


class ProbeLimits(Struct, frozen=True):
    """How long one load is probed.

    first_requests: of its first run
    max_requests: over all its runs
    max_seconds: over all its runs
    add_warmup: give its runs a warm-up
    """

    first_requests: int = FIRST
    max_requests: int = 20_000
    max_seconds: float = math.inf
    add_warmup: bool = True


class KneeSearch:
    """Search for the knee of `field`, at each combination of the other settings."""

    def __init__(self, field: str, bounds: Range, others: Sequence[Mapping[str, Any]], repeat: int = 1) -> None:
        self.field, self.bounds, self._others, self._repeat = field, bounds, others, repeat

    def __call__(self, sweep: Sweep) -> NextRun | None:
        """Return the next run, None when all knees are known."""
        for settings in self._others:
            points = _points_at(sweep, settings, self.field)
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
        """Return the result in words."""
        sentences = []
        for settings in self._others:
            text = knee.describe(_levels(_points_at(sweep, settings, self.field), self.field))
            text = f"At {grid.describe(settings)} {text}." if settings else f"{text[0].upper()}{text[1:]}."
            sentences.append(text)
        return " ".join(sentences)


class SloSearch:
    """Search for the highest `field` that meets the objectives, at each combination of the other settings.

    path: folder of the sweep
    read_evidence: returns the evidence of the folder of a finished run
    """

    def __init__(
        self,
        path: Path,
        field: str,
        bounds: Range,
        objectives: Sequence[Objective],
        others: Sequence[Mapping[str, Any]],
        limits: ProbeLimits,
        read_evidence: Callable[[Path], Evidence] | None = None,
    ) -> None:
        self.field, self.bounds, self.objectives, self.limits = field, bounds, objectives, limits
        self._path, self._others = path, others
        self._read_evidence = read_evidence or self._evidence_of
        self._cache: dict[Path, Evidence] = {}

    def __call__(self, sweep: Sweep) -> NextRun | None:
        """Return the next run, None when all answers are as narrow as they get or a point has failed."""
        if any(point.failed for point in sweep.points):
            return None
        for settings in self._others:
            if next_run := self._next_run(settings, self.probes(sweep, settings)):
                return next_run
        return None

    def result(self, sweep: Sweep) -> SearchResult:
        """Return the result of the search so far."""
        outcomes = []
        for settings in self._others:
            found = self.probes(sweep, settings)
            ordered = sorted(found, key=lambda probe: probe.load)
            answer, gap = slo_search.find_answer(found), slo_search.explain_gap(found)
            outcomes.append(SearchOutcome(dict(settings), answer, ordered, gap))
        return SearchResult(self.field, [str(one) for one in self.objectives], self.bounds.within, outcomes)

    def probes(self, sweep: Sweep, settings: Mapping[str, Any]) -> list[Probe]:
        """Return every load that has been probed at a combination of the other settings."""
        probes = []
        for point in _points_at(sweep, settings, self.field):
            runs = [run for run, _ in folder.finished_runs(self._path / point.name)]
            for run in runs:
                if run not in self._cache:
                    self._cache[run] = self._read_evidence(run)
            if runs:
                load = float(point.settings[self.field])
                evidence = [self._cache[run] for run in runs]
                probes.append(slo_probe.make_probe(load, evidence, self.objectives, self._max_looks(load)))
        return probes

    def _evidence_of(self, run: Path) -> Evidence:
        summary, columns = results.read_summary_and_columns(run)
        return slo_probe.read_evidence(columns, summary, self.objectives)

    def _next_run(self, settings: Mapping[str, Any], probes: Sequence[Probe]) -> NextRun | None:
        # An unresolved probe continues, with as many requests again, as long as its limits allow.
        limits = self.limits
        for probe in probes:
            left = limits.max_requests - probe.requests
            able = probe.runs < slo_search.MAX_RUNS and probe.unfit < slo_search.MAX_UNFIT
            # A run of less than a tenth of the requests so far would hardly change the result.
            worthwhile = left >= probe.requests / 10 and probe.seconds < limits.max_seconds
            if probe.call == "unresolved" and able and worthwhile:
                return self._run_of(settings, probe.load, min(probe.requests, left))

        # Otherwise the next load, which may be one that is to be confirmed.
        load = slo_search.next_load(probes, self.bounds)
        if load is None:
            return None
        before = next((probe.requests for probe in probes if probe.load == load), 0)
        return self._run_of(settings, load, min(before, limits.max_requests) or self._first_requests(load))

    def _run_of(self, settings: Mapping[str, Any], load: float, requests: int) -> NextRun:
        overrides: dict[str, Any] = {"requests": requests, "html": False}
        if self.limits.add_warmup:
            overrides["warmup"] = math.ceil(max(WARMUP * requests, 0 if self.field == "rate" else load))
        return NextRun(point_at(settings, self.field, load), overrides, numbered=True)

    def _first_requests(self, load: float) -> int:
        fewest = SHORTEST * load if self.field == "rate" else ROUNDS * load
        return min(self.limits.max_requests, max(self.limits.first_requests, math.ceil(fewest)))

    def _max_looks(self, load: float) -> int:
        """Return how often a probe may be judged: each time takes a part of the risk."""
        return 2 + math.ceil(math.log2(max(1.0, self.limits.max_requests / self._first_requests(load))))


def point_at(settings: Mapping[str, Any], field: str, load: float) -> SweepPoint:
    """Return the point of a load; a concurrency is a whole number."""
    all_settings = {**settings, field: int(load) if field == "concurrency" else load}
    return SweepPoint(grid.name(all_settings), all_settings)


def load_result(path: Path) -> SearchResult | None:
    """Return search.json of a sweep's folder, None for a sweep that is no search. Raise DataError if unreadable."""
    try:
        return msgspec.json.decode((path / SEARCH).read_bytes(), type=SearchResult)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, RecursionError) as exc:
        raise DataError(f"{path / SEARCH} is not readable: {exc}", file=str(path / SEARCH)) from exc


def _points_at(sweep: Sweep, settings: Mapping[str, Any], field: str) -> list[MeasuredPoint]:
    """Return the points that differ from `settings` in the load alone."""
    return [point for point in sweep.points
            if {name: value for name, value in point.settings.items() if name != field} == settings]  # fmt: skip


def _levels(points: Sequence[MeasuredPoint], field: str) -> list[knee.Level]:
    levels = (knee.level(point, field) for point in points)
    return [level for level in levels if level is not None]
