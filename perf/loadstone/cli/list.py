"""`loadstone list`: print the names of what is built in, installed or bundled."""

from __future__ import annotations

import argparse
from collections.abc import Iterable


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `list`."""
    parser.add_argument(
        "what",
        nargs="?",
        default=None,
        choices=["apis", "readers", "views", "datasets", "tasks"],
        help="list one kind only; tasks are listed with their descriptions",
    )


def run(options: argparse.Namespace) -> int:
    """Print the names of one kind, or of all. Return exit status 0."""
    if options.what == "tasks":
        from loadstone.evals.output import benchmarks
        from loadstone.report import terminal
        from loadstone.tasks import catalogue

        terminal.draw([benchmarks.table(catalogue.benchmarks())])
        return 0
    for kind, names in names_by_kind().items():
        if options.what in (None, kind):
            print(f"{kind}: {', '.join(names)}")
    return 0


def names_by_kind() -> dict[str, list[str]]:
    """Return the names of each kind: those built in, and those of installed plugins."""
    from loadstone.apis import APIS
    from loadstone.cli.report import exports
    from loadstone.dataset import READERS
    from loadstone.dataset.resolve import bundled
    from loadstone.plugins import installed_plugins
    from loadstone.report import VIEWS
    from loadstone.tasks import BENCHMARKS

    def with_plugins(kind: str, built_in: Iterable[str]) -> list[str]:
        return sorted({*built_in, *installed_plugins(f"loadstone.{kind}")})

    return {
        "apis": with_plugins("apis", APIS),
        "readers": with_plugins("readers", READERS),
        "views": with_plugins("views", {"text": "", **VIEWS, **exports()}),
        "datasets": sorted(bundled()),
        "tasks": with_plugins("tasks", BENCHMARKS),
    }
