"""JSON rows: one a line, or all in one array. A line that is not JSON is an error with its number.

This file finds and parses rows; rows.py makes prompts of them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from loadstone.dataset.rows import from_fields, is_messages, to_prompt
from loadstone.dataset.source import BadRows, Line, Options, RowPosition, Source, uses
from loadstone.errors import DataError
from loadstone.records import Prompt
from loadstone.text import parse_json_leniently

# The beginning of JSON, which hardly any other text has: `{name} ...` and `[INST] ...` do not.
OPENING = re.compile(r'\s*(\{\s*["}]|\[\s*["{\[\]])')


@uses("prompt_field")
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Yield the prompts of a JSONL file or of a JSON array of rows. Raises DataError."""
    for position, row in rows(source):
        yield to_prompt(row, position, options)


def rows(source: Source, bad: BadRows | None = None) -> Iterator[tuple[RowPosition, Any]]:
    """Yield each JSON row with its position: a line, or an item of the array in the file. Raises DataError.

    bad: takes the errors of single rows, which are left out then.
    """
    lines = list(source.lines())
    array = _array(source, lines)
    if array is None:
        for line in lines:
            with bad or contextlib.nullcontext():
                yield line.position, parse(line)
        return
    for number, row in enumerate(array, 1):
        position = RowPosition(source, "item", number)
        with bad or contextlib.nullcontext():
            yield position, _checked(row, position)


def parse(line: Line) -> Any:
    """Return the JSON value of a line, strict: no NaN, no half surrogates. Raises DataError."""
    try:
        return msgspec.json.decode(line.text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise line.position.error(f"not JSON ({_reason(exc)})") from exc


def _array(source: Source, lines: list[Line]) -> list[Any] | None:
    """Return the rows of a file that is one JSON document; None if each line is a row, or should be one."""
    opening = lines[0].text.lstrip()[:1] if lines else ""
    if opening not in ("[", "{"):
        return None
    # A first line that is JSON by itself is a row, unless it is an array and the whole file.
    if len(lines) > 1 or opening == "{":
        with contextlib.suppress(DataError):
            parse(lines[0])
            return None
    try:
        document = msgspec.json.decode(source.text)
    except (msgspec.DecodeError, RecursionError) as exc:
        # Half a character in one row spoils the document for strict decoders only.
        with contextlib.suppress(ValueError, RecursionError):
            document = parse_json_leniently(source.text)
            if isinstance(document, list):
                return list(document)
        if len(lines) == 1 or opening == "{":
            return None
        # msgspec names the byte.
        byte = re.search(r"\(byte (\d+)\)", str(exc))
        line = source.text.encode().count(b"\n", 0, int(byte[1])) + 1 if byte else lines[-1].position.number
        raise RowPosition(source, "line", line).error(f"not JSON ({_reason(exc)})") from exc
    return [document] if isinstance(document, dict) or is_messages(document) else list(document)


def _checked(row: Any, position: RowPosition) -> Any:
    """Return a row of an array. Raises DataError if its text cannot be encoded: half a character, `\\ud800`."""
    try:
        msgspec.json.encode(row)
    except UnicodeEncodeError as exc:
        raise position.error("a text with half a character (a lone surrogate)") from exc
    return row


def _reason(exc: Exception) -> str:
    """Return why msgspec could not decode JSON."""
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    return str(exc).removeprefix("JSON is malformed: ")


@uses("prompt_field")
def openqa(source: Source, options: Options) -> Iterator[Prompt]:
    """Read HC3: the `question` of each row."""
    return _field("question", source, options, BadRows(source))


@uses("prompt_field")
def longalpaca(source: Source, options: Options) -> Iterator[Prompt]:
    """Read LongAlpaca: the `instruction` of each row, which includes the long text."""
    return _field("instruction", source, options, BadRows(source))


@uses("prompt_field")
def custom(source: Source, options: Options) -> Iterator[Prompt]:
    """Read vLLM's custom format: the `prompt` of each row, and its output length from `output_tokens`."""
    return _field("prompt", source, options)


def _field(name: str, source: Source, options: Options, bad: BadRows | None = None) -> Iterator[Prompt]:
    """Yield the prompts of one field, which --prompt-field overrides. bad: takes the errors of single rows."""
    options = replace(options, prompt_field=options.prompt_field or name)
    for position, row in rows(source, bad):
        with bad or contextlib.nullcontext():
            if not isinstance(row, dict):
                raise position.error(f"not an object with a field {options.prompt_field!r}")
            prompt = from_fields(row, position, options)
            if bad is not None:
                bad.kept += 1
            yield prompt
    if bad is not None:
        bad.finish()
