"""`loadstone sweep`: runs over lists of settings, over a load that finds its own points, or in search of an objective.

The grammar of lists is grid.py's, what is run and in which order is a guide's, and reports are those of views.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loadstone.cli import run_flags
from loadstone.cli.flag_types import (
    ValueList,
    list_of,
    number_or_text,
    on_off,
    one_of,
    parse_list,
    seconds_or_text,
    whole_number,
    workers,
)
from loadstone.cli.flag_types import duration as seconds
from loadstone.config.schema import FLAGS, Config, flag
from loadstone.errors import UsageError
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.summary import Summary
from loadstone.sweep.points import Sweep

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.sweep.plan import SweepPlan
    from loadstone.sweep.run import SweepRun
    from loadstone.sweep.slo_search import SearchResult

# Settings that are the whole sweep's.
NEVER = ("output", "label", "goodput", "header", "request_id", "save_text", "save_bodies", "max_error_rate", "html")
# Flags of a sweep; one of `run` with the same name is left out.
OWN = ("--vary", "--grid", "--zip", "--repeat", "--rest", "--gpus", "--auto", "--slo", "--search", "--within",
       "--at-least", "--at-most", "--max-points", "--probe-max")  # fmt: skip
SWEEP_ONLY = ("order", "kinds", *(name[2:].replace("-", "_") for name in OWN))
_LISTS: tuple[Any, ...] = (whole_number, float, seconds, number_or_text, seconds_or_text, workers)
Kinds = Mapping[str, Callable[[str], Any]]
Drawn = Callable[["Sweep", "SearchResult | None"], str]


class _Lists:
    """Takes the flags of `run` for a parser, and lets those with a number, a length, a time or a choice take lists."""

    def __init__(self, target: Any, kinds: dict[str, Callable[[str], Any]]) -> None:
        self._target, self._kinds = target, kinds

    def add_argument_group(self, *given: Any) -> _Lists:
        return _Lists(self._target.add_argument_group(*given), self._kinds)

    def add_mutually_exclusive_group(self) -> _Lists:
        return _Lists(self._target.add_mutually_exclusive_group(), self._kinds)

    def add_argument(self, *names: str, **options: Any) -> None:
        if set(names) & set(OWN):
            return
        kind = options.get("type", str)
        choices = options.pop("choices", None)
        if choices:
            kind, options["metavar"] = one_of(choices), "{" + ",".join(choices) + "}"
        if choices or kind in _LISTS:
            options["type"] = list_of(kind)
        plain = options.get("action") in (None, "append") and "nargs" not in options
        action = self._target.add_argument(*names, **options)
        self._kinds[action.dest] = kind if plain else on_off


def add(parser: ArgumentParser) -> None:
    kinds: dict[str, Callable[[str], Any]] = {}
    lists: Any = _Lists(parser, kinds)
    run_flags.add(lists)
    parser.set_defaults(kinds=kinds)
    sweep = parser.add_argument_group("sweep (docs/sweeps.md; every number, length, time and choice may be a list)")
    sweep.add_argument(
        "--vary",
        action="append",
        metavar="FLAG=LIST",
        help="a list for any flag: 'dataset=a.jsonl,b.jsonl'; repeatable",
    )
    order = sweep.add_mutually_exclusive_group()
    order.add_argument("--grid", dest="order", action="store_const", const="grid", help="every combination (default)")
    order.add_argument("--zip", dest="order", action="store_const", const="zip", help="first with first, second ...")
    sweep.add_argument("--repeat", type=whole_number, metavar="N", help="runs of each point (1)")
    sweep.add_argument("--rest", type=seconds, metavar="T", help="pause before each run but the first (0)")
    sweep.add_argument(
        "--gpus", type=whole_number, metavar="N", help="of the server: tokens/s are told for each of them"
    )
    _add_searches(parser)


def _add_searches(parser: ArgumentParser) -> None:
    search = parser.add_argument_group("points found on the way (beginning at -c or --rate, else at 1)")
    loads = ["concurrency", "rate"]
    search.add_argument(
        "--auto", nargs="?", const="concurrency", choices=loads, help="double it to saturation, then refine the knee"
    )
    search.add_argument("--slo", metavar="TERMS", help="find the most load with 'ttft.p99<500ms tpot.p95<50ms'")
    search.add_argument("--search", choices=loads, help="which load --slo searches for (rate)")
    search.add_argument("--within", metavar="P", help="how near neighbours must come: 5%% (--slo 5%%, --auto 25%%)")
    search.add_argument("--at-least", type=float, metavar="X", help="the lowest load to try")
    search.add_argument("--at-most", type=float, metavar="X", help="the highest load to try")
    search.add_argument("--max-points", type=whole_number, metavar="N", help="loads to try (--slo 40, --auto 16)")
    search.add_argument(
        "--probe-max",
        type=number_or_text,
        metavar="N|T",
        help="requests, or seconds (10m), a load may take to be decided (20000)",
    )


def run(options: Namespace) -> int:
    from loadstone.cli import run as one
    from loadstone.config import load as given
    from loadstone.engine import run_folder
    from loadstone.sweep import plan
    from loadstone.sweep.run import SweepRun

    output.check_new(getattr(options, "junit", None), "--junit")
    fixed, lists = split(given.merge_settings(vars(options)), getattr(options, "vary", ()), options.kinds)
    config = given.make_config(fixed, getattr(options, "config", None))
    view = renderer(getattr(options, "view", "text"))
    path = Path(config.output) if config.output else run_folder.default_path(config.label or "sweep")
    course = plan.make_plan(vars(options), config, lists, path)
    campaign = SweepRun(path, course.grid, config, notice)
    if course.warning:
        notice(course.warning)
    with one.served(config) as served:
        live = None if getattr(options, "quiet", False) else one.show_progress
        ended = campaign.run(course.strategy, _goer(served.url, live), _pause(getattr(options, "rest", 0.0)))
    status = _finish(campaign, ended, course, view)
    _for_ci(options, campaign.path)
    return status


def report(path: Path, options: Namespace) -> int:
    """`loadstone report` of a sweep."""
    from loadstone.sweep import folder as sweeps
    from loadstone.sweep import strategies

    sweep, found = sweeps.read_sweep(path), strategies.load_result(path)
    output.write(renderer(getattr(options, "view", "text"))(sweep, found), getattr(options, "output", None))
    _for_ci(options, path)
    return 0 if any(run.counts.succeeded for point in sweep.points for run in point.runs) else 1


def _for_ci(options: Namespace, path: Path) -> None:
    from loadstone.sweep import folder as sweeps
    from loadstone.sweep import strategies

    sweep, found = sweeps.read_sweep(path), strategies.load_result(path)
    output.write_ci_files(vars(options), lambda: renderer("junit")(sweep, found), lambda: renderer("md")(sweep, found))


def renderer(view: str) -> Drawn:
    """The view of a sweep by its name. Raises UsageError."""
    from loadstone.report import junit
    from loadstone.sweep import csv, folder
    from loadstone.sweep.junit import sweep_suites
    from loadstone.sweep.page import page

    def paged(form: str) -> Drawn:
        return lambda sweep, found: output.render(page(sweep, found), form)

    views: dict[str, Drawn] = {
        **{form: paged(form) for form in output.FORMS},
        "csv": lambda sweep, _: csv.render(sweep),
        "json": folder.render,
        "junit": lambda sweep, found: junit.draw(sweep_suites(sweep, found, failed_points(sweep))),
    }
    if view not in views:
        raise UsageError(f"--as takes {', '.join(views)} for a sweep, not {view!r}")
    return views[view]


def _goer(url: Any, live: Any) -> Callable[[Config], Summary]:
    """Makes a run against the one server of the sweep, and says what came of it in a line."""
    from loadstone import loadtest
    from loadstone.host import event_loop
    from loadstone.sweep.page import run_line

    said = set[str]()

    def once(text: str) -> None:
        """What holds for one run holds for the next, whatever its numbers."""
        if (kind := re.sub(r"\d+", "0", text)) not in said:
            said.add(kind)
            notice(text)

    def go(config: Config) -> Summary:
        config = msgspec.structs.replace(config, url=config.url or url)
        notice(f"{config.label}: begins")
        summary = event_loop.run(loadtest.load_test(config, notice=once, live=live)).summary
        notice(f"{config.label}: {run_line(summary)}")
        return summary

    return go


def _pause(rest: float) -> Callable[[], None]:
    return lambda: time.sleep(rest)


def _finish(campaign: SweepRun, ended: str, course: SweepPlan, view: Drawn) -> int:
    """Everything derived is written, however the sweep ended."""
    from loadstone.engine import run_folder
    from loadstone.sweep import strategies

    folder, found = run_folder.RunFolder(campaign.path, new=False), None
    if course.slo_search:
        found = course.slo_search.result(campaign.sweep)
        folder.write_json(strategies.SEARCH, found)
    if course.knee_search:
        campaign.save_note(course.knee_search.describe(campaign.sweep))
    for name, kind in (("sweep.csv", "csv"), ("report.md", "md"), ("report.html", "html")):
        if kind != "html" or campaign.sweep.grid.config.get("html", True):
            folder.write(name, renderer(kind)(campaign.sweep, found))
    output.write(view(campaign.sweep, found), None)
    notice(f"results are in {campaign.path}")
    if ended == "interrupted":
        notice(f"interrupted: the same command with -o {campaign.path} goes on")
        return 130
    return _status(campaign.sweep, found)


def _status(sweep: Sweep, found: SearchResult | None) -> int:
    """1 where a point failed, or where no load meets the objectives. A search goes where the server gives way."""
    if found is not None:
        unmet = [outcome for outcome in found.outcomes if outcome.answer.low is None]
        for outcome in unmet:
            notice(f"the objectives are not met: {outcome.said}")
        return 1 if unmet or any(point.failed for point in sweep.points) else 0
    bad = failed_points(sweep)
    if bad:
        more = ", ..." if bad[3:] else ""
        notice(f"{len(bad)} of {len(sweep.points)} points failed: {', '.join(bad[:3])}{more}")
    return 1 if bad else 0


def failed_points(sweep: Sweep) -> list[str]:
    """Points that could not be run, had no success, or more errors than allowed."""
    most = float(sweep.grid.config.get("max_error_rate") or 0.0)
    return [p.name for p in sweep.points if not p.runs or any(_failed(run, most) for run in p.runs)]


def _failed(summary: Summary, most: float) -> bool:
    counts = summary.counts
    return not counts.succeeded or counts.failed > most * counts.completed


def split(
    settings: Mapping[str, Any], vary: Sequence[str], kinds: Kinds
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The settings of one run, and lists by field, in the order typed; those of --vary behind. Raises UsageError."""
    lists = {name: list(value) for name, value in settings.items() if _is_list(name, value)}
    fixed = {name: value for name, value in settings.items() if name not in lists and name not in SWEEP_ONLY}
    for text in vary:
        name, found = parse_vary(text, kinds)
        if name in lists or name in fixed:
            raise UsageError(f"--{flag(name)} is given twice: leave it out beside --vary {text}")
        lists[name] = found
    return fixed, lists


def _is_list(name: str, value: Any) -> bool:
    """Of the command line, or of a configuration file."""
    own = ("url", "stop", "scrape", *NEVER, *SWEEP_ONLY)
    return isinstance(value, ValueList) or (isinstance(value, list) and name not in own)


def parse_vary(text: str, kinds: Kinds) -> tuple[str, list[Any]]:
    """A field and its values, from `FLAG=LIST`. Raises UsageError."""
    named, equals, values = text.partition("=")
    plain = named.strip().lstrip("-").replace("-", "_")
    name = {other.replace("-", "_"): field for field, other in FLAGS.items()}.get(plain, plain)
    if not equals or not values:
        raise UsageError(f"--vary takes FLAG=VALUE,VALUE such as temperature=0,1, not {text!r}")
    if name not in kinds or name in NEVER or name not in Config.__struct_fields__:
        raise UsageError(f"--vary takes a flag of `loadstone run` that points can differ in, not {named!r}")
    try:
        return name, parse_list(values, kinds[name])
    except ValueError as exc:
        raise UsageError(f"--vary {named}: {exc}") from exc
