"""`python -m loadstone` and the `loadstone` command."""

from __future__ import annotations

import io
import os
import sys

# Open files that any command needs.
_LEAST_FILES = 64


def main() -> None:
    """Run the command line, and exit with its status."""
    # The caller may have closed descriptor 0, 1 or 2 (`>&-`). A socket would get the number, and libuv aborts at that.
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(file, True)
    os.close(file)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  it stays open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  likewise

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale: no character may end a command
            stream.reconfigure(errors="backslashreplace")
    try:
        _raise_open_files()
        from loadstone.cli.main import main as run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while the modules are loaded
        sys.exit(130)


def _raise_open_files() -> None:
    """Raise a tiny limit of open files, with which the event loop would abort. Exit with a sentence if it cannot be."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _LEAST_FILES:
        return
    if hard == resource.RLIM_INFINITY or hard >= _LEAST_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_LEAST_FILES, hard))
        return
    sys.stderr.write(f"loadstone: {hard} open files are too few: raise the limit with ulimit -n {_LEAST_FILES}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
