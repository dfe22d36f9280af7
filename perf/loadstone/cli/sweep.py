"""`loadstone sweep`: runs over lists of settings, at loads found on the way, or in search of objectives.

sweep/settings.py has the settings, sweep/grid.py the grammar of lists, sweep/plan.py decides what is run, and this file
shows the results.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadstone.cli.flags import add_flags
from loadstone.cli.options import Shown, read_options
from loadstone.config.output import MAX_ERROR_RATE
from loadstone.config.schema import Config
from loadstone.errors import ConfigError
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.summary import EndReason, Summary
from loadstone.sweep.points import Sweep
from loadstone.sweep.settings import SweepSettings, load_sweep

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.cli.report_options import ReportOptions
    from loadstone.sweep.plan import SweepPlan
    from loadstone.sweep.run import SweepRun
    from loadstone.sweep.slo_search import SearchResult

Render = Callable[["Sweep", "SearchResult | None"], str]


def add(parser: ArgumentParser) -> None:
    """Add the flags of `sweep`, and those of `run` with lists."""
    add_flags(parser, Config, lists=True)
    add_flags(parser, Shown)
    add_flags(parser, SweepSettings)


def run(options: Namespace) -> int:
    """Run the sweep, write its files and show its report. Return the exit status."""
    from loadstone.cli import run as run_command
    from loadstone.engine import run_folder
    from loadstone.sim import spawn
    from loadstone.sweep import plan
    from loadstone.sweep.run import SweepRun

    # Everything that can be refused is checked before the first request.
    shown = read_options(Shown, options)
    output.check_new(shown.junit, "--junit")
    settings, lists = load_sweep(vars(options))
    config = settings.run
    render = renderer(shown.view)
    path = Path(config.output) if config.output else run_folder.default_path(config.label or "sweep")
    sweep_plan = plan.make_plan(settings, lists, path)
    sweep_run = SweepRun(path, sweep_plan.grid, config, notice)
    if sweep_plan.warning:
        notice(sweep_plan.warning)

    live = None if shown.quiet else run_command.show_progress
    with spawn.with_server(config, notice) as served:
        ended = sweep_run.run(sweep_plan.strategy, _run_once(served.url, live), lambda: time.sleep(settings.rest))
    status = _finish(sweep_run, ended, sweep_plan, render)
    _for_ci(shown, sweep_run.path)
    return status


def report(path: Path, options: ReportOptions) -> int:
    """Show the report of a sweep's folder. Return exit status 1 if no request succeeded, else 0."""
    from loadstone.sweep import folder, strategies

    sweep, result = folder.read_sweep(path), strategies.load_result(path)
    output.write(renderer(options.view)(sweep, result), options.output)
    _for_ci(options, path)
    return 0 if any(run.counts.succeeded for point in sweep.points for run in point.runs) else 1


def _for_ci(shown: Shown | ReportOptions, path: Path) -> None:
    """Write what `--junit` and `--summary` request."""
    from loadstone.sweep import folder, strategies

    sweep, result = folder.read_sweep(path), strategies.load_result(path)
    output.write_ci_files(
        shown.junit, shown.summary, lambda: renderer("junit")(sweep, result), lambda: renderer("md")(sweep, result)
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
        raise ConfigError(f"--as takes {', '.join(views)} for a sweep, not {view!r}")
    return views[view]


def _run_once(url: Any, live: Any) -> Callable[[Config], Summary]:
    """Return the function that makes one run against the sweep's server and prints its result in a line."""
    from loadstone import loadtest
    from loadstone.host import event_loop
    from loadstone.sweep.page import run_line

    notice_once = output.notice_once()

    def run_once(config: Config) -> Summary:
        config = dataclasses.replace(config, url=config.url or url)
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
    if ended == EndReason.INTERRUPTED:
        notice(f"interrupted: the same command with -o {sweep_run.path} goes on")
        return 130
    # Failed requests do not count in a search: it goes to where the server fails.
    if result is not None:
        unmet = [outcome for outcome in result.outcomes if outcome.answer.low is None]
        for outcome in unmet:
            notice(f"the objectives are not met: {outcome.said}")
        return 1 if unmet or any(point.failed for point in sweep.points) else 0
    failed = failed_points(sweep, most=1.0 if sweep_plan.knee_search else None)
    if failed:
        more = ", ..." if failed[3:] else ""
        notice(f"{len(failed)} of {len(sweep.points)} points failed: {', '.join(failed[:3])}{more}")
    return 1 if failed else 0


def failed_points(sweep: Sweep, most: float | None = None) -> list[str]:
    """Return the names of points without a run, without a success, or above an error rate.

    most: the error rate, that of --max-error-rate by default. A search for a knee goes to where the server fails.
    """
    max_error_rate = float(sweep.grid.config.get("max_error_rate", MAX_ERROR_RATE)) if most is None else most

    def failed(summary: Summary) -> bool:
        counts = summary.counts
        return not counts.succeeded or counts.failed > max_error_rate * counts.completed

    return [point.name for point in sweep.points if not point.runs or any(map(failed, point.runs))]
