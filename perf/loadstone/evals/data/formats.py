"""From files to rows with their places: JSON Lines, JSON arrays and objects, CSV with and without a head, Parquet, each
also gzipped. What the rows mean is the tasks' affair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadstone.dataset.formats import csv, jsonl, parquet
from loadstone.dataset.source import RowPosition, Source
from loadstone.errors import UsageError
from loadstone.tasks.spec import Data, Doc

# How a file begins that Git LFS has not fetched.
POINTER = b"version https://git-lfs.github.com/spec/"


class FileRows(Struct, frozen=True):
    """Rows with their places (FILE, line N), and the sha256 of the bytes that they were read from, file after file."""

    rows: list[tuple[RowPosition, Doc]]
    sha256: str


def read(files: Iterable[Path], data: Data) -> FileRows:
    """All rows of the files. Raises UsageError with file and line."""
    digest = hashlib.sha256()
    rows: list[tuple[RowPosition, Doc]] = []
    for file in files:
        raw = _bytes(file)
        digest.update(raw)
        source = Source(str(file), lambda raw=raw: raw, lambda _: None)  # type: ignore[misc]
        rows += [(where, _object(row, where)) for where, row in _rows(source, data)]
    return FileRows(rows, digest.hexdigest())


def _rows(source: Source, data: Data) -> Iterator[tuple[RowPosition, Any]]:
    if data.parse_shots is not None and source.ending == ".txt":
        return _parsed(source, data.parse_shots)
    if source.ending == ".parquet":
        return ((RowPosition(source, "row", number), row) for number, row in enumerate(parquet.rows(source), 1))
    if source.ending in (".csv", ".tsv"):
        return _cells(source, data.columns)
    return _json(source, data.rows_field)


def _parsed(source: Source, parse: Callable[[str], list[Doc]]) -> Iterator[tuple[RowPosition, Any]]:
    try:
        found = parse(source.text)
    except ValueError as exc:
        raise UsageError(f"{source.name} is not what it should be: {exc}") from exc
    return ((RowPosition(source, "item", number), row) for number, row in enumerate(found, 1))


def _json(source: Source, field: str | None) -> Iterator[tuple[RowPosition, Any]]:
    """Rows of a file of JSON, or those in the field of the one object that it is."""
    found = list(jsonl.rows(source))
    inner = found[0][1].get(field) if field and len(found) == 1 and isinstance(found[0][1], dict) else None
    if inner is None:
        return iter(found)
    if not isinstance(inner, list):
        raise UsageError(f"{source.name}: {field} is not a list of rows")
    return ((RowPosition(source, "item", number), row) for number, row in enumerate(inner, 1))


def _cells(source: Source, columns: tuple[str, ...]) -> Iterator[tuple[RowPosition, Doc]]:
    """Rows by column: `columns` where the file has no head, else the head."""
    table = list(csv.table(source))
    head = [cell.strip() for cell in table[0][1]] if table else []
    if columns and [name.lower() for name in head] != [name.lower() for name in columns]:
        head = list(columns)
    else:
        table = table[1:]
    for where, cells in table:
        if len(cells) != len(head):
            raise UsageError(f"{where}: {len(cells)} cells where there are {len(head)} columns ({', '.join(head)})")
        yield where, dict(zip(head, cells, strict=True))


def _object(row: object, where: RowPosition) -> Doc:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: {str(row)[:40]!r} is not an object with fields")
    return row


def _bytes(file: Path) -> bytes:
    try:
        raw = file.read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror or exc}") from exc
    if raw.startswith(POINTER):
        raise UsageError(f"{file} only points to its content: fetch it with git lfs pull in that folder")
    return raw
