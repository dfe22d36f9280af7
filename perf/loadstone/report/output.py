"""Where results go beside a run's folder: stdout, a new file that is whole or not there, the summary of a GitHub job;
and a page in the form that is asked for. What is said on the way goes to stderr.

To a job's summary only when asked to (`--summary`): a job may make twenty runs and want to show one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from loadstone.errors import UsageError
from loadstone.text import visible

if TYPE_CHECKING:
    from loadstone.report.page import Page

VARIABLE = "GITHUB_STEP_SUMMARY"
# Of every page.
FORMS = ("text", "md", "html")
# Bytes that GitHub takes of a step (it says 1 MiB).
MOST = 1_000_000


def notice(text: str) -> None:
    """To people, on stderr, on one line, whatever a server or a file has put into it."""
    print(f"loadstone: {visible(' '.join(text.split()))}", file=sys.stderr, flush=True)


def render(page: Page, form: str) -> str:
    """A page as one of FORMS."""
    from loadstone.report import html, markdown, terminal

    forms: dict[str, Callable[[Page], str]] = {"text": terminal.render_page, "md": markdown.draw, "html": html.draw}
    return forms[form](page)


def write(text: str, output: str | None, flag: str = "-o") -> None:
    """To a new file, or to stdout for None and `-`. Raises UsageError."""
    with open_target(output, flag) as file:
        file.write(text.encode())


def show(page: Page, form: str, output: str | None, flag: str = "-o") -> None:
    """The same of a page; as text to a terminal, in its width and with colour. Raises UsageError."""
    from loadstone.report import terminal

    if form == "text" and output in (None, "-") and sys.stdout.isatty():
        terminal.show(page)
    else:
        write(render(page, form), output, flag)


def write_ci_files(options: Mapping[str, Any], junit: Callable[[], str], markdown: Callable[[], str]) -> None:
    """What --junit and --summary ask for."""
    if file := options.get("junit"):
        write(junit(), file, "--junit")
    if options.get("summary"):
        step_summary(markdown())


def step_summary(
    markdown: str, notice: Callable[[str], None] = notice, environment: Mapping[str, str] = os.environ
) -> None:
    """Add `markdown` to the summary of the job. Elsewhere than on GitHub, and when that does not work, a notice: what a
    command has measured must not be lost by it."""
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
    """An empty line behind it, so that what another command adds begins a paragraph."""
    return markdown.rstrip("\n") + "\n\n"


def check_new(path: str | None, flag: str) -> None:
    """Before a long run: UsageError where the file for its end is there already, or its folder is not."""
    if path is None:
        return
    if Path(path).exists():
        raise UsageError(f"{path} exists; give another file with {flag}")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"there is no folder for {path}; make it, or give another file with {flag}")


@contextlib.contextmanager
def open_target(output: str | None, flag: str = "-o") -> Iterator[BinaryIO]:
    """A new file, removed again when it could not be written whole; stdout for None and `-`. Raises UsageError."""
    if output is None or output == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    path, made = Path(output), False
    try:
        with path.open("xb") as file:
            made = True
            yield file
    except OSError as exc:
        _remove(path, made)
        raise UsageError(f"cannot write {path}: {exc.strerror or exc}; give another file with {flag}") from exc
    except BaseException:
        _remove(path, made)
        raise


def _remove(path: Path, made: bool) -> None:
    if made:
        path.unlink(missing_ok=True)
