"""`loadstone run --repeat N`, and `loadstone report` of its folder: several runs of one load, and their spread."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadstone.cli.flag_types import duration, whole_number
from loadstone.config.schema import Config
from loadstone.errors import ConfigError
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.summary import Summary

if TYPE_CHECKING:
    from loadstone.compare.repeat_runs import RepeatedRuns
    from loadstone.compare.repeats import Repeats
    from loadstone.loadtest import Result

FORMS = (*output.FORMS, "json")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of repeated runs."""
    group = parser.add_argument_group("repeats (docs/statistics.md)")
    group.add_argument(
        "--repeat", type=whole_number, metavar="N", help="run N times, in folders DIR/1 to DIR/N, and compare the runs"
    )
    group.add_argument("--rest", type=duration, metavar="T", help="pause between two runs (default: 0)")
    group.add_argument(
        "--same-prompts",
        action="store_true",
        help="use the same seed, order and prompts in each run; later runs then hit the server's caches",
    )


def is_requested(options: Namespace) -> bool:
    """Return True if `--repeat` is given. Raises ConfigError for its other flags without it."""
    for name in ("rest", "same_prompts"):
        if hasattr(options, name) and not hasattr(options, "repeat"):
            raise ConfigError(f"--{name.replace('_', '-')} is between several runs: give --repeat N with it")
    return hasattr(options, "repeat")


def run(options: Namespace, config: Config, one: Callable[[Config], Result]) -> RepeatedRuns:
    """Run the load several times and print the table of the runs. `one` makes a single run."""
    from loadstone.compare import repeat_runs

    form = _form(options)
    rest = getattr(options, "rest", 0.0)
    same_seed = hasattr(options, "same_prompts")
    repeated = repeat_runs.run(config, options.repeat, one, rest_s=rest, same_seed=same_seed, notice=notice)
    output.write(_render(repeated.table, repeated.folder, form), None)
    _for_ci(options, repeated.table, repeated.folder, [result.summary for result in repeated.results])
    notice(f"results are in {repeated.folder}")
    return repeated


def report(options: Namespace, path: Path) -> int:
    """Show the table of a folder of repeats, recomputed from their records. Return the exit status."""
    from loadstone.compare import repeat_runs
    from loadstone.config.slo import parse_goodput

    form = _form(options)
    goodput = parse_goodput(options.goodput) if hasattr(options, "goodput") else {}
    tokenizer = getattr(options, "tokenizer", None)
    repeats = repeat_runs.read(path, tokenizer, goodput)
    output.write(_render(repeats, path, form), getattr(options, "output", None))
    _for_ci(options, repeats, path)
    return 0 if any(once.succeeded for once in repeats.runs) else 1


def _form(options: Namespace) -> str:
    """Return the format of `--as`. Raises ConfigError if repeats do not have it."""
    form: str = getattr(options, "view", "text")
    if form not in FORMS:
        raise ConfigError(f"--as takes {', '.join(FORMS)} for repeats, not {form}; a run among them has all views")
    return form


def _for_ci(options: Namespace, repeats: Repeats, path: Path, runs: Sequence[Summary] = ()) -> None:
    """Write what `--junit` and `--summary` request."""
    from loadstone.report import junit

    output.write_ci_files(
        vars(options), lambda: junit.draw([junit.of_run(run) for run in runs]), lambda: _render(repeats, path, "md")
    )


def _render(repeats: Repeats, path: Path, form: str) -> str:
    """Render the table of repeats as one of FORMS."""
    from loadstone.compare.repeats_page import page
    from loadstone.report.json import to_json

    if form == "json":
        return to_json(repeats)
    return output.render(page(repeats, f"Repeats: {path.name or path}"), form)
