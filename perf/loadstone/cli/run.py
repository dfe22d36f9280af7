"""`loadstone run`, and what `report` and a swarm do like it: show the results of one run, and give its exit status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from loadstone.cli import run_flags as flags
from loadstone.report import output as outputs
from loadstone.report.output import notice
from loadstone.config import load as given
from loadstone.cli import repeat

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.config.schema import Config
    from loadstone.records import Summary
    from loadstone.load_test import Result


def add(verb: ArgumentParser) -> None:
    flags.add(verb)
    repeat.add(verb)


def run(options: Namespace) -> int:
    from loadstone.host import event_loop as loop
    from loadstone import results, load_test as session

    config, view = given.config_of(options).check(), asked(options)
    live = None if getattr(options, "quiet", False) else watched
    outputs.check_new(getattr(options, "junit", None), "--junit")
    with served(config) as config:
        if repeat.wanted(options):
            done = repeat.run(options, config, lambda c: loop.run(session.load_test(c, notice=notice, live=live)))
            return 130 if done.interrupted else max(status(result, config) for result in done.results)
        result = loop.run(session.load_test(config, notice=notice, live=live))
    show(result.summary, view, page=lambda: results.written_page(result.folder))
    for_ci(options, result.summary)
    notice(f"results are in {result.folder}")
    return status(result, config)


def served(config: Config) -> AbstractContextManager[Config]:
    """The configuration with an address: the one given, or that of a simulated server for as long as the run lasts."""
    from loadstone.sim.spawn import with_server

    return with_server(config, notice)


async def watched(progress: Any) -> None:
    from loadstone.live import display as live

    await live.watch(progress)


def asked(options: Namespace, others: Mapping[str, str] | None = None) -> Callable[[Summary], str]:
    """The view asked for, found before the run and not after it."""
    return view_of(getattr(options, "view", "text"), others)


def view_of(name: str, others: Mapping[str, str] | None = None) -> Callable[[Summary], str]:
    """`others`: names that are known as well, but done elsewhere."""
    from loadstone.report import terminal as console
    from loadstone.plugins import find
    from loadstone.report import VIEWS

    if name == "text":
        return console.render
    view: Callable[[Summary], str] = find("loadstone.views", name, {"text": "", **VIEWS, **(others or {})}, "--as")
    return view


def show(
    summary: Summary,
    view: Callable[[Summary], str],
    output: str | None = None,
    page: Callable[[], str | None] = lambda: None,
) -> None:
    """`page`: the report with its charts, for the view that has any."""
    from loadstone.report import terminal as console
    from loadstone.report import run_page as report

    if view is console.render and output in (None, "-"):
        console.report(summary)
    else:
        outputs.put((page() if view is report.render else None) or view(summary), output)


def for_ci(options: Namespace, summary: Summary) -> None:
    from loadstone.report import junit, markdown

    outputs.for_ci(options, lambda: junit.render(summary), lambda: markdown.render(summary))


def status(result: Result, config: Config) -> int:
    summary = result.summary
    if summary.run.get("ended") == "interrupted":
        return 130
    counts = summary.counts
    if not counts.succeeded:
        from loadstone.checks.rules import why

        notice(f"no request succeeded; {why(summary)}")
        return 1
    if counts.failed > config.max_error_rate * counts.completed:
        notice(
            f"{counts.failed} of {counts.completed} requests failed, above --max-error-rate {config.max_error_rate:g}"
        )
        return 1
    return 0 if str(summary.run.get("ended")) in ("done", "duration", "stages") else 1
