"""`loadstone score`: saved answers judged again, and `loadstone report` of an evaluation's folder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadstone.errors import UsageError
from loadstone.report import output as outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadstone.evals.output.page import ServingDetails
    from loadstone.evals.rescore.rescore import MetricChange
    from loadstone.samples import Evaluation

VIEWS = (*outputs.FORMS, "json", "csv", "leaderboard")
RESULTS, EVAL = "results_", "eval.json"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "samples",
        metavar="SAMPLES",
        nargs="+",
        help="folder of an evaluation, by `loadstone eval` or lm-eval, its samples_*.jsonl, or a run with its --task",
    )
    parser.add_argument(
        "--task",
        metavar="NAME",
        help="judge as this task, or `target` to hold against the targets (by the file's name)",
    )
    parser.add_argument(
        "--extractor", metavar="NAME", help="what takes the answer out: a name, regex:PATTERN or FILE.py:NAME"
    )
    parser.add_argument("--scorer", metavar="NAME", help="what holds it against the target: a name or FILE.py:NAME")
    parser.add_argument("--data-dir", metavar="DIR", help="of a run: folder with the data it replayed, or bundled")
    parser.add_argument("--allow-code-execution", action="store_true", help="run programs that the model wrote")
    parser.add_argument("--only", metavar="IDS", help="doc_ids to judge, such as 3,5-9")
    parser.add_argument("--as", dest="view", choices=VIEWS, help="text (default), md, html, json, csv, leaderboard")
    parser.add_argument("-o", "--output", metavar="DIR", help="write results and samples to a new folder as well")


def run(options: Namespace) -> int:
    """The report of what it comes to now, and how that differs from what the files say. Nothing is overwritten."""
    import datetime

    from loadstone.engine import run_folder
    from loadstone.evals.output import report as reporting
    from loadstone.evals.output import results
    from loadstone.evals.rescore.rescore import RescoreOptions, rescore

    given, now = vars(options), datetime.datetime.now()
    wish = RescoreOptions(
        **{name: given.get(name) for name in ("task", "extractor", "scorer", "only")},
        data=given.get("data_dir"),
        allow_code=given.get("allow_code_execution", False),
    )
    folder = run_folder.RunFolder(Path(given["output"])) if given.get("output") else None
    found = rescore([Path(path) for path in options.samples], wish, folder, now.timestamp(), results.file_time(now))
    show(found.evaluation, None, given.get("view", "text"), None, found.changes)
    if folder is not None:
        reporting.write(folder)
        outputs.notice(f"results are in {folder.path}")
    return 0


def is_evaluation(path: Path) -> bool:
    """Whether a folder holds an evaluation, scored or not; told without opening a file."""
    return path.is_dir() and ((path / EVAL).is_file() or next(path.glob(f"{RESULTS}*.json"), None) is not None)


def report(options: Namespace, path: Path) -> int:
    """`loadstone report EVALUATION`."""
    from loadstone.evals.output import report as reporting

    view = getattr(options, "view", "text")
    if view not in VIEWS:
        raise UsageError(f"--as takes {', '.join(VIEWS)} for an evaluation, not {view!r}; its runs in {path / 'runs'} "
                         "have all views")  # fmt: skip
    evaluation, meanwhile = reporting.read(path)
    show(evaluation, meanwhile, view, getattr(options, "output", None))
    if getattr(options, "summary", False):
        outputs.step_summary(_drawn(evaluation, meanwhile, "md"))
    return 0


def show(
    evaluation: Evaluation,
    meanwhile: ServingDetails | None,
    view: str,
    output: str | None,
    changes: Sequence[MetricChange] | None = None,
) -> None:
    """An evaluation in one of VIEWS."""
    from loadstone.evals.output import page

    if view == "text":
        outputs.show(page.page(evaluation, meanwhile, _told(changes)), view, output)
    elif view == "leaderboard":
        outputs.show(page.leaderboard(evaluation), "text", output)
    else:
        outputs.write(_drawn(evaluation, meanwhile, view, changes), output)


def _drawn(
    evaluation: Evaluation, meanwhile: ServingDetails | None, view: str, changes: Sequence[MetricChange] | None = None
) -> str:
    from loadstone.evals.output import csv, page
    from loadstone.report.json import to_json

    if view == "csv":
        return csv.render(evaluation)
    if view == "json":
        return to_json(_json(evaluation, meanwhile, changes))
    return outputs.render(page.page(evaluation, meanwhile, _told(changes)), view)


def _json(
    evaluation: Evaluation, meanwhile: ServingDetails | None, changes: Sequence[MetricChange] | None
) -> dict[str, Any]:
    import msgspec

    told: dict[str, Any] = {**msgspec.to_builtins(evaluation)}
    told |= {"meanwhile": msgspec.to_builtins(meanwhile)} if meanwhile is not None else {}
    return told | ({"changes": msgspec.to_builtins(changes)} if changes is not None else {})


def _told(changes: Sequence[MetricChange] | None) -> list[Any]:
    """What is worth something else than the files say."""
    from loadstone.report.page import Prose

    if not changes:
        return [] if changes is None else [Prose("The files hold no figures of the same metrics to compare with.")]
    moved = [change for change in changes if change.gained or change.lost]
    if not moved:
        items = {change.task: change.items for change in changes}
        return [Prose(f"All {sum(items.values()):,} items are worth what the files say.", "good")]
    return [Prose(_moved(change), "doubt") for change in moved]


def _moved(change: MetricChange) -> str:
    count = change.gained + change.lost
    named = ", ".join(map(str, change.first)) + (" ..." if count > len(change.first) else "")
    return (f"{change.task}, {change.metric} through {change.filter}: {count:,} of {change.items:,} items change, "
            f"{change.gained:,} up and {change.lost:,} down: doc_id {named}")  # fmt: skip
