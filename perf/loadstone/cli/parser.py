"""The command line's grammar: the table of commands and the parser over it.

Flags carry the names that vLLM bench and EvalScope users know. A flag that is not given is absent from the parsed
values, so that a configuration file can fill it and defaults stand in one place, config/schema.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn, Protocol

from loadstone.cli import check, compare, plan, report, run, run_flags, score, selftest, serve, swarm, sweep
from loadstone.cli import eval as eval_command
from loadstone.cli import list as list_command
from loadstone.errors import UsageError
from loadstone.version import __version__

EPILOG = """exit status: 0 done; 1 done, but a check failed (no success, error rate above --max-error-rate);
2 usage; 130 interrupted, results saved. Keys are taken from the environment (OPENAI_API_KEY) and never written down."""


class Command(Protocol):
    """A command's file."""

    def add(self, verb: argparse.ArgumentParser, /) -> None:
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
    "run": "replay prompts against a server and report",
    "sweep": "run at every point of lists of settings, or search the most load that meets objectives",
    "eval": "ask benchmarks as any other load, and score the answers (docs/evals.md)",
    "report": "recompute a report from the records of a run",
    "compare": "hold runs against each other: better, worse, same or inconclusive (docs/comparing.md)",
    "score": "judge saved answers again, ours or lm-eval's; nothing is sent (docs/accuracy.md)",
    "check": "judge whether a run can be believed",
    "plan": "how many replicas a demand takes and what they cost, from sweeps (docs/planning.md)",
    "serve": "simulated server with exact timing and faults",
    "swarm": "be the master or a worker of a run from many machines (docs/many-machines.md)",
    "selftest": "find the most that this machine can measure truly, and how wrong it is on the way there",
    "list": "names of what is built in or installed",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, by an exception."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def build_parser() -> Parser:
    top = Parser(prog="loadstone", description="A load tester for LLM APIs whose numbers are true.", epilog=EPILOG)
    top.add_argument("--version", action="version", version=f"loadstone {__version__}")
    verbs = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        verb = verbs.add_parser(
            name,
            help=_HELP[name],
            description=_HELP[name],
            epilog=EPILOG,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        command.add(verb)
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command; `rest` of a swarm is for Locust. Raises UsageError."""
    if not arguments or arguments[0] != "swarm":
        return build_parser().parse_args(arguments)
    options, rest = build_parser().parse_known_args(arguments)
    settings = Parser(prog="loadstone swarm", argument_default=argparse.SUPPRESS, allow_abbrev=False, add_help=False)
    run_flags.add(settings)
    options.settings, options.rest = settings.parse_known_args(rest)
    return options
