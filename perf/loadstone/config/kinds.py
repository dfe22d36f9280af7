"""Kinds of values that settings take: how a text is parsed, and what to type instead of a wrong one. Pure.

A kind is named beside the setting (`flags.Flag`), unless the setting's type says it: int, float, str, bool, a Literal.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

# Form of a number.
DECIMAL = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
# Units of time in seconds, longest first, as they are written in one text: 1h30m.
SECONDS = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_TIME_PART = re.compile(rf"({DECIMAL})(d|h|min|ms|m|us|s)")


class Kind(Struct, frozen=True):
    """A kind of value.

    takes: what a value is, for the sentence `--NAME takes TAKES, not ...`.
    parse: parses a text. Raises ValueError.
    metavar: placeholder of the value in --help; None for the flag's name in capitals.
    lists: True if a sweep takes a list of values in place of one.
    names: the texts that it may be, where they are few.
    text: regular expression of the texts that a file may have where the setting's type is no text; None for none.
    """

    takes: str
    parse: Callable[[str], Any]
    metavar: str | None = None
    lists: bool = True
    text: str | None = None
    names: tuple[str, ...] = ()


def parse_seconds(text: str) -> float:
    """Parse `30`, `30s`, `500ms`, `2m`, `1h30m` or `2d` to seconds; a bare number is seconds. Raises ValueError."""
    if re.fullmatch(DECIMAL, text):
        return float(text)
    parts = _TIME_PART.findall(text)
    sizes = [SECONDS[unit] for _, unit in parts]
    # Units follow each other from the largest to the smallest, each once.
    if (
        not parts
        or "".join(number + unit for number, unit in parts) != text
        or sizes != sorted(set(sizes), key=float)[::-1]
    ):
        raise ValueError(text)
    return sum(float(number) * size for (number, _), size in zip(parts, sizes, strict=True))


def parse_fraction(text: str) -> float:
    """Parse `10%` or `0.1`; the caller checks its bounds. Raises ValueError."""
    match = re.fullmatch(rf"({DECIMAL})\s*(%?)", text.strip())
    if not match:
        raise ValueError(text)
    return float(match[1]) / (100 if match[2] else 1)


def _parse_switch(text: str) -> bool:
    if text.lower() not in ("on", "off", "true", "false", "yes", "no"):
        raise ValueError(text)
    return text.lower() in ("on", "true", "yes")


def _or_text(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser that keeps a text where `parse` fails: it is a distribution, which is parsed where it is used."""

    def parse_or_keep(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            return text

    return parse_or_keep


def _parse_workers(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _parse_header(text: str) -> dict[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError(text)
    return {name.strip(): value.strip()}


def _parse_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=_refuse_number, parse_float=_parse_finite)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _refuse_number(text: str) -> float:
    """Raise ValueError for NaN and infinity, which JSON does not have."""
    raise ValueError(text)


def _parse_finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def choice(names: tuple[str, ...]) -> Kind:
    """Return the kind of a value that is one of these texts."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return Kind(", ".join(names[:-1]) + f" or {names[-1]}", parse, "{" + ",".join(names) + "}", names=names)


_TIME_TEXT = rf"^({DECIMAL}(d|h|min|ms|m|us|s))+$"
TEXT = Kind("a text", str, lists=False)
SWITCH = Kind("on or off", _parse_switch, lists=False)
WHOLE = Kind("a whole number", int, "N")
NUMBER = Kind("a number", float, "X")
FRACTION = Kind("a fraction such as 0.1 or 10%", parse_fraction, "SHARE", text=rf"^{DECIMAL}%?$")
TIME = Kind("a time such as 30, 500ms, 2m or 1h30m", parse_seconds, "T", text=_TIME_TEXT)
LENGTH = Kind("a number or a distribution such as normal(512,128)", _or_text(int), "LEN", text=".+")
PAUSE = Kind("a time such as 2s, or a distribution of seconds", _or_text(parse_seconds), "T", text=".+")
COUNT_OR_TIME = Kind("a number of requests or a time such as 10s", _or_text(int), "N|T", text=".+")
WORKERS = Kind("auto or a number of processes", _parse_workers, "N|auto", text=r"^(auto|\d+)$")
HEADER = Kind("'NAME: VALUE'", _parse_header, "'NAME: VALUE'", lists=False)
OBJECT = Kind("a JSON object such as '{\"top_p\": 0.9}'", _parse_object, "JSON", lists=False)
# Kinds by the type of a setting.
BY_TYPE: dict[Any, Kind] = {bool: SWITCH, int: WHOLE, float: NUMBER, str: TEXT}
