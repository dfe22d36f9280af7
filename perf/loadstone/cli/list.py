"""`loadstone list`: the names of built-in parts, of those of installed distributions, and of bundled datasets."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        default=None,
        choices=["apis", "readers", "views", "datasets", "tasks"],
        help="one kind only; tasks with what they are",
    )


def run(options: argparse.Namespace) -> int:
    """Print the names of one kind, or of all. Return exit status 0."""
    if options.what == "tasks":
        from loadstone.evals.output import benchmarks
        from loadstone.report import terminal
        from loadstone.tasks import catalogue

        terminal.draw([benchmarks.table(catalogue.benchmarks())])
        return 0
    for kind, names in parts().items():
        if options.what in (None, kind):
            print(f"{kind}: {', '.join(names)}")
    return 0


def parts() -> dict[str, list[str]]:
    """Names by kind."""
    from loadstone.apis import APIS
    from loadstone.cli.report import exports
    from loadstone.dataset import READERS
    from loadstone.dataset.resolve import bundled
    from loadstone.report import VIEWS
    from loadstone.tasks import BENCHMARKS

    return {
        "apis": _with_plugins("loadstone.apis", APIS),
        "readers": _with_plugins("loadstone.readers", READERS),
        "views": _with_plugins("loadstone.views", {"text": "", **VIEWS, **exports()}),
        "datasets": sorted(bundled()),
        "tasks": _with_plugins("loadstone.tasks", BENCHMARKS),
    }


def _with_plugins(group: str, built_in: Iterable[str]) -> list[str]:
    from loadstone.plugins import installed_plugins

    return sorted({*built_in, *installed_plugins(group)})
