"""Types of flag values that argparse parses: whole numbers, ports, times.

For a wrong value each raises `ArgumentTypeError`, of which argparse shows one sentence that says what to type.
"""

from __future__ import annotations

import argparse

from loadstone.config.kinds import parse_seconds


def whole_number(text: str) -> int:
    """Parse a whole number."""
    try:
        return int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}") from exc


def port(text: str) -> int:
    """Parse a port number; 0 is any free port."""
    if not 0 <= (port := whole_number(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"takes a number from 0 to 65535, not {text}")
    return port


def duration(text: str) -> float:
    """Parse a time and return it in seconds."""
    try:
        return parse_seconds(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a time such as 30, 500ms or 2m, not {text!r}") from exc


def number_or_text(text: str) -> int | str:
    """Parse a whole number. Return any other text as it is."""
    try:
        return int(text)
    except ValueError:
        return text
