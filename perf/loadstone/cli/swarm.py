"""`loadstone swarm master|worker`: one load test from many machines, over Locust."""

from __future__ import annotations

import argparse

from loadstone.cli.flags import add_flags
from loadstone.cli.options import Shown, read_options
from loadstone.config import loading
from loadstone.config.flags import given
from loadstone.errors import ConfigError
from loadstone.swarm.settings import WorkerSettings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `swarm`. Those of `run` and of Locust are parsed apart, see parser.py."""
    flags = "The master also takes all flags of `loadstone run`, and both take Locust's own: docs/many-machines.md."
    parser.epilog = f"{flags} {parser.epilog}"
    parser.add_argument(
        "role", choices=["master", "worker"], help="master, which plans and reports, or worker, one for each machine"
    )
    add_flags(parser, WorkerSettings)


def run(options: argparse.Namespace) -> int:
    """Start the master or a worker. Return its exit status."""
    from loadstone.swarm import command, settings

    config, shown = loading.load_config(vars(options.settings)), read_options(Shown, options.settings)
    worker = read_options(WorkerSettings, options)
    if options.role == "worker":
        return command.run("worker", config, settings.worker_environment(worker), options.rest)
    if given(worker):
        raise ConfigError("--processes and --spool are for workers: the master sends no load")
    if shown.junit or shown.summary:
        sentence = "--junit and --summary are not for a swarm: loadstone report its run with --as junit, --summary"
        raise ConfigError(sentence)
    return command.run("master", config, command.master_environment(config, shown.view), options.rest)
