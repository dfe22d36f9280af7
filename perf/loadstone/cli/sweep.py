"""`loadstone sweep`: runs over lists of settings, at loads found on the way, or in search of objectives.

sweep/grid.py has the grammar of lists, sweep/plan.py decides what is run, and this file shows the results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loadstone.cli import run_flags
from loadstone.cli.flag_types import (
    ValueList,
    duration,
    list_of,
    number_or_text,
    on_off,
    one_of,
    parse_list,
    seconds_or_text,
    whole_number,
    workers,
)
from loadstone.config.schema import FLAGS, Config, flag
from loadstone.errors import ConfigError
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.summary import Summary
from loadstone.sweep.points import Sweep

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.sweep.plan import SweepPlan
    from loadstone.sweep.run import SweepRun
    from loadstone.sweep.slo_search import SearchResult

# Settings that hold for the whole sweep, so that points cannot differ in them.
NEVER = ("output", "label", "goodput", "header", "request_id", "save_text", "save_bodies", "max_error_rate", "html")
# Flags that `sweep` defines itself; one of `run` with the same name is left out.
OWN = ("--vary", "--grid", "--zip", "--repeat", "--rest", "--gpus", "--auto", "--slo", "--search", "--within",
       "--at-least", "--at-most", "--max-points", "--probe-max")  # fmt: skip
SWEEP_ONLY = ("order", "kinds", *(name[2:].replace("-", "_") for name in OWN))
# Types of flags that take a list in a sweep.
_LIST_TYPES: tuple[Any, ...] = (whole_number, float, duration, number_or_text, seconds_or_text, workers)
# The type of each flag's values, by setting: `--vary` parses its values with it.
Kinds = Mapping[str, Callable[[str], Any]]
Render = Callable[["Sweep", "SearchResult | None"], str]


class _ListFlags:
    """Adds the flags of `run` to a parser; those with a number, a length, a time or a choice take lists."""

    def __init__(self, target: Any, kinds: dict[str, Callable[[str], Any]]) -> None:
        self._target, self._kinds = target, kinds

    def add_argument_group(self, *arguments: Any) -> _ListFlags:
        return _ListFlags(self._target.add_argument_group(*arguments), self._kinds)

    def add_mutually_exclusive_group(self) -> _ListFlags:
        return _ListFlags(self._target.add_mutually_exclusive_group(), self._kinds)

    def add_argument(self, *names: str, **options: Any) -> None:
        if set(names) & set(OWN):
            return
        kind = options.get("type", str)
        choices = options.pop("choices", None)
        if choices:
            kind, options["metavar"] = one_of(choices), "{" + ",".join(choices) + "}"
        if choices or kind in _LIST_TYPES:
            options["type"] = list_of(kind)
        takes_value = options.get("action") in (None, "append") and "nargs" not in options
        action = self._target.add_argument(*names, **options)
        self._kinds[action.dest] = kind if takes_value else on_off


def add(parser: ArgumentParser) -> None:
    """Add the flags of `sweep`, and those of `run` with lists."""
    kinds: dict[str, Callable[[str], Any]] = {}
    lists: Any = _ListFlags(parser, kinds)
    run_flags.add(lists)
    parser.set_defaults(kinds=kinds)
    sweep = parser.add_argument_group("sweep (docs/sweeps.md; every number, length, time and choice may be a list)")
    sweep.add_argument(
        "--vary",
        action="append",
        metavar="FLAG=LIST",
        help="list of values for any flag: 'dataset=a.jsonl,b.jsonl'; repeatable",
    )
    # How several lists are combined.
    order = sweep.add_mutually_exclusive_group()
    order.add_argument(
        "--grid", dest="order", action="store_const", const="grid", help="run every combination (default)"
    )
    order.add_argument(
        "--zip", dest="order", action="store_const", const="zip", help="run the first values, then the second ones ..."
    )
    sweep.add_argument("--repeat", type=whole_number, metavar="N", help="runs of each point (default: 1)")
    sweep.add_argument("--rest", type=duration, metavar="T", help="pause before each run except the first (default: 0)")
    sweep.add_argument(
        "--gpus", type=whole_number, metavar="N", help="GPUs of the server, to report tokens/s per GPU as well"
    )

    # The loads of a search are found on the way, not listed.
    search = parser.add_argument_group("search (starts at -c or --rate, else at 1)")
    loads = ["concurrency", "rate"]
    search.add_argument(
        "--auto",
        nargs="?",
        const="concurrency",
        choices=loads,
        help="double this load until the server saturates, then refine the knee (default: concurrency)",
    )
    search.add_argument(
        "--slo", metavar="TERMS", help="find the highest load that meets 'ttft.p99<500ms tpot.p95<50ms'"
    )
    search.add_argument("--search", choices=loads, help="load that --slo searches over (default: rate)")
    search.add_argument(
        "--within", metavar="P", help="largest gap between neighbouring loads (default: --slo 5%%, --auto 25%%)"
    )
    search.add_argument("--at-least", type=float, metavar="X", help="lowest load to try")
    search.add_argument("--at-most", type=float, metavar="X", help="highest load to try")
    search.add_argument(
        "--max-points", type=whole_number, metavar="N", help="maximum number of loads (default: --slo 40, --auto 16)"
    )
    search.add_argument(
        "--probe-max",
        type=number_or_text,
        metavar="N|T",
        help="maximum requests, or time such as 10m, to decide one load (default: 20000)",
    )


def run(options: Namespace) -> int:
    """Run the sweep, write its files and show its report. Return the exit status."""
    from loadstone.cli import run as run_command
    from loadstone.config import load
    from loadstone.engine import run_folder
    from loadstone.sweep import plan
    from loadstone.sweep.run import SweepRun

    # Everything that can be refused is checked before the first request.
    output.check_new(getattr(options, "junit", None), "--junit")
    fixed, lists = split(load.merge_settings(vars(options)), getattr(options, "vary", ()), options.kinds)
    config = load.make_config(fixed, getattr(options, "config", None))
    render = renderer(getattr(options, "view", "text"))
    path = Path(config.output) if config.output else run_folder.default_path(config.label or "sweep")
    sweep_plan = plan.make_plan(vars(options), config, lists, path)
    sweep_run = SweepRun(path, sweep_plan.grid, config, notice)
    if sweep_plan.warning:
        notice(sweep_plan.warning)

    rest = getattr(options, "rest", 0.0)
    live = None if getattr(options, "quiet", False) else run_command.show_progress
    with run_command.with_server(config) as served:
        ended = sweep_run.run(sweep_plan.strategy, _run_once(served.url, live), lambda: time.sleep(rest))
    status = _finish(sweep_run, ended, sweep_plan, render)
    _for_ci(options, sweep_run.path)
    return status


def report(path: Path, options: Namespace) -> int:
    """Show the report of a sweep's folder. Return exit status 1 if no request succeeded, else 0."""
    from loadstone.sweep import folder, strategies

    sweep, result = folder.read_sweep(path), strategies.load_result(path)
    output.write(renderer(getattr(options, "view", "text"))(sweep, result), getattr(options, "output", None))
    _for_ci(options, path)
    return 0 if any(run.counts.succeeded for point in sweep.points for run in point.runs) else 1


