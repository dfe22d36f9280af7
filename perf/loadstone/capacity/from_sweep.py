"""The points of a sweep on disk, called met or missed from every request of their runs, as the search for a load does.

That tells more than summaries: all runs of a point count together, and whether a share of the requests is too large is
known before the percentile is. How it is called is probes.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadstone import results
from loadstone.capacity.curves import QUEUE, PointJudgements
from loadstone.engine import run_folder
from loadstone.metrics.slo import Objective, Outcome
from loadstone.sweep import folder, slo_probe
from loadstone.sweep.points import Sweep
from loadstone.sweep.slo_probe import Evidence


def judge_points(path: Path, sweep: Sweep, objectives: Sequence[Objective]) -> PointJudgements:
    """By point and objective. Error rates are left to the summaries: they are taken as they are, and an error is on the
    wrong side of every other objective anyway. Points whose records are gone are not in it."""
    counted = [objective for objective in objectives if objective.metric != "error_rate"]
    found = {point.name: _point(path / point.name, counted) for point in sweep.points} if counted else {}
    return {name: calls for name, calls in found.items() if calls}


def _point(path: Path, objectives: Sequence[Objective]) -> dict[str, Outcome]:
    runs = [run for run, summary in folder.finished_runs(path)
            if summary.counts.succeeded and not (summary.verdict and summary.verdict.status == "invalid")]  # fmt: skip
    if not runs or not all((run / run_folder.RECORDS).exists() for run in runs):
        return {}
    seen = []
    for run in runs:
        summary, columns = results.read_summary_and_columns(run)
        seen.append(slo_probe.read_evidence(columns, summary, objectives))
    return judge_point(seen, objectives)


def judge_point(seen: Sequence[Evidence], objectives: Sequence[Objective]) -> dict[str, Outcome]:
    """A point by the evidence of its runs."""
    found = slo_probe.judge_load(0.0, seen, objectives, len(seen))
    calls = {one.name: look.call for one, look in zip(objectives, found.looks, strict=True)}
    return calls | ({QUEUE: "missed"} if seen[-1].queue_growth else {})
