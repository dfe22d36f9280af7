"""`loadstone swarm master|worker`: one run from many machines, over Locust."""

from __future__ import annotations

import argparse

from loadstone.config import load


def add(parser: argparse.ArgumentParser) -> None:
    flags = "All flags of `loadstone run` too, on the master, and Locust's own: docs/many-machines.md."
    parser.epilog = f"{flags} {parser.epilog}"
    parser.add_argument("role", choices=["master", "worker"], help="the one that plans and reports, or one per machine")
    parser.add_argument(
        "--processes", metavar="N", help="of a worker: processes that send load (default: one for each core)"
    )
    parser.add_argument(
        "--spool", metavar="DIR", help="of a worker: where records wait for the master (loadstone-spool)"
    )


def run(options: argparse.Namespace) -> int:
    """Start the master or a worker. Return its exit status."""
    from loadstone.swarm import command

    return command.run(options.role, load.load_config(vars(options.settings)), options)
