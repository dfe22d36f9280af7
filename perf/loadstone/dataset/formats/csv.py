"""CSV with a header row; semicolons and tabs separate too. A row that does not fit its header is an error.

The fields mean what they mean in JSON rows, but a CSV row is never a request body: its cells have no types.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from msgspec.structs import replace

from loadstone.dataset.rows import FIELDS, from_fields
from loadstone.dataset.source import Options, RowPosition, Source
from loadstone.errors import UsageError
from loadstone.records import Prompt

NAME = re.compile(r"[\w.-]+")
DELIMITERS = ",;\t"
LONGEST = 2**31 - 1  # the module's own limit of 131,072 characters is shorter than a long-context prompt


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts of the chosen or default column; the only column of a file that has one."""
    found = table(source)
    header = next(found, None)
    if header is None:
        return
    names = [name.strip() for name in header[1]]
    if len(names) == 1 and options.prompt_field is None:
        options = replace(options, prompt_field=names[0])
    for where, cells in found:
        if len(cells) != len(names):
            raise UsageError(f"{where}: {len(cells)} cells where the header has {len(names)}")
        yield from_fields(dict(zip(names, cells, strict=True)), where, options)


def table(source: Source) -> Iterator[tuple[RowPosition, list[str]]]:
    """Rows that are not blank, header first, each with its first line. Raises UsageError on bad quoting."""
    csv.field_size_limit(LONGEST)
    reader = csv.reader(io.StringIO(source.text, newline=""), delimiter=_delimiter(source.text), strict=True)
    start = 1
    try:
        for cells in reader:
            if any(cells):
                yield RowPosition(source, "line", start), cells
            start = reader.line_num + 1
    except csv.Error as exc:
        raise UsageError(f"{source.name}, line {start}: not CSV ({exc})") from exc


def looks_like(source: Source, prompt_field: str | None) -> bool:
    """Whether the first row is a header of several columns, one of them known, and the second fits it."""
    try:
        rows = table(source)
        header, first = next(rows, None), next(rows, None)
    except UsageError:
        return False
    if header is None or first is None or not 1 < len(header[1]) == len(first[1]):
        return False
    columns = [name.strip() for name in header[1]]
    return all(map(NAME.fullmatch, columns)) and not {*FIELDS, prompt_field}.isdisjoint(columns)


def _delimiter(text: str) -> str:
    header = text.lstrip().partition("\n")[0]
    return next((mark for mark in DELIMITERS if mark in header), ",")
