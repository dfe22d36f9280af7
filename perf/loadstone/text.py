"""Cleans the text of servers, models and plugins before it is written or shown.

Text that has passed through here cannot break a record, a message between processes, a report or a terminal. Responses
keep every character that UTF-8 can encode. Messages and labels also have a maximum length and no control characters.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

# Characters of a message, such as an error's, that are kept.
MAX_MESSAGE = 1000
# Digits of an integer in JSON: Python refuses to convert more than 4,300.
MAX_DIGITS = 4000
# Characters of a label, such as a finish reason, that are kept.
MAX_LABEL = 200
# A pair of surrogates that two events cut apart, or a lone one.
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
# Control characters other than tab and newline, marks that change the writing direction, and what UTF-8 cannot encode.
_NOT_SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# In JSON text: an escaped surrogate pair (group 1), a lone escaped surrogate (group 2), or any other escape.
_ESCAPE = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


# The beginning of what spreadsheets take for a formula, in any width, and what is a number all the same.
_FORMULA = re.compile("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(?:[0-9][0-9,]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s?%?|-")


def to_utf8(value: str) -> str:
    """Return the text with the escape `\\ud800` for each lone surrogate, which UTF-8 cannot encode.

    Two halves of a character that belong together become that character.
    """
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub(_join_or_escape, value)
    return value


def _join_or_escape(match: re.Match[str]) -> str:
    found = match[0]
    if len(found) == 1:
        return f"\\u{ord(found):04x}"
    return found.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def visible(value: str) -> str:
    """Return the text for a terminal or a table, with U+FFFD for control characters and what UTF-8 cannot encode.

    Tabs and newlines stay, and CRLF becomes a newline.
    """
    if value.isascii() and value.isprintable():
        return value
    return _NOT_SHOWN.sub("\ufffd", value.replace("\r\n", "\n"))


def clean(value: object, limit: int = MAX_MESSAGE) -> str:
    """Return text from elsewhere as a message or label: `visible`, and cut after `limit` characters.

    A text that is cut ends with its whole length. Never raises: an object whose `str()` fails becomes its type's name.
    """
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:  # a third-party __str__ may raise anything
        text = type(value).__name__
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text):,} characters)"
    return visible(text)


def to_utf8_nested(value: Any) -> Any:
    """Return dicts and lists with `to_utf8` applied to all text in them, including keys."""
    if isinstance(value, str):
        return to_utf8(value)
    if isinstance(value, dict):
        return {to_utf8_nested(key): to_utf8_nested(item) for key, item in value.items()}
    return [to_utf8_nested(item) for item in value] if isinstance(value, list | tuple) else value


def replace_surrogate_escapes(data: bytes) -> bytes:
    """Return JSON with an escape of U+FFFD for each escape of a lone surrogate (`\\ud800`).

    JSON's grammar allows them, and servers that cut a text inside a character send them; strict decoders refuse them.
    """
    return _ESCAPE.sub(lambda match: rb"\ufffd" if match[2] else match[0], data)


def parse_json_leniently(text: str) -> Any:
    """Return the value of JSON text, with a float for an integer of too many digits for Python's `int`.

    Raises ValueError, or RecursionError for nesting that is too deep.
    """
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < MAX_DIGITS else float(digits))


def csv_cell(value: object) -> object:
    """Return a cell of a CSV file. Text that a spreadsheet would take for a formula gets a `'` in front.

    `csv_text` takes it away.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def csv_text(cell: str) -> str:
    """Return the text of a cell of `csv_cell`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def write_rows(columns: Sequence[str] | None, rows: Iterable[Iterable[object]]) -> str:
    """Return a CSV table: a line of column names (none if `columns` is None), then a line for each row.

    None becomes an empty cell. Lines end with a newline alone.
    """
    text = io.StringIO()
    if columns is not None:
        append_rows(text, [columns])
    append_rows(text, rows)
    return text.getvalue()


def append_rows(file: TextIO, rows: Iterable[Iterable[object]]) -> None:
    """Write rows to an open CSV file in the form of `write_rows`. Raises OSError."""
    csv.writer(file, lineterminator="\n").writerows([map(csv_cell, row) for row in rows])