def _for_ci(options: Namespace, path: Path) -> None:
    """Write what `--junit` and `--summary` request."""
    from loadstone.sweep import folder, strategies

    sweep, result = folder.read_sweep(path), strategies.load_result(path)
    output.write_ci_files(
        vars(options), lambda: renderer("junit")(sweep, result), lambda: renderer("md")(sweep, result)
    )


def renderer(view: str) -> Render:
    """Return the function that renders a sweep as `view`. Raises ConfigError for an unknown one."""
    from loadstone.report import junit
    from loadstone.sweep import csv, folder
    from loadstone.sweep.junit import sweep_suites
    from loadstone.sweep.page import page

    def page_as(form: str) -> Render:
        return lambda sweep, result: output.render(page(sweep, result), form)

    views: dict[str, Render] = {
        **{form: page_as(form) for form in output.FORMS},
        "csv": lambda sweep, _: csv.render(sweep),
        "json": folder.render,
        "junit": lambda sweep, result: junit.draw(sweep_suites(sweep, result, failed_points(sweep))),
    }
    if view not in views:
        raise ConfigError(f"--as takes {', '.join(views)} for a sweep, not {view!r}", field="as")
    return views[view]


def _run_once(url: Any, live: Any) -> Callable[[Config], Summary]:
    """Return the function that makes one run against the sweep's server and prints its result in a line."""
    from loadstone import loadtest
    from loadstone.host import event_loop
    from loadstone.sweep.page import run_line

    notice_once = output.notice_once()

    def run_once(config: Config) -> Summary:
        config = msgspec.structs.replace(config, url=config.url or url)
        notice(f"{config.label}: begins")
        summary = event_loop.run(loadtest.load_test(config, notice=notice_once, live=live)).summary
        notice(f"{config.label}: {run_line(summary)}")
        return summary

    return run_once


