"""`loadstone schema COMMAND`: print the JSON schema of a command's configuration file."""

from __future__ import annotations

import argparse
import json
from typing import Any

COMMANDS = ("run", "sweep", "eval", "plan", "serve")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `schema`."""
    parser.add_argument("of", metavar="COMMAND", choices=COMMANDS, help=f"command with the file: {', '.join(COMMANDS)}")


def run(options: argparse.Namespace) -> int:
    """Print the schema. Return exit status 0."""
    print(json.dumps(schema_of(options.of), indent=2))
    return 0


def schema_of(command: str) -> dict[str, Any]:
    """Return the schema of a command's configuration file."""
    from loadstone.config.json_schema import schema
    from loadstone.config.schema import Config

    title = f"settings of loadstone {command}"
    if command == "sweep":
        from loadstone.sweep.settings import SweepSettings

        made = schema(Config, title, lists=True)
        made["properties"] |= schema(SweepSettings, title)["properties"]
        return made
    if command == "run":
        return schema(Config, title)
    if command == "plan":
        from loadstone.capacity.settings import PlanSettings

        return schema(PlanSettings, title)
    if command == "serve":
        from loadstone.sim.settings import Settings

        return schema(Settings, title)
    from loadstone.evals.settings import Eval

    made = schema(Eval, title)
    # Several models are a list; the settings of the load may stand in a table of their own, as eval.json has them.
    model = made["properties"]["model"]
    made["properties"]["model"] = model | {"anyOf": [*model["anyOf"], {"type": "array", "items": {"type": "string"}}]}
    made["properties"]["load"] = schema(Config, title)
    return made
