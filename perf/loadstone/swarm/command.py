"""`loadstone swarm master|worker`: our flags into the environment, Locust's own flags to Locust, untouched."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from loadstone.config.schema import Config
from loadstone.errors import UsageError
from loadstone.swarm import settings

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
_FILES = ("-f", "--locustfile")


def environment(role: str, config: Config, options: Namespace) -> dict[str, str]:
    """What a locustfile of ours is told, by the names of settings.py. Raises UsageError."""
    if role == "master":
        if hasattr(options, "processes") or hasattr(options, "spool"):
            raise UsageError("--processes and --spool are for workers: the master sends no load")
        if hasattr(options.settings, "junit") or hasattr(options.settings, "summary"):
            raise UsageError(
                "--junit and --summary are not for a swarm: loadstone report its run with --as junit, --summary"
            )
        told = {settings.RUN: msgspec.json.encode(settings.sendable(config.check())).decode()}
        return told | {settings.VIEW: getattr(options.settings, "view", "text")}
    names = {"processes": settings.PROCESSES, "spool": settings.SPOOL}
    return {variable: str(getattr(options, name)) for name, variable in names.items() if hasattr(options, name)}


def arguments(role: str, config: Config, rest: Sequence[str]) -> list[str]:
    """Locust's command line. `-c N` says what `-u N -r N` does; a locustfile given as well, such as one with a shape
    of its own, is loaded beside ours."""
    files, rest = _files(rest)
    users = ("-u", "--users")
    if role == "master" and config.concurrency and not settings.shaped(config) and not _named(rest, users):
        rest = ["-u", str(config.concurrency), *rest]
        rest = rest if _named(rest, ("-r", "--spawn-rate")) else ["-r", str(config.concurrency), *rest]
    return ["-f", ",".join([str(LOCUSTFILE), *files]), f"--{role}", *rest]


def _named(rest: Sequence[str], flags: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in flags for word in rest)


def _files(rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """The locustfiles that are given, and the other words."""
    files, others, words = list[str](), list[str](), iter(rest)
    for word in words:
        name, _, value = word.partition("=")
        if name in _FILES:
            files.append(value or next(words, ""))
        else:
            others.append(word)
    return files, others


def run(role: str, config: Config, options: Namespace) -> int:
    """Be a Locust master or worker until it ends."""
    if find_spec("locust") is None:
        raise UsageError("a swarm needs Locust: pip install 'loadstone[locust]'")
    os.environ.update(environment(role, config, options))
    sys.argv = [f"loadstone swarm {role}", *arguments(role, config, options.rest)]
    from locust.main import main

    main()
    return 0
