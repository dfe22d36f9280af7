"""`loadstone run --repeat N`, and `loadstone report` of what it leaves: several runs of one load, and their spread."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadstone.cli.flag_types import duration, whole_number
from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.report import output as outputs
from loadstone.report.output import notice
from loadstone.summary import Summary

if TYPE_CHECKING:
    from loadstone.compare.repeat_runs import RepeatedRuns
    from loadstone.compare.repeats import Repeats
    from loadstone.loadtest import Result

FORMS = (*outputs.FORMS, "json")


def add(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("repeats (docs/statistics.md)")
    group.add_argument(
        "--repeat", type=whole_number, metavar="N", help="run N times, in folders DIR/1 to DIR/N, and compare"
    )
    group.add_argument("--rest", type=duration, metavar="T", help="pause between two runs (0)")
    group.add_argument(
        "--same-prompts", action="store_true", help="the same seed, order and prompts each time; caches will know them"
    )


def is_requested(options: Namespace) -> bool:
    """Raises UsageError where only what belongs to it is given."""
    for name in ("rest", "same_prompts"):
        if hasattr(options, name) and not hasattr(options, "repeat"):
            raise UsageError(f"--{name.replace('_', '-')} is between several runs: give --repeat N with it")
    return hasattr(options, "repeat")


def run(options: Namespace, config: Config, one: Callable[[Config], Result]) -> RepeatedRuns:
    """The runs, and their table on stdout."""
    from loadstone.compare import repeat_runs

    form = _form(options)
    rest, same = getattr(options, "rest", 0.0), hasattr(options, "same_prompts")
    done = repeat_runs.run(config, options.repeat, one, rest_s=rest, same_seed=same, notice=notice)
    _show(done.table, done.folder, form, None)
    _for_ci(options, done.table, done.folder, [result.summary for result in done.results])
    notice(f"results are in {done.folder}")
    return done


def report(options: Namespace, path: Path) -> int:
    """The table of a folder that holds repeats, from their records."""
    from loadstone.compare import repeat_runs

    form = _form(options)
    goodput, tokenizer = dict(getattr(options, "goodput", [])), getattr(options, "tokenizer", None)
    found = repeat_runs.read(path, tokenizer, goodput)
    _show(found, path, form, getattr(options, "output", None))
    _for_ci(options, found, path)
    return 0 if any(once.succeeded for once in found.runs) else 1


def _form(options: Namespace) -> str:
    form: str = getattr(options, "view", "text")
    if form not in FORMS:
        raise UsageError(f"--as takes {', '.join(FORMS)} for repeats, not {form}; a run among them has all views")
    return form


def _show(repeats: Repeats, path: Path, form: str, output: str | None) -> None:
    outputs.write(_drawn(repeats, path, form), output)


def _for_ci(options: Namespace, repeats: Repeats, path: Path, runs: Sequence[Summary] = ()) -> None:
    from loadstone.report import junit

    outputs.write_ci_files(
        vars(options), lambda: junit.draw([junit.of_run(run) for run in runs]), lambda: _drawn(repeats, path, "md")
    )


def _drawn(repeats: Repeats, path: Path, form: str) -> str:
    from loadstone.compare.repeats_page import page
    from loadstone.report.json import to_json

    return to_json(repeats) if form == "json" else outputs.render(page(repeats, f"Repeats: {path.name or path}"), form)
