"""`loadstone run`: send one load, show the results. Other commands show their runs with the functions of this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from loadstone.cli import repeat, run_flags
from loadstone.config import load
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.report.show import show, view_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.config.schema import Config
    from loadstone.summary import Summary


def add(parser: ArgumentParser) -> None:
    """Add the flags of `run`."""
    run_flags.add(parser)
    repeat.add(parser)


def run(options: Namespace) -> int:
    """Run once, or `--repeat` times, and show the results. Return the exit status."""
    from loadstone import loadtest, results
    from loadstone.host import event_loop

    # Everything that can be refused is checked before the first request.
    config, view = load.load_config(vars(options)).check(), find_view(options)
    live = None if getattr(options, "quiet", False) else show_progress
    output.check_new(getattr(options, "junit", None), "--junit")
    with with_server(config) as config:
        if repeat.is_requested(options):
            once = output.notice_once()
            repeats = repeat.run(
                options, config, lambda c: event_loop.run(loadtest.load_test(c, notice=once, live=live))
            )
            return 130 if repeats.interrupted else max(one.exit_status(config, notice) for one in repeats.results)
        result = event_loop.run(loadtest.load_test(config, notice=notice, live=live))
    show(result.summary, view, page=lambda: results.saved_page(result.folder))
    for_ci(options, result.summary)
    notice(f"results are in {result.folder}")
    return result.exit_status(config, notice)


def with_server(config: Config) -> AbstractContextManager[Config]:
    """Return a context with the configuration and an address: the one given, or that of a simulated server.

    The simulated server stops when the context ends.
    """
    from loadstone.sim import spawn

    return spawn.with_server(config, notice)


async def show_progress(progress: Any) -> None:
    """Show the progress of a run on the terminal until it ends."""
    from loadstone.live import display

    await display.watch(progress)


def find_view(options: Namespace, others: Mapping[str, str] | None = None) -> Callable[[Summary], str]:
    """Return the view that `--as` names. Call it before the run, so that a wrong name costs nothing."""
    return view_of(getattr(options, "view", "text"), others)


def for_ci(options: Namespace, summary: Summary) -> None:
    """Write what `--junit` and `--summary` request."""
    from loadstone.report import junit, markdown

    output.write_ci_files(vars(options), lambda: junit.render(summary), lambda: markdown.render(summary))
