"""`loadstone report`: recompute the report of a run, show several side by side, or export to other formats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loadstone.cli import run_flags, score
from loadstone.errors import ConfigError
from loadstone.report.output import notice

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
    parser.add_argument(
        "--as",
        dest="view",
        metavar="VIEW",
        help="format of the report: text (default), classic, md, csv, json, html, junit, vllm, vllm-sweep, parquet,"
        " leaderboard",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to a new file (vllm-sweep: folder) instead of stdout"
    )
    parser.add_argument("--summary", action="store_true", help=run_flags.SUMMARY)
    parser.add_argument(
        "--goodput", nargs="+", metavar="TERMS", help="objectives that a good request meets: 'ttft<200ms, tpot<50ms'"
    )
    parser.add_argument(
        "--tokenizer", metavar="PATH", help="tokenizer that counts tokens of saved texts where the server did not"
    )


def run(options: Namespace) -> int:
    """Show the report. Return exit status 1 if no request succeeded or a run cannot be read, else 0."""
    from loadstone.engine import run_folder
    from loadstone.sweep import FOLDERS, folder

    path = Path(options.runs[0])
    view = getattr(options, "view", "text")
    several = len(options.runs) > 1
    if not several and score.is_evaluation(path):
        return score.report(options, path)
    # Exports are files for other tools, of one run or one sweep each.
    if view in exports():
        if several:
            raise ConfigError(f"--as {view} takes one {'sweep' if view in FOLDERS else 'run'}, not {len(options.runs)}")
        return _export_folder(options, view) if view in FOLDERS else _export(options, view)
    if several:
        return _side_by_side(options, view)
    if folder.is_sweep(path):
        from loadstone.cli import sweep

        return sweep.report(path, options)
    if (path / run_folder.RUN).exists() or not any(path.glob(f"*/{run_folder.RUN}")):
        return _one(options)

    # A folder of runs: as repeats if they are, else side by side.
    from loadstone.cli import repeat
    from loadstone.compare import repeat_runs

    if view in repeat.FORMS and repeat_runs.is_repeated(path):
        return repeat.report(options, path)
    return _side_by_side(options, view)


def exports() -> dict[str, str]:
    """Return what a run or a sweep can be exported to, by name: `module:function`."""
    from loadstone.report.exports import EXPORTS
    from loadstone.sweep import FOLDERS

    return {**EXPORTS, **FOLDERS}


def _measures(options: Namespace) -> tuple[str | None, dict[str, float]]:
    """Return what a summary is recomputed with: the tokenizer, and the objectives in seconds by metric."""
    from loadstone.config.slo import parse_goodput

    goodput = parse_goodput(options.goodput) if hasattr(options, "goodput") else {}
    return getattr(options, "tokenizer", None), goodput


def _one(options: Namespace) -> int:
    """Show one run, or records from stdin."""
    from loadstone import results
    from loadstone.cli import run as run_command
    from loadstone.records import from_lines
    from loadstone.report import show
    from loadstone.server_metrics import csv

    path = options.runs[0]
    view = run_command.find_view(options, exports())
    tokenizer, goodput = _measures(options)
    if path == "-":
        summary, columns = results.measure_records(from_lines(sys.stdin.buffer, "stdin"), None, tokenizer, goodput)
    else:
        summary, columns = results.read_summary_and_columns(Path(path), tokenizer, goodput)
    output = getattr(options, "output", None)
    show.show(summary, view, output, lambda: results.render_page(summary, columns, csv.read(Path(path))))
    run_command.for_ci(options, summary)
    return 0 if summary.counts.succeeded else 1


def _side_by_side(options: Namespace, view: str) -> int:
    """Show several runs as one table. Runs that cannot be read are left out and make the exit status 1."""
    from loadstone.cli import run_arguments
    from loadstone.report import output, side_by_side, terminal

    if view not in SIDE_BY_SIDE:
        raise ConfigError(f"--as takes {', '.join(SIDE_BY_SIDE)} for several runs, not {view!r}")
    summaries, unreadable = run_arguments.read_runs(map(Path, options.runs), *_measures(options))
    for sentence in unreadable:
        notice(f"left out: {sentence}")
    if not summaries:
        raise ConfigError("none of these runs can be read: give folders that loadstone run has written")
    runs = side_by_side.Runs(summaries, unreadable)
    target = getattr(options, "output", None)
    if view == "text" and target in (None, "-"):
        terminal.show(side_by_side.page(runs))
    elif view == "csv":
        output.write(side_by_side.as_csv(runs), target)
    elif view == "json":
        output.write(side_by_side.as_json(runs), target)
    else:
        output.write(output.render(side_by_side.page(runs), view), target)
    if getattr(options, "summary", False):
        output.step_summary(side_by_side.as_markdown(runs))
    return 1 if unreadable or not all(summary.counts.succeeded for summary in summaries.values()) else 0


def _export_folder(options: Namespace, view: str) -> int:
    """Export a sweep to a new folder."""
    from loadstone.plugins import load_instance

    output = getattr(options, "output", None)
    if output is None:
        raise ConfigError(f"--as {view} writes a folder: name a new one with -o")
    load_instance("loadstone.views", view, exports(), "--as")(Path(options.runs[0]), Path(output))
    notice(f"written to {output}")
    return 0


def _export(options: Namespace, view: str) -> int:
    """Export a run to a file. Its records are read twice: for the summary, then for the export itself."""
    from loadstone.cli import run_arguments
    from loadstone.dataset import tokenizer as tokenizers
    from loadstone.plugins import load_instance
    from loadstone.report import output
    from loadstone.report.exports import BINARY

    export = load_instance("loadstone.views", view, exports(), "--as")
    target = getattr(options, "output", None)
    if view in BINARY and target in (None, "-") and sys.stdout.isatty():
        raise ConfigError(f"--as {view} is not for a terminal: name a file with -o")
    tokenizer, goodput = _measures(options)
    source = run_arguments.RunSource(options.runs[0])
    summary = source.summary(tokenizer, goodput)
    with output.open_target(target) as file:
        export(summary, source.records(), tokenizers.load(tokenizer).count if tokenizer else None, file)
    return 0 if summary.counts.succeeded else 1
