"""`loadstone run`: send one load, show the results. Other commands show their runs with the functions of this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadstone.cli import repeat
from loadstone.cli.flags import add_flags
from loadstone.cli.options import Shown, read_options
from loadstone.config import loading
from loadstone.config.schema import Config
from loadstone.report import output
from loadstone.report.output import notice
from loadstone.report.show import show, view_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.summary import Summary


def add(parser: ArgumentParser) -> None:
    """Add the flags of `run`."""
    add_flags(parser, Config)
    add_flags(parser, Shown)
    add_flags(parser, repeat.RepeatOptions)


def run(options: Namespace) -> int:
    """Run once, or `--repeat` times, and show the results. Return the exit status."""
    from loadstone import loadtest, results
    from loadstone.host import event_loop
    from loadstone.sim import spawn

    # Everything that can be refused is checked before the first request.
    shown, repeats = read_options(Shown, options), read_options(repeat.RepeatOptions, options)
    config, view = loading.load_config(vars(options)), view_of(shown.view)
    live = None if shown.quiet else show_progress
    output.check_new(shown.junit, "--junit")
    with spawn.with_server(config, notice) as config:
        if repeats.repeat is not None:
            once = output.notice_once()
            done = repeat.run(
                repeats, shown, config, lambda c: event_loop.run(loadtest.load_test(c, notice=once, live=live))
            )
            return 130 if done.interrupted else max(one.exit_status(config, notice) for one in done.results)
        result = event_loop.run(loadtest.load_test(config, notice=notice, live=live))
    show(result.summary, view, page=lambda: results.saved_page(result.folder))
    if shown.junit or shown.summary:
        for_ci(shown.junit, shown.summary, result.summary)
    notice(f"results are in {result.folder}")
    return result.exit_status(config, notice)


async def show_progress(progress: Any) -> None:
    """Show the progress of a run on the terminal until it ends."""
    from loadstone.live import display

    await display.watch(progress)


def for_ci(junit_file: str | None, step_summary: bool, summary: Summary) -> None:
    """Write what `--junit` and `--summary` request."""
    from loadstone.report import junit, markdown

    output.write_ci_files(junit_file, step_summary, lambda: junit.render(summary), lambda: markdown.render(summary))
