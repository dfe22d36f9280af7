"""How the values of flags are read: whole numbers, times, laws, headers, JSON objects.

What argparse shows of a wrong one is one sentence that says what to type.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from loadstone.config.parse import parse_seconds
from loadstone.sweep import grid


def whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}") from exc


def workers(text: str) -> int | str:
    try:
        return text if text == "auto" else int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes auto or a number of processes, not {text!r}") from exc


def on_off(text: str) -> bool:
    if text.lower() not in ("on", "off", "true", "false", "yes", "no"):
        raise argparse.ArgumentTypeError(f"takes on or off, not {text!r}")
    return text.lower() in ("on", "true", "yes")


def port(text: str) -> int:
    if not 0 <= (port := whole_number(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"takes a number from 0 to 65535, not {text}")
    return port


def duration(text: str) -> float:
    try:
        return parse_seconds(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a time such as 30, 500ms or 2m, not {text!r}") from exc


def number_or_text(text: str) -> int | str:
    """A whole number, or something else that is not for here to read: a law (laws.py), a time."""
    try:
        return int(text)
    except ValueError:
        return text


def seconds_or_text(text: str) -> float | str:
    try:
        return parse_seconds(text)
    except ValueError:
        return text


def header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("takes 'NAME: VALUE'")
    return name.strip(), value.strip()


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a JSON object, but this is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("takes a JSON object such as '{\"top_p\": 0.9}'")
    return value


class ValueList(tuple[Any, ...]):
    """Several values of a flag that takes one: a sweep goes through them."""


def list_of(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Reads one value as `kind` does, several as Listed."""

    def read(text: str) -> Any:
        try:
            found = parse_list(text, kind)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return found[0] if len(found) == 1 else ValueList(found)

    return read


def parse_list(text: str, kind: Callable[[str], Any]) -> list[Any]:
    """The values of a list. Raises ValueError with what to type instead."""
    try:
        return grid.parse_values(text, kind)
    except (ValueError, argparse.ArgumentTypeError) as exc:
        said = "could not convert" not in str(exc) and str(exc) != text
        words = str(exc) if said else f"takes numbers, a list of them or {grid.RANGE_FORM}, not {text!r}"
        raise ValueError(words) from exc


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"takes {', '.join(choices)}, not {text!r}")
        return text

    return read


def key_values(text: str) -> dict[str, Any]:
    """Names and values as lm-eval takes them: `temperature=0.6,until=["Q:"],do_sample=true`. A value is JSON where it
    reads as such, else a text."""
    try:
        parts = [part.partition("=") for part in grid.split(text)]
    except ValueError:
        parts = [("", "", "")]
    if not all(name.strip() and equals for name, equals, _ in parts):
        raise argparse.ArgumentTypeError(f"takes NAME=VALUE,NAME=VALUE, not {text!r}")
    return {name.strip(): _value(value.strip()) for name, _, value in parts}


_WORDS = {"true": True, "false": False, "none": None}


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
