"""Errors that the operator can fix, and the type of notices to the operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

# Called with one sentence for the operator that is not an error.
Notice = Callable[[str], None]


class UsageError(Exception):
    """A mistake that the operator can fix: one sentence that says what to type. The exit status is 2.

    field: setting that it is about, by its name in Config or in a file; None if it is about no single one.
    file, line: file with the mistake and the line, from 1; None where there is none.
    """

    def __init__(
        self, message: str, *, field: str | None = None, file: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.file = file
        self.line = line

    def with_message(self, message: str) -> Self:
        """Return an error of the same class with another message, about the same field, file and line."""
        return type(self)(message, field=self.field, file=self.file, line=self.line)


class ConfigError(UsageError):
    """A setting, a flag or a combination of them that is not valid."""


class DataError(UsageError):
    """A dataset, a benchmark's file or a saved result that cannot be read or used."""


class ServerError(UsageError):
    """A server that cannot be reached, refuses the request or lacks what the run needs."""
