"""The report of an evaluation's folder, from its results, its runs and eval.json.

Missing files are left out: an evaluation by lm-eval has results and samples only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone import results as run_results
from loadstone.engine import run_folder
from loadstone.errors import DataError
from loadstone.evals.output import page as pages
from loadstone.evals.output import results
from loadstone.evals.output.page import ServingDetails
from loadstone.evals.output.serving_tables import AnswerBin
from loadstone.evals.scoring import intervals
from loadstone.report import html, markdown
from loadstone.report.page import Page
from loadstone.samples import EvalCost, Evaluation
from loadstone.summary import Summary
from loadstone.text import csv_text

PAGES = {"report.md": markdown.draw, "report.html": html.draw}
# Bins of accuracy by latency, and the answers that they need at least.
QUARTERS, MIN_ANSWERS = 4, 40


def is_evaluation(folder: Path) -> bool:
    """Return True if a folder holds results."""
    return folder.is_dir() and results.latest(folder) is not None


def read(folder: Path) -> tuple[Evaluation, ServingDetails]:
    """Return the evaluation in a folder, and its serving. Raises DataError if it has no results of ours."""
    file = results.latest(folder)
    if file is None:
        hint = (
            "its answers are not scored yet; the command that made it goes on, and with --stage score scores what is"
            " there"
            if (folder / "eval.json").is_file()
            else "give the folder of an evaluation"
        )
        raise DataError(f"{folder} holds no results_*.json: {hint}", file=str(folder))
    return results.read(file), read_serving(folder)


def page(folder: Path) -> Page:
    """Return the report of a folder. Raises DataError."""
    return pages.page(*read(folder))


def write(folder: run_folder.RunFolder, web: bool = True) -> None:
    """Write report.md and, if `web`, report.html."""
    report = page(folder.path)
    for name, draw in PAGES.items():
        if web or draw is not html.draw:
            folder.write(name, draw(report))


def read_serving(folder: Path) -> ServingDetails:
    """Return the serving of an evaluation, from its runs, items.csv and eval.json. Raises DataError."""
    rows = list(_rows(folder / results.ITEMS))
    return ServingDetails(
        runs=dict(_summaries(folder / "runs")),
        spent=_cost(folder / "eval.json"),
        latency=_by_latency([row for row in rows if row.latency is not None and row.outcome != "failed"]),
        finish=_by_finish([row for row in rows if row.finish]),
    )


def _summaries(folder: Path) -> Iterator[tuple[str, Summary]]:
    """Yield the summaries of the runs by name, 10 after 9."""
    runs = [path for path in folder.iterdir() if (path / "summary.json").is_file()] if folder.is_dir() else []
    for path in sorted(runs, key=lambda path: (len(path.name), path.name)):
        try:
            yield path.name, run_results.decode_summary((path / "summary.json").read_bytes())
        except (OSError, msgspec.MsgspecError, RecursionError) as exc:
            file = path / "summary.json"
            raise DataError(f"{file} is not readable: {exc}", file=str(file)) from exc


class _EvalCostField(Struct):
    """The field of eval.json that is read here."""

    spent: EvalCost | None = None


def _cost(path: Path) -> EvalCost | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_EvalCostField).spent
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


class _Row(Struct, frozen=True):
    """The cells of items.csv that are read here. latency: seconds."""

    outcome: str
    latency: float | None
    finish: str


def _rows(path: Path) -> Iterator[_Row]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("outcome"):
                latency = float(row["latency"]) if row.get("latency") else None
                yield _Row(row["outcome"], latency, csv_text(row.get("finish") or ""))


def _by_latency(rows: Sequence[_Row]) -> list[AnswerBin]:
    """Return quarters by latency; none if they would be too small to differ."""
    ranked = sorted(rows, key=lambda row: row.latency or 0.0)
    if len(ranked) < MIN_ANSWERS:
        return []
    cuts = [len(ranked) * cut // QUARTERS for cut in range(QUARTERS + 1)]
    quarters = [ranked[low:high] for low, high in pairwise(cuts)]
    return [_bin(f"{rows[0].latency or 0:.3g} to {rows[-1].latency or 0:.3g} s", rows) for rows in quarters]


def _by_finish(rows: Sequence[_Row]) -> list[AnswerBin]:
    """Return a bin for each finish reason, if there are several."""
    by_reason: dict[str, list[_Row]] = {}
    for row in rows:
        by_reason.setdefault(row.finish, []).append(row)
    return [_bin(name, rows) for name, rows in sorted(by_reason.items())] if len(by_reason) > 1 else []


def _bin(name: str, rows: Iterable[_Row]) -> AnswerBin:
    values = [float(row.outcome == "right") for row in rows]
    estimate = intervals.estimate(values)
    assert estimate is not None
    return AnswerBin(name=name, right=estimate, count=len(values))
