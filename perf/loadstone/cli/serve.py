"""`loadstone serve`: run the simulated server."""

from __future__ import annotations

import argparse
import dataclasses

from loadstone.cli.flags import add_flags
from loadstone.cli.options import FileOption
from loadstone.sim.settings import Settings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `serve`."""
    add_flags(parser, Settings)
    add_flags(parser, FileOption)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted. Return exit status 0."""
    from loadstone.config import loading
    from loadstone.sim import server

    settings = loading.load_settings(Settings, vars(options))
    if settings.api_key_env:
        from loadstone.config import secrets

        settings = dataclasses.replace(settings, api_key=secrets.require_key(settings.api_key_env))
    with loading.located(getattr(options, "config", None), Settings):
        server.run(settings, lambda url: print(url, flush=True))
    return 0
