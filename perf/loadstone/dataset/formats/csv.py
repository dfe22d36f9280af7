"""CSV with a header row; fields may also be separated by semicolons or tabs. A row that does not fit its header is
an error.

The fields mean the same as in JSON rows, but a CSV row is never a request body: its cells have no types.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from msgspec.structs import replace

from loadstone.dataset.rows import FIELDS, from_fields
from loadstone.dataset.source import Options, RowPosition, Source, uses
from loadstone.errors import DataError
from loadstone.records import Prompt

# A column name; other first rows are text, not a header.
NAME = re.compile(r"[\w.-]+")
DELIMITERS = ",;\t"
# Longest cell in characters: the csv module's own limit of 131,072 is shorter than a long-context prompt.
MAX_CELL = 2**31 - 1


@uses("prompt_field")
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Yield the prompts of the chosen or default column, or of the only column. Raises DataError."""
    rows = table(source)
    header = next(rows, None)
    if header is None:
        return
    names = [name.strip() for name in header[1]]
    if len(names) == 1 and options.prompt_field is None:
        options = replace(options, prompt_field=names[0])
    for position, cells in rows:
        if len(cells) != len(names):
            raise position.error(f"{len(cells)} cells where the header has {len(names)}")
        yield from_fields(dict(zip(names, cells, strict=True)), position, options)


def table(source: Source) -> Iterator[tuple[RowPosition, list[str]]]:
    """Yield the rows that are not blank, header first, each with its first line. Raises DataError for bad quoting."""
    first_line = source.text.lstrip().partition("\n")[0]
    delimiter = next((mark for mark in DELIMITERS if mark in first_line), ",")
    csv.field_size_limit(MAX_CELL)
    reader = csv.reader(io.StringIO(source.text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for cells in reader:
            if any(cells):
                yield RowPosition(source, "line", start), cells
            start = reader.line_num + 1
    except csv.Error as exc:
        raise RowPosition(source, "line", start).error(f"not CSV ({exc})") from exc


def looks_like(source: Source, prompt_field: str | None) -> bool:
    """Return True if the first row is a header of several columns, one of them known, and the second row fits it."""
    try:
        rows = table(source)
        header, first = next(rows, None), next(rows, None)
    except DataError:
        return False
    if header is None or first is None or not 1 < len(header[1]) == len(first[1]):
        return False
    columns = [name.strip() for name in header[1]]
    return all(map(NAME.fullmatch, columns)) and not {*FIELDS, prompt_field}.isdisjoint(columns)
