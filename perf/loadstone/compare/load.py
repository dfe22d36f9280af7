"""The sides of a comparison, read from disk: each a run, the repeats of one in a folder, or several joined by commas.

Refuses what cannot be compared. What is made of them is compare.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from loadstone import results
from loadstone.compare import difference, estimate, settings
from loadstone.compare.difference import Estimate
from loadstone.compare.estimate import RunFigures, WindowName
from loadstone.compare.repeats import PLANNED_ENDS
from loadstone.compare.verdicts import MARGIN, Comparison, Side, judge_sides
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.metrics.chart_data import Curve
from loadstone.summary import Summary
from loadstone.sweep.folder import is_sweep


class MeasuredRun(Struct, frozen=True):
    """A run measured. Its columns are not kept."""

    path: Path
    summary: Summary
    figures: RunFigures


class SideRuns(Struct, frozen=True):
    """The runs of one side, under the name it was given by."""

    name: str
    runs: list[MeasuredRun]

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Figures that all its runs have."""
        found = [run.figures.estimates for run in self.runs]
        return {name: difference.pool_runs([run[name] for run in found]) for name in found[0]
                if all(name in run for run in found)}  # fmt: skip

    def curves(self, metric: str) -> list[Curve]:
        return [curve for run in self.runs if (curve := run.figures.curves.get(metric))]


def paths(text: str) -> list[Path]:
    """The runs of a side as typed: `A`, `A1,A2`, or a folder with repeats. Raises UsageError."""
    whole = Path(text)
    parts = [whole] if whole.exists() else [Path(part) for part in text.split(",") if part]
    return [run for part in parts for run in ([part] if part.is_file() else run_folder.runs(_no_sweep(part)))]


def _no_sweep(path: Path) -> Path:
    if is_sweep(path):
        raise UsageError(f"{path} is a sweep: give two of the points in it, such as {path}/POINT")
    return path


def read_sides(texts: Sequence[str], window: WindowName = "whole", force: bool = False) -> list[SideRuns]:
    """All sides, base first. Raises UsageError where a run cannot be read, is given twice or, without `force`, is
    invalid or the one of several that was cut short."""
    sides = [(text, paths(text)) for text in texts]
    found = [path.resolve() for _, runs in sides for path in runs]
    if twice := next((path for path in found if found.count(path) > 1), None):
        raise UsageError(f"{twice} is given twice: a run says nothing about itself; give another run")
    read = [SideRuns(text, [_measured(path, window, force) for path in runs]) for text, runs in sides]
    for side in read if not force else ():
        _ended_alike(side)
    return read


def _ended_alike(side: SideRuns) -> None:
    """A run that was cut short is no repeat of the others."""
    ends = {run.path: _ended(run.summary) for run in side.runs}
    cut = next((path for path, ended in ends.items() if ended not in PLANNED_ENDS), None)
    if cut is not None and len(ends) > 1:
        whole = ",".join(str(path) for path, ended in ends.items() if ended in PLANNED_ENDS)
        raise UsageError(
            f"{cut} did not end as planned ({ends[cut]}), so it is no repeat of the others: "
            f"{f'give {whole}' if whole else 'repeat them'}, or compare all the same with --force"
        )


def _ended(summary: Summary) -> str:
    """Records alone do not tell, and are taken as whole."""
    return str(summary.run.get("ended") or ("killed" if "began" in summary.run else "done"))


def _measured(path: Path, which: WindowName, force: bool) -> MeasuredRun:
    summary, columns = results.load(path)
    verdict = summary.verdict
    if verdict is not None and verdict.status == "invalid" and not force:
        worst = next(doubt for doubt in verdict.doubts if doubt.severity == "invalid")
        raise UsageError(
            f"{path} is invalid ({worst.what}: {worst.measured}, limit {worst.limit}): its figures tell nothing; "
            "repeat it, or compare all the same with --force"
        )
    return MeasuredRun(path, summary, estimate.estimate(summary, columns, which))


def curves(sides: Sequence[SideRuns]) -> dict[str, list[list[Curve]]]:
    """By metric, the distributions of each run of each side."""
    return {metric: [side.curves(metric) for side in sides] for metric in estimate.DRAWN}


def compare_sides(sides: Sequence[SideRuns], margin: float = MARGIN, window: WindowName = "whole") -> Comparison:
    """The first side against each of the others."""
    base, *news = sides
    summaries = [[run.summary for run in side.runs] for side in sides]
    return Comparison(
        margin=margin,
        window=window,
        sides=[Side(side.name, [settings.health(str(run.path), run.summary) for run in side.runs]) for side in sides],
        settings=settings.differing_settings(summaries),
        same_prompts=settings.same_digest(summaries, "bodies"),
        same_schedule=settings.same_digest(summaries, "schedule"),
        against=judge_sides(base.estimates, {side.name: side.estimates for side in news}, margin),
    )
