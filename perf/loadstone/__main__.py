"""`python -m loadstone` and the `loadstone` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, and exit with its status."""
    # The caller may have closed descriptor 0, 1 or 2 (`>&-`). A socket would get the number, and libuv aborts at that.
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  it stays open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  likewise

    from loadstone.cli.main import main as run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
