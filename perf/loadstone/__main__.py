"""`python -m loadstone` and the `loadstone` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    _fill_standard_files()
    from loadstone.cli.main import main as run

    sys.exit(run(sys.argv[1:]))


def _fill_standard_files() -> None:
    """Whoever started us may have closed 0, 1 or 2 (`>&-`). A socket would get the number, and libuv aborts at that."""
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  they stay open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


if __name__ == "__main__":
    main()
