"""A finding, and the functions that all rules share.

Pure. A finding without a severity says that all is well: `loadstone check` shows it, the verdict does not count it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct

from loadstone.summary import Summary

Severity = Literal["suspect", "invalid"]
Rule = Callable[[Summary], "Iterator[Finding]"]


class Finding(Struct, frozen=True):
    """One thing that was measured against a limit.

    what: its name, which is a heading of docs/doubts.md.
    severity: None if there is nothing to doubt.
    measured, limit: as text.
    advice: what to do about it.
    """

    what: str
    severity: Severity | None
    measured: str
    limit: str
    advice: str = ""


def check_limit(
    what: str,
    value: float | None,
    suspect: float,
    invalid: float,
    show: Callable[[float], str],
    advice: str | Callable[[], str],
) -> Iterator[Finding]:
    """Yield a finding for a figure that should not be above its limit; nothing where it is unknown.

    advice: as text, or as a function that is called where there is a doubt.
    """
    if value is not None:
        severity = grade(value, suspect, invalid)
        text = advice if isinstance(advice, str) else advice() if severity else ""
        yield Finding(what, severity, show(value), show(suspect), text)


def grade(value: float, suspect: float, invalid: float) -> Severity | None:
    """Return the severity of a value above one of two limits."""
    return "invalid" if value > invalid else "suspect" if value > suspect else None


def format_ms(seconds: float) -> str:
    """Return seconds as text in milliseconds."""
    return f"{seconds * 1e3:.1f} ms"


def format_percent(fraction: float) -> str:
    """Return a fraction as a percentage."""
    return f"{fraction:.0%}"


def one_line(text: str, most: int = 160) -> str:
    """Return a text as one printable line: servers put all kinds of things into error messages."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= most else text[: most - 3] + "..."