def _finish(sweep_run: SweepRun, ended: str, sweep_plan: SweepPlan, render: Render) -> int:
    """Write the derived files and show the report, however the sweep ended.

    Return exit status 130 after Ctrl-C, 1 if a point failed or no load meets the objectives, else 0.
    """
    from loadstone.engine import run_folder
    from loadstone.sweep import strategies

    folder = run_folder.RunFolder(sweep_run.path, new=False)
    sweep, result = sweep_run.sweep, None
    if sweep_plan.slo_search:
        result = sweep_plan.slo_search.result(sweep)
        folder.write_json(strategies.SEARCH, result)
    if sweep_plan.knee_search:
        sweep_run.save_note(sweep_plan.knee_search.describe(sweep))
        sweep = sweep_run.sweep
    # Derived files, which `loadstone report` can make again.
    for name, kind in (("sweep.csv", "csv"), ("report.md", "md"), ("report.html", "html")):
        if kind != "html" or sweep.grid.config.get("html", True):
            folder.write(name, renderer(kind)(sweep, result))
    output.write(render(sweep, result), None)
    notice(f"results are in {sweep_run.path}")
    if ended == "interrupted":
        notice(f"interrupted: the same command with -o {sweep_run.path} goes on")
        return 130
    # Failed requests do not count in a search: it goes to where the server fails.
    if result is not None:
        unmet = [outcome for outcome in result.outcomes if outcome.answer.low is None]
        for outcome in unmet:
            notice(f"the objectives are not met: {outcome.said}")
        return 1 if unmet or any(point.failed for point in sweep.points) else 0
    failed = failed_points(sweep)
    if failed:
        more = ", ..." if failed[3:] else ""
        notice(f"{len(failed)} of {len(sweep.points)} points failed: {', '.join(failed[:3])}{more}")
    return 1 if failed else 0


def failed_points(sweep: Sweep) -> list[str]:
    """Return the names of points without a run, without a success, or above the allowed error rate."""
    max_error_rate = float(sweep.grid.config.get("max_error_rate") or 0.0)

    def failed(summary: Summary) -> bool:
        counts = summary.counts
        return not counts.succeeded or counts.failed > max_error_rate * counts.completed

    return [point.name for point in sweep.points if not point.runs or any(map(failed, point.runs))]


def split(
    settings: Mapping[str, Any], vary: Sequence[str], kinds: Kinds
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Split settings into those of every run and lists by setting, in the order typed; those of `--vary` come last.

    A list is a `ValueList` of the command line, or a list in a configuration file. Raises ConfigError.
    """
    single = ("url", "stop", "scrape", *NEVER, *SWEEP_ONLY)  # lists of these are one value
    lists = {
        name: list(value)
        for name, value in settings.items()
        if isinstance(value, ValueList) or (isinstance(value, list) and name not in single)
    }
    fixed = {name: value for name, value in settings.items() if name not in lists and name not in SWEEP_ONLY}
    for text in vary:
        name, values = parse_vary(text, kinds)
        if name in lists or name in fixed:
            raise ConfigError(f"--{flag(name)} is given twice: leave it out beside --vary {text}")
        lists[name] = values
    return fixed, lists


def parse_vary(text: str, kinds: Kinds) -> tuple[str, list[Any]]:
    """Parse `FLAG=LIST` into a setting and its values. Raises ConfigError."""
    typed, equals, values = text.partition("=")
    plain = typed.strip().lstrip("-").replace("-", "_")
    name = {other.replace("-", "_"): field for field, other in FLAGS.items()}.get(plain, plain)
    if not equals or not values:
        raise ConfigError(f"--vary takes FLAG=VALUE,VALUE such as temperature=0,1, not {text!r}", field="vary")
    if name not in kinds or name in NEVER or name not in Config.__struct_fields__:
        raise ConfigError(
            f"--vary takes a flag of `loadstone run` that points can differ in, not {typed!r}", field="vary"
        )
    try:
        return name, parse_list(values, kinds[name])
    except ValueError as exc:
        raise ConfigError(f"--vary {typed}: {exc}", field="vary") from exc
