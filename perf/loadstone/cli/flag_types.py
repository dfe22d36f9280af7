"""Types of flag values: whole numbers, times, headers, JSON objects, lists.

For a wrong value each raises `ArgumentTypeError`, of which argparse shows one sentence that says what to type.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from loadstone.config.parse import parse_seconds
from loadstone.sweep import grid

# lm-eval's words for values that JSON writes otherwise, in lower case.
_CONSTANTS = {"true": True, "false": False, "none": None}


def whole_number(text: str) -> int:
    """Parse a whole number."""
    try:
        return int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}") from exc


def workers(text: str) -> int | str:
    """Parse a number of processes, or `auto`."""
    try:
        return text if text == "auto" else int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes auto or a number of processes, not {text!r}") from exc


def on_off(text: str) -> bool:
    """Parse the value of a flag that has none of its own, as `--vary` gives it."""
    if text.lower() not in ("on", "off", "true", "false", "yes", "no"):
        raise argparse.ArgumentTypeError(f"takes on or off, not {text!r}")
    return text.lower() in ("on", "true", "yes")


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
    """Parse a whole number. Return any other text as it is: config/ reads it as a distribution or a time."""
    try:
        return int(text)
    except ValueError:
        return text


def seconds_or_text(text: str) -> float | str:
    """Parse a time. Return any other text as it is: config/ reads it as a distribution."""
    try:
        return parse_seconds(text)
    except ValueError:
        return text


def header(text: str) -> tuple[str, str]:
    """Parse `NAME: VALUE`."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError("takes 'NAME: VALUE'")
    return name.strip(), value.strip()


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"takes a JSON object, but this is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("takes a JSON object such as '{\"top_p\": 0.9}'")
    return value


class ValueList(tuple[Any, ...]):
    """Several values of a flag that takes one: a sweep runs with each of them."""


def list_of(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a type that parses one value as `kind` does, and several values as a `ValueList`."""

    def read(text: str) -> Any:
        try:
            values = parse_list(text, kind)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return values[0] if len(values) == 1 else ValueList(values)

    return read


def parse_list(text: str, kind: Callable[[str], Any]) -> list[Any]:
    """Parse a list of values, each as `kind` does. Raises ValueError with what to type instead."""
    try:
        return grid.parse_values(text, kind)
    except (ValueError, argparse.ArgumentTypeError) as exc:
        # A bare ValueError of float() names no remedy; the sentences of grid.py and of these types do.
        explained = "could not convert" not in str(exc) and str(exc) != text
        sentence = str(exc) if explained else f"takes numbers, a list of them or {grid.RANGE_FORM}, not {text!r}"
        raise ValueError(sentence) from exc


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return a type that accepts these texts only."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"takes {', '.join(choices)}, not {text!r}")
        return text

    return read


def key_values(text: str) -> dict[str, Any]:
    """Parse names and values as lm-eval takes them: `temperature=0.6,until=["Q:"],do_sample=true`.

    A value is JSON if it parses as JSON, else text.
    """
    try:
        pairs = [pair.partition("=") for pair in grid.split(text)]
    except ValueError:
        pairs = [("", "", "")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"takes NAME=VALUE,NAME=VALUE, not {text!r}")
    return {name.strip(): _value(value.strip()) for name, _, value in pairs}


def _value(text: str) -> Any:
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text
