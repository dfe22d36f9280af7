"""Flags of other tools, and what to type instead of an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def suggest(command: str, flag: str, known: Collection[str]) -> str:
    """Return what to type instead of an unknown flag or setting of a command."""
    near = difflib.get_close_matches(flag.lstrip("-").replace("_", "-"), known, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}see loadstone {command} --help"
