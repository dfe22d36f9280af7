"""Errors that the operator can mend, and how the operator is told something."""

from __future__ import annotations

from collections.abc import Callable

# Takes one sentence for the operator: something to know that is no error.
Notice = Callable[[str], None]


class UsageError(Exception):
    """A mistake that the operator can mend: one sentence that says what to type. The exit status is 2."""


class ConfigurationError(UsageError):
    """A setting, a flag or a combination of them that makes no sense."""


class DataError(UsageError):
    """A dataset, a benchmark's file or a saved result that cannot be read as what it should be."""


class ServerError(UsageError):
    """A server that cannot be reached, refuses the request or lacks what the run needs."""
