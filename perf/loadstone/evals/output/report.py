"""The report of an evaluation's folder: what its results say, what its runs and eval.json tell beside it.

Reads only what is there: an evaluation by lm-eval has results and samples, and none of the rest.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone import results as runs
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.output import page as view
from loadstone.evals.output import results
from loadstone.evals.output.page import ServingDetails
from loadstone.evals.output.serving_tables import AnswerBin
from loadstone.evals.scoring import intervals
from loadstone.report import html, markdown
from loadstone.report.page import Page
from loadstone.samples import EvalCost, Evaluation
from loadstone.summary import Summary

PAGES = {"report.md": markdown.draw, "report.html": html.draw}
QUARTERS = 4
# Answers below which they are not cut into quarters.
FEWEST = 40


def is_evaluation(folder: Path) -> bool:
    return folder.is_dir() and results.latest(folder) is not None


def read(folder: Path) -> tuple[Evaluation, ServingDetails]:
    """Raises UsageError where there are no results of ours."""
    found = results.latest(folder)
    if found is None:
        raise UsageError(f"{folder} holds no results_*.json: {_unscored(folder)}")
    return results.read(found), read_serving(folder)


def _unscored(folder: Path) -> str:
    if not (folder / "eval.json").is_file():
        return "give the folder of an evaluation"
    return (
        "its answers are not scored yet; the command that made it goes on, and with --stage score scores what is there"
    )


def page(folder: Path) -> Page:
    return view.page(*read(folder))


def write(folder: run_folder.RunFolder, web: bool = True) -> None:
    """report.md and, if wanted, report.html."""
    found = page(folder.path)
    for name, draw in PAGES.items():
        if web or draw is not html.draw:
            folder.write(name, draw(found))


def read_serving(folder: Path) -> ServingDetails:
    """How the server did, from the runs, items.csv and eval.json."""
    rows = list(_rows(folder / results.ITEMS))
    return ServingDetails(
        runs=dict(_summaries(folder / "runs")),
        spent=_spent(folder / "eval.json"),
        latency=_by_latency([row for row in rows if row.latency is not None and row.outcome != "failed"]),
        finish=_by_finish([row for row in rows if row.finish]),
    )


def _summaries(folder: Path) -> Iterator[tuple[str, Summary]]:
    inside = [path for path in folder.iterdir() if (path / "summary.json").is_file()] if folder.is_dir() else []
    for path in sorted(inside, key=lambda path: (len(path.name), path.name)):
        try:
            yield path.name, runs.decode_summary((path / "summary.json").read_bytes())
        except (OSError, msgspec.MsgspecError) as exc:
            raise UsageError(f"{path / 'summary.json'} is not readable: {exc}") from exc


class _Told(Struct):
    spent: EvalCost | None = None


def _spent(path: Path) -> EvalCost | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Told).spent
    except (OSError, msgspec.MsgspecError):
        return None


class _Row(Struct, frozen=True):
    """What is read of a row of items.csv."""

    outcome: str
    latency: float | None
    finish: str


def _rows(path: Path) -> Iterator[_Row]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row.get("outcome"):
                yield _Row(
                    row["outcome"], float(row["latency"]) if row.get("latency") else None, row.get("finish") or ""
                )


def _by_latency(rows: Sequence[_Row]) -> list[AnswerBin]:
    """Quarters, where each has answers enough to be told apart."""
    ranked = sorted(rows, key=lambda row: row.latency or 0.0)
    if len(ranked) < FEWEST:
        return []
    cuts = [len(ranked) * cut // QUARTERS for cut in range(QUARTERS + 1)]
    parts = [ranked[low:high] for low, high in pairwise(cuts)]
    return [_bin(f"{part[0].latency or 0:.3g} to {part[-1].latency or 0:.3g} s", part) for part in parts]


def _by_finish(rows: Sequence[_Row]) -> list[AnswerBin]:
    named: dict[str, list[_Row]] = {}
    for row in rows:
        named.setdefault(row.finish, []).append(row)
    return [_bin(name, part) for name, part in sorted(named.items())] if len(named) > 1 else []


def _bin(name: str, rows: Iterable[_Row]) -> AnswerBin:
    values = [float(row.outcome == "right") for row in rows]
    found = intervals.estimate(values)
    assert found is not None
    return AnswerBin(name=name, right=found, count=len(values))
