"""JSON rows: one on each line, or all in one array. A line that is not JSON is an error with its number.

What a row means is settled in rows.py; this file only finds and parses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from loadstone.dataset.rows import from_fields, is_messages, to_prompt
from loadstone.dataset.source import Line, Options, RowPosition, Source
from loadstone.errors import UsageError
from loadstone.records import Prompt

# How JSON begins, and hardly any other text: `{name} ...` and `[INST] ...` do not.
OPENING = re.compile(r'\s*(\{\s*["}]|\[\s*["{\[\]])')


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts of a JSONL file or of a JSON array of rows."""
    for where, row in rows(source):
        yield to_prompt(row, where, options)


def rows(source: Source) -> Iterator[tuple[RowPosition, Any]]:
    """Each JSON row with its place: a line, or an item of the array that the whole file is."""
    lines = list(source.lines())
    array = _array(source, lines)
    if array is None:
        yield from ((line.where, parse(line)) for line in lines)
    else:
        yield from ((RowPosition(source, "item", number), row) for number, row in enumerate(array, 1))


def parse(line: Line) -> Any:
    """The line's JSON value, by the standard: no NaN, no half surrogates. Raises UsageError."""
    try:
        return msgspec.json.decode(line.text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise UsageError(f"{line.where}: not JSON ({_reason(exc)})") from exc


def _array(source: Source, lines: list[Line]) -> list[Any] | None:
    """The rows of a file that is one JSON document; None when each line is a row, or should have been."""
    opening = lines[0].text.lstrip()[:1] if lines else ""
    if opening not in ("[", "{") or (_parses(lines[0]) and (len(lines) > 1 or opening == "{")):
        return None
    try:
        document = msgspec.json.decode(source.text)
    except (msgspec.DecodeError, RecursionError) as exc:
        if len(lines) == 1 or opening == "{":
            return None
        line = _line_of(exc, source.text) or lines[-1].where.number
        raise UsageError(f"{source.name}, line {line}: not JSON ({_reason(exc)})") from exc
    return [document] if isinstance(document, dict) or is_messages(document) else list(document)


def _parses(line: Line) -> bool:
    try:
        parse(line)
    except UsageError:
        return False
    return True


def _reason(exc: Exception) -> str:
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    return str(exc).removeprefix("JSON is malformed: ")


def _line_of(exc: Exception, text: str) -> int | None:
    """The line of the byte that msgspec names."""
    byte = re.search(r"\(byte (\d+)\)", str(exc))
    return text.encode().count(b"\n", 0, int(byte[1])) + 1 if byte else None


def openqa(source: Source, options: Options) -> Iterator[Prompt]:
    """HC3: the `question` of each row."""
    return _field("question", source, options)


def longalpaca(source: Source, options: Options) -> Iterator[Prompt]:
    """LongAlpaca: the `instruction` of each row, which holds the long text as well."""
    return _field("instruction", source, options)


def custom(source: Source, options: Options) -> Iterator[Prompt]:
    """vLLM: the `prompt` of each row; `output_tokens`, if it is there, is asked for."""
    return _field("prompt", source, options)


def _field(name: str, source: Source, options: Options) -> Iterator[Prompt]:
    options = replace(options, prompt_field=options.prompt_field or name)
    for where, row in rows(source):
        if not isinstance(row, dict):
            raise UsageError(f"{where}: not an object with a field {options.prompt_field!r}")
        yield from_fields(row, where, options)
