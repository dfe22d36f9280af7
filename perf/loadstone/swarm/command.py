"""`loadstone swarm master|worker`: pass our flags on by the environment, and Locust's own flags unchanged."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from loadstone.config.schema import Config
from loadstone.errors import ConfigError, UsageError
from loadstone.swarm import settings

LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def environment(role: str, config: Config, options: Namespace) -> dict[str, str]:
    """Return the environment variables for our locustfile (settings.py has their names).

    Raises ConfigError for flags that this role does not have.
    """
    if role == "master":
        if hasattr(options, "processes") or hasattr(options, "spool"):
            raise ConfigError("--processes and --spool are for workers: the master sends no load")
        if hasattr(options.settings, "junit") or hasattr(options.settings, "summary"):
            raise ConfigError(
                "--junit and --summary are not for a swarm: loadstone report its run with --as junit, --summary"
            )
        run = msgspec.json.encode(settings.check_sendable(config.check())).decode()
        return {settings.RUN: run, settings.VIEW: getattr(options.settings, "view", "text")}
    names = {"processes": settings.PROCESSES, "spool": settings.SPOOL}
    return {variable: str(getattr(options, name)) for name, variable in names.items() if hasattr(options, name)}


def arguments(role: str, config: Config, rest: Sequence[str]) -> list[str]:
    """Return Locust's command line.

    `-c N` becomes `-u N -r N`. Other locustfiles, such as one with its own shape, are loaded after ours.
    """
    # Take -f and --locustfile out of the other words.
    files, others, words = list[str](), list[str](), iter(rest)
    for word in words:
        name, _, value = word.partition("=")
        if name in ("-f", "--locustfile"):
            files.append(value or next(words, ""))
        else:
            others.append(word)

    flags = {word.partition("=")[0] for word in others}
    if role == "master" and config.concurrency and not settings.plan_driven(config) and not flags & {"-u", "--users"}:
        others = ["-u", str(config.concurrency), *others]
        if not flags & {"-r", "--spawn-rate"}:
            others = ["-r", str(config.concurrency), *others]
    return ["-f", ",".join([str(LOCUSTFILE), *files]), f"--{role}", *others]


def run(role: str, config: Config, options: Namespace) -> int:
    """Run a Locust master or worker until it ends."""
    if find_spec("locust") is None:
        raise UsageError("a swarm needs Locust: pip install 'loadstone[locust]'")
    os.environ.update(environment(role, config, options))
    sys.argv = [f"loadstone swarm {role}", *arguments(role, config, options.rest)]
    from locust.main import main

    main()
    return 0
