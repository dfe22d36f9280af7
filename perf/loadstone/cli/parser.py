"""The table of commands, and the argument parser over it.

A flag that is not given is absent from the parsed values: a configuration file can fill it, and all defaults are in
one place, config/schema.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from loadstone.errors import ConfigError
from loadstone.version import __version__

EPILOG = """exit status: 0 success; 1 completed, but a check failed (no request succeeded, error rate above
--max-error-rate); 2 usage error; 130 interrupted, results saved. API keys are read from the environment
(OPENAI_API_KEY) and never saved."""


if TYPE_CHECKING:

    class Command(Protocol):
        """What a command's file offers."""

        def add(self, parser: argparse.ArgumentParser, /) -> None:
            """Add the command's flags to its parser."""

        def run(self, options: argparse.Namespace, /) -> int:
            """Run the command. Return the exit status."""


# Commands, each a file of this room, with a line of help.
COMMANDS = {
    "run": "send prompts to a server, measure the responses and report",
    "sweep": "run at every point of lists of settings, or search for the highest load that meets objectives",
    "eval": "measure the accuracy of a model on benchmarks, under any load (docs/evals.md)",
    "report": "recompute a report from the records of a run",
    "compare": "compare runs: better, worse, same or inconclusive (docs/comparing.md)",
    "score": "score saved answers again, ours or lm-eval's, without sending requests (docs/accuracy.md)",
    "check": "check whether a run can be believed",
    "plan": "compute the replicas that a demand needs and their cost, from sweeps (docs/planning.md)",
    "serve": "run a simulated server with exact timing and faults",
    "swarm": "run as master or worker of a load test from many machines (docs/many-machines.md)",
    "selftest": "measure the highest load that this machine measures accurately, and its error below that",
    "list": "list what is built in or installed",
    "schema": "print the JSON schema of the file that --config of a command takes, for editors",
}


def load_command(name: str) -> Command:
    """Return a command's file. Only the command that runs is loaded, so that the command line starts quickly."""
    return cast("Command", import_module(f"loadstone.cli.{name}"))


class StoreOnce(argparse.Action):
    """Store the value of a flag. Raise ConfigError if it is given twice: the first value would be lost."""

    _namespace: argparse.Namespace | None = None

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002  argparse's interface
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        if self.option_strings and self._namespace is namespace:
            once = "all values after one" if self.nargs in ("+", "*") else "one"
            raise ConfigError(f"{self.option_strings[-1]} is given twice: give {once}", field=self.dest)
        self._namespace = namespace
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake as an exception with one sentence.

    commands: parsers of the commands; none for a parser of one command.
    """

    commands: Mapping[str, argparse.ArgumentParser] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("action", None, StoreOnce)
        self.register("action", "store", StoreOnce)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see {self.prog} --help")


def build_parser(only: str | None = None) -> Parser:
    """Return the parser of all commands.

    only: the command whose flags are needed; None for the flags of all.
    """
    top = Parser(prog="loadstone", description="A load tester for LLM APIs whose numbers are true.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"loadstone {__version__}")
    parsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        parser = parsers.add_parser(
            name,
            help=line,
            description=line,
            epilog=EPILOG,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        if only in (None, name):
            load_command(name).add(parser)
    top.commands = parsers.choices
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line. For `swarm`, `settings` are the flags of `run` and `rest` is for Locust.

    Raises ConfigError.
    """
    command = arguments[0] if arguments else ""
    if command != "swarm":
        left_over: list[str] = []
        error: ConfigError | None = None
        try:
            options, left_over = build_parser(command).parse_known_args(arguments)
            if not left_over:
                return options
        except ConfigError as exc:
            error = exc
        # Only a mistake loads the flags of all commands.
        from loadstone.cli import mistakes

        raise mistakes.explain(arguments, build_parser().commands, left_over, error) from error

    # What `run` does not know is for Locust.
    from loadstone.cli.flags import add_flags
    from loadstone.cli.options import Shown
    from loadstone.config.schema import Config

    options, rest = build_parser(command).parse_known_args(arguments)
    settings = Parser(prog="loadstone swarm", argument_default=argparse.SUPPRESS, allow_abbrev=False, add_help=False)
    add_flags(settings, Config)
    add_flags(settings, Shown)
    options.settings, options.rest = settings.parse_known_args(rest, argparse.Namespace(command=command))
    return options
