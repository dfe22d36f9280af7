"""Read the sides of a comparison from disk: each one run, the repeats in a folder, or several runs joined by commas.

Runs that cannot be compared are refused here. verdicts.py makes the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from loadstone import results
from loadstone.checks.rules import unfit
from loadstone.compare import circumstances, difference, estimate, settings
from loadstone.compare.difference import Estimate
from loadstone.compare.estimate import RunFigures, WindowName
from loadstone.compare.repeats import PLANNED_ENDS
from loadstone.compare.verdicts import MARGIN, Comparison, Side, judge_sides, with_circumstances
from loadstone.config.slo import Objective
from loadstone.engine import run_folder
from loadstone.errors import DataError
from loadstone.metrics.chart_data import Curve
from loadstone.summary import Summary
from loadstone.sweep.folder import is_sweep


class MeasuredRun(Struct, frozen=True):
    """A run with its figures. Its columns are not kept."""

    path: Path
    summary: Summary
    figures: RunFigures


class SideRuns(Struct, frozen=True):
    """The runs of one side, under the name typed for it."""

    name: str
    runs: list[MeasuredRun]

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Return the figures that all runs have, pooled."""
        runs = [run.figures.estimates for run in self.runs]
        return {
            name: difference.pool_runs([run[name] for run in runs])
            for name in runs[0]
            if all(name in run for run in runs)
        }

    def curves(self, metric: str) -> list[Curve]:
        """Return the distribution of a metric in each run that has it."""
        return [curve for run in self.runs if (curve := run.figures.curves.get(metric))]


def paths(text: str) -> list[Path]:
    """Return the runs of a side as typed: `A`, `A1,A2`, or a folder with repeats. Raise DataError for a sweep."""
    whole = Path(text)
    parts = [whole] if whole.exists() else [Path(part) for part in text.split(",") if part]
    runs: list[Path] = []
    for path in parts:
        if is_sweep(path):
            raise DataError(f"{path} is a sweep: give two of the points in it, such as {path}/POINT")
        runs += [path] if path.is_file() else run_folder.find_runs(path)
    return runs


def read_sides(
    texts: Sequence[str], window: WindowName = "whole", force: bool = False, gates: Sequence[Objective] = ()
) -> list[SideRuns]:
    """Read all sides, base first, with the figures that `gates` are on.

    Raise DataError for a run that cannot be read, is given twice or, without `force`, is invalid or one of several
    that did not end as planned.
    """
    sides = [(text, paths(text)) for text in texts]
    resolved = [path.resolve() for _, runs in sides for path in runs]
    if twice := next((path for path in resolved if resolved.count(path) > 1), None):
        raise DataError(f"{twice} is given twice: a run says nothing about itself; give another run")
    read = [SideRuns(text, [_read_run(path, window, force, gates) for path in runs]) for text, runs in sides]
    for side in read if not force else ():
        _check_ends(side)
    return read


def _check_ends(side: SideRuns) -> None:
    """Raise DataError if one of several runs was cut short: it is no repeat of the others."""
    # Records alone do not say how their run ended, and count as complete.
    ends = {
        run.path: str(run.summary.run.ended or ("killed" if run.summary.run.began else "done")) for run in side.runs
    }
    cut = next((path for path, ended in ends.items() if ended not in PLANNED_ENDS), None)
    if cut is not None and len(ends) > 1:
        whole = ",".join(str(path) for path, ended in ends.items() if ended in PLANNED_ENDS)
        raise DataError(
            f"{cut} did not end as planned ({ends[cut]}), so it is no repeat of the others: "
            f"{f'give {whole}' if whole else 'repeat them'}, or compare all the same with --force"
        )


def _read_run(path: Path, window: WindowName, force: bool, gates: Sequence[Objective]) -> MeasuredRun:
    summary, columns = results.read_summary_and_columns(path)
    if (worst := unfit(summary)) and not force:
        raise DataError(
            f"{path} is invalid ({worst.what}: {worst.measured}, limit {worst.limit}): its figures tell nothing; "
            "repeat it, or compare all the same with --force"
        )
    return MeasuredRun(path, summary, estimate.estimate(summary, columns, window, gates))


def curves(sides: Sequence[SideRuns]) -> dict[str, list[list[Curve]]]:
    """Return by metric the distributions of each run of each side."""
    return {metric: [side.curves(metric) for side in sides] for metric in estimate.DRAWN}


def compare_sides(sides: Sequence[SideRuns], margin: float = MARGIN, window: WindowName = "whole") -> Comparison:
    """Compare the first side with each of the others. `margin`: fraction of base within which figures are the same."""
    base, *others = sides
    summaries = [[run.summary for run in side.runs] for side in sides]
    cached = [circumstances.cached_input(runs) for runs in summaries]
    figures = judge_sides(base.estimates, {side.name: side.estimates for side in others}, margin)
    doubts = [circumstances.first_doubts(runs) for runs in summaries]
    return Comparison(
        margin=margin,
        window=window,
        sides=[Side(side.name, [settings.health(str(run.path), run.summary) for run in side.runs]) for side in sides],
        settings=settings.differing_settings(summaries),
        same_prompts=settings.same_digest(summaries, "bodies"),
        same_schedule=settings.same_digest(summaries, "schedule"),
        against=[
            with_circumstances(
                figures[number],
                circumstances.cache_difference(cached[0], cached[number + 1]),
                circumstances.different_load(summaries[0], summaries[number + 1]),
                [
                    f"{name} {text}"
                    for name, texts in ((base.name, doubts[0]), (side.name, doubts[number + 1]))
                    for text in texts
                ],
            )
            for number, side in enumerate(others)
        ],
    )
