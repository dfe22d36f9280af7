"""Run one command: parse the arguments, dispatch to the command's file, turn the operator's mistakes into one sentence.

Each command is a file of this room with `add(parser)` (its flags) and `run(options)` (returns the exit status). A file
imports what is heavy inside `run`, so that `loadstone --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from loadstone.cli.parser import COMMANDS, parse
from loadstone.errors import UsageError
from loadstone.report.output import notice


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    try:
        options = parse(arguments)
        return COMMANDS[options.command].run(options)
    except UsageError as exc:
        notice(str(exc))
        return 2
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the reader of our output has gone; nothing is left to say
        return 0
    except KeyboardInterrupt:
        return 130
