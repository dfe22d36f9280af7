"""`loadstone swarm master|worker`: pass our flags on by the environment, and Locust's own flags unchanged."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.swarm import settings

LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def master_environment(config: Config, view: str) -> dict[str, str]:
    """Return the variables of the master for our locustfile (settings.py has their names). Raises ConfigError."""
    run = msgspec.json.encode(settings.check_sendable(config.check())).decode()
    return {settings.RUN: run, settings.VIEW: view}


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


def run(role: str, config: Config, environment: Mapping[str, str], rest: Sequence[str]) -> int:
    """Run a Locust master or worker until it ends.

    environment: variables of this role. rest: Locust's own flags.
    """
    if find_spec("locust") is None:
        raise UsageError("a swarm needs Locust: pip install 'loadstone[locust]'")
    os.environ.update(environment)
    sys.argv = [f"loadstone swarm {role}", *arguments(role, config, rest)]
    from locust.main import main

    main()
    return 0
