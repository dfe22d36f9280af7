"""Parquet: rows of columns, which mean what the fields of JSON rows mean. The only door to pyarrow.

Also what tables from elsewhere give, as those of the Hugging Face Hub do: see `prompts`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from loadstone.dataset.formats import sharegpt
from loadstone.dataset.rows import to_prompt
from loadstone.dataset.source import Options, RowPosition, Source
from loadstone.errors import UsageError
from loadstone.records import Prompt

MAGIC = b"PAR1"
INSTALL = "Parquet files need the pyarrow library: pip install 'loadstone[datasets]'"


def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts of the chosen or default column."""
    return prompts(rows(source), source, options)


def prompts(table: Iterable[dict[str, Any]], source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts of the rows of a table; a table of conversations is read as ShareGPT."""
    places = ((RowPosition(source, "row", number), row) for number, row in enumerate(table, 1))
    head = list(islice(places, 1))
    whole = chain(head, places)
    if options.prompt_field is None and head and any(isinstance(head[0][1].get(name), list) for name in sharegpt.LISTS):
        return sharegpt.prompts(whole, source, options)
    return (to_prompt(row, where, options) for where, row in whole)


def rows(source: Source) -> Iterator[dict[str, Any]]:
    """The rows as they are. Raises UsageError."""
    data = source.data
    try:
        import pyarrow.parquet as library
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    try:
        for batch in library.ParquetFile(io.BytesIO(data)).iter_batches():
            yield from batch.to_pylist()
    except (OSError, ValueError) as exc:  # what the library's own exceptions derive from
        raise UsageError(f"{source.name} is not a whole Parquet file: {' '.join(str(exc).split())[:200]}") from exc
