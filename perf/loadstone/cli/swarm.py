"""`loadstone swarm master|worker`: one load test from many machines, over Locust."""

from __future__ import annotations

import argparse

from loadstone.config import loading


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `swarm`. Those of `run` and of Locust are parsed apart, see parser.py."""
    flags = "The master also takes all flags of `loadstone run`, and both take Locust's own: docs/many-machines.md."
    parser.epilog = f"{flags} {parser.epilog}"
    parser.add_argument(
        "role", choices=["master", "worker"], help="master, which plans and reports, or worker, one for each machine"
    )
    parser.add_argument(
        "--processes", metavar="N", help="processes of a worker that send load (default: one for each core)"
    )
    parser.add_argument(
        "--spool",
        metavar="DIR",
        help="folder in which a worker stores records until the master takes them (default: loadstone-spool)",
    )


def run(options: argparse.Namespace) -> int:
    """Start the master or a worker. Return its exit status."""
    from loadstone.swarm import command

    return command.run(options.role, loading.load_config(vars(options.settings)), options)
