"""Run one command: parse its arguments, call the command's file, report mistakes of the user in one sentence."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from loadstone.cli.parser import load_command, parse
from loadstone.errors import UsageError
from loadstone.report.output import notice

# Errors of writing to stdout: the disk is full, or gone.
_OUTPUT_FAILED = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF)


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 2 for a usage error, 130 for Ctrl-C."""
    try:
        options = parse(arguments)
        return load_command(options.command).run(options)
    except UsageError as exc:
        notice(str(exc))
        return 2
    except BrokenPipeError:
        # The reader of our output has gone (`loadstone ... | head`): write nothing more, not even at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        notice("not enough memory: use fewer requests or processes, or raise the limit with ulimit -v")
        return 2
    except OSError as exc:
        if exc.errno not in _OUTPUT_FAILED or exc.filename is not None:
            raise
        # What was to be printed cannot be; files are complete by now.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        notice(f"cannot write to stdout: {exc.strerror}; write to a file that has room, with -o")
        return 2
