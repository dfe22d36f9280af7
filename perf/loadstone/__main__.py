"""`python -m loadstone` and the `loadstone` command."""

from __future__ import annotations

import sys


def main() -> None:
    from loadstone.cli import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
