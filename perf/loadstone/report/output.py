"""Write results to stdout, to a new file that is complete or not there, or to the summary of a GitHub job.

Messages go to stderr. The job summary is written only on request (`--summary`), as a job may make twenty runs and show
one.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from loadstone.errors import ConfigError
from loadstone.text import visible

if TYPE_CHECKING:
    from loadstone.report.page import Page

VARIABLE = "GITHUB_STEP_SUMMARY"
# Formats of every page.
FORMS = ("text", "md", "html")
# Most bytes that GitHub accepts from a step (1 MiB in its documentation).
MOST = 1_000_000


def notice(text: str) -> None:
    """Print a message on stderr, on one line, whatever a server or a file has put into it."""
    with contextlib.suppress(OSError):  # nobody reads stderr, or its disk is full: that is no reason to end a run
        print(f"loadstone: {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)


def notice_once() -> Callable[[str], None]:
    """Return a `notice` for several runs: it prints nothing that it printed before, with other numbers or the same."""
    printed = set[str]()

    def print_new(text: str) -> None:
        without_numbers = re.sub(r"\d+", "0", text)
        if without_numbers not in printed:
            printed.add(without_numbers)
            notice(text)

    return print_new


def render(page: Page, form: str) -> str:
    """Render a page in one of FORMS."""
    from loadstone.report import html, markdown, terminal

    forms: dict[str, Callable[[Page], str]] = {"text": terminal.render_page, "md": markdown.draw, "html": html.draw}
    return forms[form](page)


def write(text: str, output: str | None, flag: str = "-o") -> None:
    """Write text to a new file, or to stdout for None and `-`. Raises UsageError."""
    with open_target(output, flag) as file:
        file.write(text.encode())


def show(page: Page, form: str, output: str | None, flag: str = "-o") -> None:
    """Show a page; text on a terminal has its width and colours. Raises UsageError."""
    from loadstone.report import terminal

    if form == "text" and output in (None, "-") and sys.stdout.isatty():
        terminal.show(page)
    else:
        write(render(page, form), output, flag)


def write_ci_files(
    junit_file: str | None, summary: bool, junit: Callable[[], str], markdown: Callable[[], str]
) -> None:
    """Write what --junit and --summary request."""
    if junit_file:
        write(junit(), junit_file, "--junit")
    if summary:
        step_summary(markdown())


def step_summary(
    markdown: str, notice: Callable[[str], None] = notice, environment: Mapping[str, str] = os.environ
) -> None:
    """Add text to the summary of the GitHub job.

    Elsewhere, and if that fails, print a notice: the results of a command must not be lost because of it.
    """
    path = environment.get(VARIABLE)
    if not path:
        notice(f"--summary: not written, as ${VARIABLE} is not set (GitHub Actions sets it)")
        return
    try:
        with open(path, "ab") as file:
            if file.tell() + len(content := _ended(markdown).encode()) > MOST:
                notice(f"--summary: left out, as GitHub takes no more than 1 MiB of a step and {path} is nearly full")
                return
            file.write(content)
    except OSError as exc:
        notice(f"--summary: cannot write {path}: {exc.strerror}")


def _ended(markdown: str) -> str:
    """Return the text with an empty line at its end, so that what the next command adds begins a paragraph."""
    return markdown.rstrip("\n") + "\n\n"


def check_new(path: str | None, flag: str) -> None:
    """Raise UsageError before a long run if its output file exists already or has no folder."""
    if path is None:
        return
    if Path(path).exists():
        raise ConfigError(f"{path} exists; give another file with {flag}")
    if not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"there is no folder for {path}; make it, or give another file with {flag}")


@contextlib.contextmanager
def open_target(output: str | None, flag: str = "-o") -> Iterator[BinaryIO]:
    """Open a new file, or stdout for None and `-`. A file that was not completed is removed. Raises UsageError."""
    if output is None or output == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    path = Path(output)
    created = False
    try:
        with path.open("xb") as file:
            created = True
            yield file
    except OSError as exc:
        _remove(path, created)
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}; give another file with {flag}") from exc
    except BaseException:
        _remove(path, created)
        raise


def _remove(path: Path, created: bool) -> None:
    if created:
        path.unlink(missing_ok=True)
