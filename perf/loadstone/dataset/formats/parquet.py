"""Parquet: columns mean the same as fields of JSON rows. The only door to pyarrow.

`prompts` also reads tables of other origin, such as the Hugging Face Hub.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from loadstone.dataset.formats import sharegpt
from loadstone.dataset.rows import to_prompt
from loadstone.dataset.source import Options, RowPosition, Source, uses
from loadstone.errors import DataError, UsageError
from loadstone.records import Prompt

# First bytes of a Parquet file.
MAGIC = b"PAR1"
INSTALL = "Parquet files need the pyarrow library: pip install 'loadstone[datasets]'"


@uses("prompt_field")
def read(source: Source, options: Options) -> Iterator[Prompt]:
    """Return the prompts of the chosen or default column. Raises DataError."""
    return prompts(rows(source), source, options)


def prompts(table: Iterable[dict[str, Any]], source: Source, options: Options) -> Iterator[Prompt]:
    """Return the prompts of a table's rows; a table of conversations is read as ShareGPT. Raises DataError."""
    numbered = ((RowPosition(source, "row", number), row) for number, row in enumerate(table, 1))
    head = list(islice(numbered, 1))
    whole = chain(head, numbered)
    if options.prompt_field is None and head and any(isinstance(head[0][1].get(name), list) for name in sharegpt.LISTS):
        return sharegpt.prompts(whole, source, options)
    return (to_prompt(row, position, options) for position, row in whole)


def rows(source: Source) -> Iterator[dict[str, Any]]:
    """Yield the rows. Raises DataError."""
    data = source.data
    try:
        import pyarrow.parquet as library
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    try:
        for batch in library.ParquetFile(io.BytesIO(data)).iter_batches():
            yield from batch.to_pylist()
    except (OSError, ValueError) as exc:  # what the library's own exceptions derive from
        reason = " ".join(str(exc).split())[:200]
        raise DataError(f"{source.name} is not a whole Parquet file: {reason}", file=source.name) from exc
