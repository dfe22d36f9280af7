"""One thing that the check has looked at, and the few forms that its rules share.

Pure. A finding without severity is evidence of innocence: `loadstone check` shows it, the verdict does not count it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

from msgspec import Struct

from loadstone.summary import Summary

Severity = Literal["suspect", "invalid"]
Rule = Callable[[Summary], "Iterator[Finding]"]


class Finding(Struct, frozen=True):
    """`what` was measured against a limit. `severity` None: nothing to doubt, and no advice needed."""

    what: str
    severity: Severity | None
    measured: str
    limit: str
    advice: str = ""


def check_limit(
    what: str, value: float | None, suspect: float, invalid: float, show: Callable[[float], str], advice: str
) -> Iterator[Finding]:
    """A figure that had better not be above its limit; nothing where it is not known."""
    if value is not None:
        yield Finding(what, grade(value, suspect, invalid), show(value), show(suspect), advice)


def grade(value: float, suspect: float, invalid: float) -> Severity | None:
    return "invalid" if value > invalid else "suspect" if value > suspect else None


def run_config(summary: Summary) -> dict[str, Any]:
    """The run's settings; empty for records alone."""
    return summary.run.get("config") or {}


def format_ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def format_percent(share: float) -> str:
    return f"{share:.0%}"


def one_line(text: str, most: int = 160) -> str:
    """One printable line: servers put all kinds of things into error messages."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= most else text[: most - 3] + "..."
