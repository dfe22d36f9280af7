"""`loadstone check RUN`: check whether a run can be believed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `check`."""
    parser.add_argument("run", metavar="RUN", help="folder of a run")


def run(options: argparse.Namespace) -> int:
    """Print the checks of a saved run. Return exit status 0 if its verdict is `valid`, else 1."""
    from loadstone import results
    from loadstone.report import run_tables

    summary = results.read_summary(Path(options.run))
    sys.stdout.write(run_tables.check_text(summary))
    return 0 if summary.verdict is not None and summary.verdict.status == "valid" else 1
