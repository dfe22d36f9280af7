"""`loadstone score`: score saved answers again; and `loadstone report` of an evaluation's folder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from loadstone.cli.flags import add_flags
from loadstone.cli.options import read_options
from loadstone.config import kinds
from loadstone.config.flags import Flag
from loadstone.errors import ConfigError
from loadstone.report import output as outputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadstone.cli.report_options import ReportOptions
    from loadstone.evals.output.page import ServingDetails
    from loadstone.evals.rescore.rescore import MetricChange
    from loadstone.report.page import Prose
    from loadstone.samples import Evaluation

VIEWS = (*outputs.FORMS, "json", "csv", "leaderboard")
# Files of an evaluation, by which its folder is recognised: ours, and lm-eval's (a prefix).
EVAL, RESULTS = "eval.json", "results_"


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """What is shown of the scores, and where they are written."""

    view: Annotated[
        str,
        Flag("format of the report: text (default), md, html, json, csv, leaderboard", kinds.choice(VIEWS), name="as"),
    ] = "text"
    output: Annotated[str | None, Flag("also write results and samples to a new folder", short="-o", metavar="DIR")] = (
        None
    )


def add(parser: ArgumentParser) -> None:
    """Add the flags of `score`."""
    from loadstone.evals.rescore.options import RescoreOptions

    parser.add_argument(
        "samples",
        metavar="SAMPLES",
        nargs="+",
        help="folder of an evaluation by `loadstone eval` or lm-eval, its samples_*.jsonl, or a run with --task",
    )
    add_flags(parser, RescoreOptions)
    add_flags(parser, ScoreOptions)


def run(options: Namespace) -> int:
    """Score the answers and show the report, with what changed against the files. Return exit status 0.

    Nothing is overwritten.
    """
    import datetime

    from loadstone.engine import run_folder
    from loadstone.evals.output import report as eval_report
    from loadstone.evals.output import results
    from loadstone.evals.rescore.options import RescoreOptions
    from loadstone.evals.rescore.rescore import rescore

    shown, now = read_options(ScoreOptions, options), datetime.datetime.now()
    folder = run_folder.RunFolder(Path(shown.output)) if shown.output else None
    paths = [Path(path) for path in options.samples]
    result = rescore(paths, read_options(RescoreOptions, options), folder, now.timestamp(), results.file_time(now))
    show(result.evaluation, None, shown.view, None, result.changes)
    if folder is not None:
        eval_report.write(folder)
        outputs.notice(f"results are in {folder.path}")
    return 0


def is_evaluation(path: Path) -> bool:
    """Return True if a folder holds an evaluation, scored or not. Opens no file."""
    return path.is_dir() and ((path / EVAL).is_file() or next(path.glob(f"{RESULTS}*.json"), None) is not None)


def report(options: ReportOptions, path: Path) -> int:
    """Show the report of an evaluation's folder. Return exit status 0."""
    from loadstone.evals.output import report as eval_report

    view = options.view
    if view not in VIEWS:
        raise ConfigError(f"--as takes {', '.join(VIEWS)} for an evaluation, not {view!r}; its runs in "
                                 f"{path / 'runs'} have all views", field="as")  # fmt: skip
    evaluation, serving = eval_report.read(path)
    show(evaluation, serving, view, options.output)
    if options.summary:
        outputs.step_summary(_render(evaluation, serving, "md"))
    return 0


def show(
    evaluation: Evaluation,
    serving: ServingDetails | None,
    view: str,
    output: str | None,
    changes: Sequence[MetricChange] | None = None,
) -> None:
    """Show an evaluation in one of VIEWS, on stdout or in a new file.

    changes: what scoring again changed; None if the answers were not scored again.
    """
    from loadstone.evals.output import page

    if view == "text":
        outputs.show(page.page(evaluation, serving, _describe_changes(changes)), view, output)
    elif view == "leaderboard":
        outputs.show(page.leaderboard(evaluation), "text", output)
    else:
        outputs.write(_render(evaluation, serving, view, changes), output)


def _render(
    evaluation: Evaluation, serving: ServingDetails | None, view: str, changes: Sequence[MetricChange] | None = None
) -> str:
    """Render an evaluation as csv, json or one of the forms of a page."""
    import msgspec

    from loadstone.evals.output import csv, page
    from loadstone.report.json import to_json

    if view == "csv":
        return csv.render(evaluation)
    if view == "json":
        fields: dict[str, Any] = {**msgspec.to_builtins(evaluation)}
        if serving is not None:
            fields["meanwhile"] = msgspec.to_builtins(serving)
        if changes is not None:
            fields["changes"] = msgspec.to_builtins(changes)
        return to_json(fields)
    return outputs.render(page.page(evaluation, serving, _describe_changes(changes)), view)


def _describe_changes(changes: Sequence[MetricChange] | None) -> list[Prose]:
    """Return a sentence for each metric whose scores differ from those in the files."""
    from loadstone.report.page import Prose

    if changes is None:
        return []
    if not changes:
        return [Prose("The files hold no figures of the same metrics to compare with.")]
    changed = [change for change in changes if change.gained or change.lost]
    if not changed:
        items = {change.task: change.items for change in changes}
        return [Prose(f"All {sum(items.values()):,} items have the same scores as in the files.", "good")]
    sentences = []
    for change in changed:
        count = change.gained + change.lost
        ids = ", ".join(map(str, change.first)) + (" ..." if count > len(change.first) else "")
        sentences.append(
            f"{change.task}, {change.metric} through {change.filter}: {count:,} of {change.items:,} items change, "
            f"{change.gained:,} up and {change.lost:,} down: doc_id {ids}"
        )
    return [Prose(sentence, "doubt") for sentence in sentences]
