"""Errors that the operator can mend."""

from __future__ import annotations


class UsageError(Exception):
    """A mistake of the operator: one sentence that says what to type. The command line ends with status 2."""
