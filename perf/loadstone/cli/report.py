"""`loadstone report`: one run recomputed from its records, several side by side, and what other programs read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loadstone.cli import run_flags, score
from loadstone.config.parse import parse_slo
from loadstone.errors import UsageError
from loadstone.report.output import notice

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.report.side_by_side import Runs

SIDE_BY_SIDE = ("text", "md", "html", "csv", "json")


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="folder of a run, of its repeats, of a sweep or an evaluation; a records file; - for records; several side"
        " by side",
    )
    parser.add_argument(
        "--as",
        dest="view",
        metavar="VIEW",
        help="text (default), classic, md, csv, json, html, junit, vllm, vllm-sweep, parquet, leaderboard",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write to a new file (vllm-sweep: folder), not to stdout"
    )
    parser.add_argument("--summary", action="store_true", help=run_flags.SUMMARY)
    parser.add_argument("--goodput", nargs="+", type=parse_slo, metavar="METRIC:TIME", help="objectives to judge by")
    parser.add_argument("--tokenizer", metavar="PATH", help="counts tokens of kept texts where the server did not")


def run(options: Namespace) -> int:
    """Exit status 0; 1 where no request succeeded, or a run cannot be read."""
    if len(options.runs) == 1 and score.is_evaluation(Path(options.runs[0])):
        return score.report(options, Path(options.runs[0]))
    return _beyond(options) if _is_beyond(options) else _one(options)


def exports() -> dict[str, str]:
    """Return what a run or a sweep can be exported to, by name: `module:function`."""
    from loadstone.report.exports import EXPORTS
    from loadstone.sweep import FOLDERS

    return {**EXPORTS, **FOLDERS}


def _one(options: Namespace) -> int:
    """A run, or records on stdin, in one of the views."""
    from loadstone import results
    from loadstone.cli import run as run_command
    from loadstone.records import from_lines
    from loadstone.report import show
    from loadstone.server_metrics import csv

    (path,), view = options.runs, run_command.find_view(options, exports())
    tokenizer, goodput = _measures(options)
    if path == "-":
        summary, columns = results.measure_records(from_lines(sys.stdin.buffer, "stdin"), None, tokenizer, goodput)
    else:
        summary, columns = results.read_summary_and_columns(Path(path), tokenizer, goodput)
    output = getattr(options, "output", None)
    show.show(summary, view, output, lambda: results.render_page(summary, columns, csv.read(Path(path))))
    run_command.for_ci(options, summary)
    return 0 if summary.counts.succeeded else 1


def _is_beyond(options: Namespace) -> bool:
    """Whether it is more than one run in one of the views."""
    from loadstone.engine import run_folder
    from loadstone.sweep import folder

    path = Path(options.runs[0])
    many = folder.is_sweep(path) or (not (path / run_folder.RUN).exists() and any(path.glob(f"*/{run_folder.RUN}")))
    return len(options.runs) > 1 or _view(options) in exports() or many


def _beyond(options: Namespace) -> int:
    from loadstone.cli import repeat, sweep
    from loadstone.compare import repeat_runs
    from loadstone.sweep import FOLDERS, folder

    view, path = _view(options), Path(options.runs[0])
    if view not in exports() and len(options.runs) == 1 and folder.is_sweep(path):
        return sweep.report(path, options)
    if view in repeat.FORMS and len(options.runs) == 1 and repeat_runs.is_repeated(path):
        return repeat.report(options, path)
    if view not in exports():
        return _side_by_side(options, view)
    if len(options.runs) > 1:
        raise UsageError(f"--as {view} takes one {'sweep' if view in FOLDERS else 'run'}, not {len(options.runs)}")
    return _folder(options, view) if view in FOLDERS else _export(options, view)


def _view(options: Namespace) -> str:
    return getattr(options, "view", "text")


def _side_by_side(options: Namespace, view: str) -> int:
    from loadstone.cli import run_arguments
    from loadstone.report import output as outputs
    from loadstone.report import side_by_side

    if view not in SIDE_BY_SIDE:
        raise UsageError(f"--as takes {', '.join(SIDE_BY_SIDE)} for several runs, not {view!r}")
    found, unreadable = run_arguments.read_runs(map(Path, options.runs), *_measures(options))
    for sentence in unreadable:
        notice(f"left out: {sentence}")
    if not found:
        raise UsageError("none of these runs can be read: give folders that loadstone run has written")
    _write(side_by_side.Runs(found, unreadable), view, getattr(options, "output", None))
    if getattr(options, "summary", False):
        outputs.step_summary(side_by_side.as_markdown(side_by_side.Runs(found, unreadable)))
    return 1 if unreadable or not all(summary.counts.succeeded for summary in found.values()) else 0


def _write(runs: Runs, view: str, output: str | None) -> None:
    from loadstone.report import output as outputs
    from loadstone.report import side_by_side, terminal

    if view == "text" and output in (None, "-"):
        terminal.show(side_by_side.page(runs))
        return
    forms = {"csv": side_by_side.as_csv, "json": side_by_side.as_json}
    outputs.write(forms[view](runs) if view in forms else outputs.render(side_by_side.page(runs), view), output)


def _folder(options: Namespace, view: str) -> int:
    from loadstone.plugins import load_instance

    output = getattr(options, "output", None)
    if output is None:
        raise UsageError(f"--as {view} writes a folder: name a new one with -o")
    load_instance("loadstone.views", view, exports(), "--as")(Path(options.runs[0]), Path(output))
    notice(f"written to {output}")
    return 0


def _export(options: Namespace, view: str) -> int:
    """Two passes over the records: what is measured of all of them, then the records themselves."""
    from loadstone.cli import run_arguments
    from loadstone.dataset import tokenizer as tokens
    from loadstone.plugins import load_instance
    from loadstone.report import output as outputs
    from loadstone.report.exports import BINARY

    part, output = load_instance("loadstone.views", view, exports(), "--as"), getattr(options, "output", None)
    if view in BINARY and output in (None, "-") and sys.stdout.isatty():
        raise UsageError(f"--as {view} is not for a terminal: name a file with -o")
    tokenizer, goodput = _measures(options)
    source = run_arguments.RunSource(options.runs[0])
    summary = source.summary(tokenizer, goodput)
    with outputs.open_target(output) as file:
        part(summary, source.records(), tokens.load(tokenizer).count if tokenizer else None, file)
    return 0 if summary.counts.succeeded else 1


def _measures(options: Namespace) -> tuple[str | None, dict[str, float]]:
    return getattr(options, "tokenizer", None), dict(getattr(options, "goodput", []))
