"""The door for foreign text: what servers, models and plugins send, made fit to be written down and shown.

Nothing that comes through here can break a record, a message between processes, a report or a terminal. Answers keep
every character that UTF-8 can carry; messages and labels are also bounded in length and free of control characters.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

MAX_MESSAGE = 1000
"""Characters of a message, such as the words of an error, that are kept."""
MAX_LABEL = 200
"""Characters of a label, such as a finish reason, that are kept."""
_LONE = re.compile("[\ud800-\udfff]")
# Control characters other than tab and newline, marks that turn the direction of writing, what has no form in UTF-8.
_NOT_SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_ESCAPE = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def to_utf8(value: str) -> str:
    """Return the text as it came, except that each lone surrogate, which UTF-8 cannot carry, becomes U+FFFD."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return _LONE.sub("\ufffd", value)
    return value


def visible(value: str) -> str:
    """Return the text for a terminal or a table: what would steer the terminal, or cannot be encoded, becomes U+FFFD.

    Tabs and newlines stay, and CRLF becomes a newline.
    """
    if value.isascii() and value.isprintable():
        return value
    return _NOT_SHOWN.sub("\ufffd", value.replace("\r\n", "\n"))


def clean(value: object, limit: int = MAX_MESSAGE) -> str:
    """Return foreign text as a message or label: `visible`, and of at most `limit` characters before a note of its
    whole length. Never raises: an object whose `str()` fails is named by its type."""
    try:
        words = value if isinstance(value, str) else str(value)
    except Exception:  # somebody else's __str__ may raise anything
        words = type(value).__name__
    if len(words) > limit:
        words = f"{words[:limit]}… ({len(words):,} characters)"
    return visible(words)


def to_utf8_nested(value: Any) -> Any:
    """Return dicts and lists with `to_utf8` applied to every text in them, keys too."""
    if isinstance(value, str):
        return to_utf8(value)
    if isinstance(value, dict):
        return {to_utf8_nested(key): to_utf8_nested(item) for key, item in value.items()}
    return [to_utf8_nested(item) for item in value] if isinstance(value, list | tuple) else value


def replace_surrogate_escapes(data: bytes) -> bytes:
    """Return JSON in which each escape of a lone surrogate (`\\ud800`) is one of U+FFFD instead. JSON's grammar allows
    them, and servers that cut a text inside a character send them; strict decoders refuse them."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[2] else found[0], data)


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
    csv.writer(file, lineterminator="\n").writerows(rows)
