"""Judge the points of a sweep on disk from every request of their runs, as the search for objectives does.

Records show more than summaries: all runs of a point count together, and whether too many requests violate an objective
is known before its percentile is. sweep/slo_probe.py has the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadstone import results
from loadstone.capacity.curves import QUEUE, PointJudgement, PointJudgements
from loadstone.checks.rules import unfit
from loadstone.config.slo import Objective
from loadstone.engine import run_folder
from loadstone.metrics.slo import Estimate
from loadstone.sweep import folder, slo_probe
from loadstone.sweep.points import Sweep
from loadstone.sweep.slo_probe import Evidence


def judge_points(path: Path, sweep: Sweep, objectives: Sequence[Objective]) -> PointJudgements:
    """Return judgements by point and objective, without the points whose records are gone. `path`: of the sweep.

    Error rates are left to the summaries: they are used as they are, and an error violates every other objective
    anyway.
    """
    counted = [objective for objective in objectives if objective.metric != "error_rate"]
    judgements = {}
    for point in sweep.points if counted else ():
        runs = [
            run
            for run, summary in folder.finished_runs(path / point.name)
            if summary.counts.succeeded and not unfit(summary)
        ]
        if runs and all((run / run_folder.RECORDS).exists() for run in runs):
            evidence = []
            for run in runs:
                summary, columns = results.read_summary_and_columns(run)
                evidence.append(slo_probe.read_evidence(columns, summary, counted))
            judgements[point.name] = judge_point(evidence, counted)
    return judgements


def judge_point(runs: Sequence[Evidence], objectives: Sequence[Objective]) -> PointJudgement:
    """Judge a point by the evidence of its runs."""
    probe = slo_probe.judge_load(0.0, runs, objectives, len(runs))
    judgement = PointJudgement()
    for objective, result in zip(objectives, probe.looks, strict=True):
        judgement.called[objective.name] = result.call
        if objective.requests and None not in (result.value, result.low, result.high):
            # Of the fraction that violates them, the rest.
            value, high, low = (1 - (end or 0.0) for end in (result.value, result.low, result.high))
            judgement.figures[objective.name] = Estimate(value, low, high)
    if runs[-1].queue_growth:
        judgement.called[QUEUE] = "missed"
    return judgement
