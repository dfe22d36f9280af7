"""The table of commands, and the argument parser over it.

A flag that is not given is absent from the parsed values: a configuration file can fill it, and all defaults are in
one place, config/schema.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn, Protocol

from loadstone.cli import check, compare, plan, report, run, run_flags, score, selftest, serve, swarm, sweep
from loadstone.cli import eval as eval_command
from loadstone.cli import list as list_command
from loadstone.errors import ConfigurationError
from loadstone.version import __version__

EPILOG = """exit status: 0 success; 1 completed, but a check failed (no request succeeded, error rate above
--max-error-rate); 2 usage error; 130 interrupted, results saved. API keys are read from the environment
(OPENAI_API_KEY) and never saved."""


class Command(Protocol):
    """What a command's file offers."""

    def add(self, parser: argparse.ArgumentParser, /) -> None:
        """Add the command's flags to its parser."""

    def run(self, options: argparse.Namespace, /) -> int:
        """Run the command. Return the exit status."""


COMMANDS: dict[str, Command] = {
    "run": run,
    "sweep": sweep,
    "eval": eval_command,
    "report": report,
    "compare": compare,
    "score": score,
    "check": check,
    "plan": plan,
    "serve": serve,
    "swarm": swarm,
    "selftest": selftest,
    "list": list_command,
}
# One line of help for each command.
_HELP = {
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
}


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake as an exception with one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}; see {self.prog} --help")


def build_parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(prog="loadstone", description="A load tester for LLM APIs whose numbers are true.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"loadstone {__version__}")
    parsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        parser = parsers.add_parser(
            name,
            help=_HELP[name],
            description=_HELP[name],
            epilog=EPILOG,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        command.add(parser)
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line. For `swarm`, `settings` are the flags of `run` and `rest` is for Locust.

    Raises ConfigurationError.
    """
    if not arguments or arguments[0] != "swarm":
        return build_parser().parse_args(arguments)
    options, rest = build_parser().parse_known_args(arguments)
    settings = Parser(prog="loadstone swarm", argument_default=argparse.SUPPRESS, allow_abbrev=False, add_help=False)
    run_flags.add(settings)
    options.settings, options.rest = settings.parse_known_args(rest)
    return options
