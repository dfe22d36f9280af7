"""`loadstone report`: recompute the report of a run, show several side by side, or export to other formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loadstone.cli import score
from loadstone.cli.flags import add_flags
from loadstone.cli.options import read_options
from loadstone.cli.report_options import ReportOptions
from loadstone.errors import ConfigError
from loadstone.report.output import notice
from loadstone.summary import RunInfo

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SIDE_BY_SIDE = ("text", "md", "html", "csv", "json")


def add(parser: ArgumentParser) -> None:
    """Add the flags of `report`."""
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="folder of a run, of its repeats, of a sweep or of an evaluation; a records file; - for records on stdin;"
        " several are shown side by side",
    )
    add_flags(parser, ReportOptions)


def run(options: Namespace) -> int:
    """Show the report. Return exit status 1 if no request succeeded or a run cannot be read, else 0."""
    from loadstone.engine import run_folder
    from loadstone.sweep import FOLDERS, folder

    runs: list[str] = options.runs
    asked = read_options(ReportOptions, options)
    path, view = Path(runs[0]), asked.view
    several = len(runs) > 1
    if not several and score.is_evaluation(path):
        return score.report(asked, path)
    # Exports are files for other tools, of one run or one sweep each.
    if view in exports():
        if several:
            raise ConfigError(
                f"--as {view} takes one {'sweep' if view in FOLDERS else 'run'}, not {len(runs)}", field="as"
            )
        return _export_folder(asked, path) if view in FOLDERS else _export(asked, runs[0])
    if several:
        return _side_by_side(asked, runs)
    if folder.is_sweep(path):
        from loadstone.cli import sweep

        return sweep.report(path, asked)
    if (path / run_folder.RUN).exists() or not any(path.glob(f"*/{run_folder.RUN}")):
        return _one(asked, runs[0])

    # A folder of runs: as repeats if they are, else side by side.
    from loadstone.cli import repeat
    from loadstone.compare import repeat_runs

    if view in repeat.FORMS and repeat_runs.is_repeated(path):
        return repeat.report(asked, path)
    return _side_by_side(asked, runs)


def exports() -> dict[str, str]:
    """Return what a run or a sweep can be exported to, by name: `module:function`."""
    from loadstone.report.exports import EXPORTS
    from loadstone.sweep import FOLDERS

    return {**EXPORTS, **FOLDERS}


def _one(options: ReportOptions, path: str) -> int:
    """Show one run, or records from stdin."""
    from loadstone import results
    from loadstone.cli import run as run_command
    from loadstone.records import from_lines
    from loadstone.report import show
    from loadstone.server_metrics import csv

    view = show.view_of(options.view, exports())
    if path == "-":
        summary, columns = results.measure_records(
            from_lines(sys.stdin.buffer, "stdin"), RunInfo(), options.tokenizer, options.goodput
        )
    else:
        summary, columns = results.read_summary_and_columns(Path(path), options.tokenizer, options.changes)
    show.show(summary, view, options.output, lambda: results.render_page(summary, columns, csv.read(Path(path))))
    run_command.for_ci(None, options.summary, summary)
    return 0 if summary.counts.succeeded else 1


def _side_by_side(options: ReportOptions, runs: list[str]) -> int:
    """Show several runs as one table. Runs that cannot be read are left out and make the exit status 1."""
    from loadstone.cli import run_arguments
    from loadstone.report import output, side_by_side, terminal

    view, target = options.view, options.output
    if view not in SIDE_BY_SIDE:
        raise ConfigError(f"--as takes {', '.join(SIDE_BY_SIDE)} for several runs, not {view!r}", field="as")
    summaries, unreadable = run_arguments.read_runs(map(Path, runs), options.tokenizer, options.changes)
    for sentence in unreadable:
        notice(f"left out: {sentence}")
    if not summaries:
        raise ConfigError("none of these runs can be read: give folders that loadstone run has written")
    table = side_by_side.Runs(summaries, unreadable)
    if view == "text" and target in (None, "-"):
        terminal.show(side_by_side.page(table))
    elif view == "csv":
        output.write(side_by_side.as_csv(table), target)
    elif view == "json":
        output.write(side_by_side.as_json(table), target)
    else:
        output.write(output.render(side_by_side.page(table), view), target)
    if options.summary:
        output.step_summary(side_by_side.as_markdown(table))
    return 1 if unreadable or not all(summary.counts.succeeded for summary in summaries.values()) else 0


def _export_folder(options: ReportOptions, path: Path) -> int:
    """Export a sweep to a new folder."""
    from loadstone.plugins import load_instance

    if options.output is None:
        raise ConfigError(f"--as {options.view} writes a folder: name a new one with -o", field="output")
    load_instance("loadstone.views", options.view, exports(), "--as")(path, Path(options.output))
    notice(f"written to {options.output}")
    return 0


def _export(options: ReportOptions, path: str) -> int:
    """Export a run to a file. Its records are read twice: for the summary, then for the export itself."""
    from loadstone.cli import run_arguments
    from loadstone.dataset import tokenizer as tokenizers
    from loadstone.plugins import load_instance
    from loadstone.report import output
    from loadstone.report.exports import BINARY

    view, target, tokenizer = options.view, options.output, options.tokenizer
    export = load_instance("loadstone.views", view, exports(), "--as")
    if view in BINARY and target in (None, "-") and sys.stdout.isatty():
        raise ConfigError(f"--as {view} is not for a terminal: name a file with -o", field="as")
    source = run_arguments.RunSource(path)
    summary = source.summary(tokenizer, options.changes)
    with output.open_target(target) as file:
        export(summary, source.records(), tokenizers.load(tokenizer).count if tokenizer else None, file)
    return 0 if summary.counts.succeeded else 1
