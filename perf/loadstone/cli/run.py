"""`loadstone run`, and what `report` and a swarm do like it: show the results of one run, and give its exit status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from loadstone.cli import repeat, run_flags
from loadstone.config import load
from loadstone.report import output as outputs
from loadstone.report.output import notice
from loadstone.report.show import show, view_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.config.schema import Config
    from loadstone.summary import Summary


def add(parser: ArgumentParser) -> None:
    run_flags.add(parser)
    repeat.add(parser)


def run(options: Namespace) -> int:
    from loadstone import loadtest, results
    from loadstone.host import event_loop

    config, view = load.load_config(vars(options)).check(), find_view(options)
    live = None if getattr(options, "quiet", False) else show_progress
    outputs.check_new(getattr(options, "junit", None), "--junit")
    with served(config) as config:
        if repeat.is_requested(options):
            done = repeat.run(
                options, config, lambda c: event_loop.run(loadtest.load_test(c, notice=notice, live=live))
            )
            return 130 if done.interrupted else max(result.exit_status(config, notice) for result in done.results)
        result = event_loop.run(loadtest.load_test(config, notice=notice, live=live))
    show(result.summary, view, page=lambda: results.saved_page(result.folder))
    for_ci(options, result.summary)
    notice(f"results are in {result.folder}")
    return result.exit_status(config, notice)


def served(config: Config) -> AbstractContextManager[Config]:
    """The configuration with an address: the one given, or that of a simulated server for as long as the run lasts."""
    from loadstone.sim.spawn import with_server

    return with_server(config, notice)


async def show_progress(progress: Any) -> None:
    from loadstone.live import display as live

    await live.watch(progress)


def find_view(options: Namespace, others: Mapping[str, str] | None = None) -> Callable[[Summary], str]:
    """The view asked for, found before the run and not after it."""
    return view_of(getattr(options, "view", "text"), others)


def for_ci(options: Namespace, summary: Summary) -> None:
    from loadstone.report import junit, markdown

    outputs.write_ci_files(vars(options), lambda: junit.render(summary), lambda: markdown.render(summary))
