"""Reads the rows of data files: JSON Lines, JSON arrays and objects, CSV with and without a header, and Parquet.

Each may be gzipped. What the rows mean is left to the tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadstone.dataset.formats import csv, jsonl, parquet
from loadstone.dataset.source import RowPosition, Source
from loadstone.errors import DataError
from loadstone.tasks.spec import Data, Doc

# How a file begins that Git LFS has not fetched.
POINTER = b"version https://git-lfs.github.com/spec/"


class FileRows(Struct, frozen=True):
    """The rows of some files.

    rows: (position, row); the position is `FILE, line N` or the like
    sha256: of the bytes of the files, one after the other
    """

    rows: list[tuple[RowPosition, Doc]]
    sha256: str


def read(files: Iterable[Path], data: Data) -> FileRows:
    """Read all rows of the files. Raises DataError with file and line."""
    digest = hashlib.sha256()
    rows: list[tuple[RowPosition, Doc]] = []
    for file in files:
        try:
            raw = file.read_bytes()
        except OSError as exc:
            raise DataError(f"cannot read {file}: {exc.strerror or exc}", file=str(file)) from exc
        if raw.startswith(POINTER):
            raise DataError(
                f"{file} only points to its content: fetch it with git lfs pull in that folder", file=str(file)
            )
        digest.update(raw)
        # The bytes are read once: the digest is that of the rows.
        source = Source(str(file), lambda raw=raw: raw, lambda _: None)  # type: ignore[misc]
        for where, row in _read_source(source, data):
            if not isinstance(row, dict):
                raise where.error(f"{str(row)[:40]!r} is not an object with fields")
            rows.append((where, row))
    return FileRows(rows, digest.hexdigest())


def _read_source(source: Source, data: Data) -> Iterator[tuple[RowPosition, Any]]:
    """Yield the rows of one file, by its format."""
    if data.parse_shots is not None and source.ending == ".txt":
        try:
            parsed = data.parse_shots(source.text)
        except ValueError as exc:
            raise DataError(f"{source.name} is not what it should be: {exc}", file=source.name) from exc
        yield from _numbered(source, "item", parsed)
    elif source.ending == ".parquet":
        yield from _numbered(source, "row", parquet.rows(source))
    elif source.ending in (".csv", ".tsv"):
        yield from _read_csv(source, data.columns)
    else:
        yield from _read_json(source, data.rows_field)


def _numbered(source: Source, unit: str, rows: Iterable[Any]) -> Iterator[tuple[RowPosition, Any]]:
    return ((RowPosition(source, unit, number), row) for number, row in enumerate(rows, 1))


def _read_json(source: Source, field: str | None) -> Iterator[tuple[RowPosition, Any]]:
    """Return the rows of a JSON file, or those in this field of the one object that it holds."""
    rows = list(jsonl.rows(source))
    only = rows[0][1] if field and len(rows) == 1 else None
    inner = only.get(field) if field and isinstance(only, dict) else None
    if inner is None:
        return iter(rows)
    if not isinstance(inner, list):
        raise DataError(f"{source.name}: {field} is not a list of rows", file=source.name)
    return _numbered(source, "item", inner)


def _read_csv(source: Source, columns: tuple[str, ...]) -> Iterator[tuple[RowPosition, Doc]]:
    """Yield rows by column. The names are those of the header or, if the file has none, `columns`."""
    table = list(csv.table(source))
    header = [cell.strip() for cell in table[0][1]] if table else []
    if columns and [name.lower() for name in header] != [name.lower() for name in columns]:
        header = list(columns)
    else:
        table = table[1:]
    for where, cells in table:
        if len(cells) != len(header):
            names = ", ".join(header)
            raise where.error(f"{len(cells)} cells where there are {len(header)} columns ({names})")
        yield where, dict(zip(header, cells, strict=True))
