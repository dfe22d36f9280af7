"""The records as Parquet: a row for each request, a column for each field, pieces nested as they are.

Times are whole ns as in records.jsonl, so nothing is rounded and every metric can be computed from the file. run.json
is in its metadata. Row groups are written as they fill, so memory does not grow with the run. Needs pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import msgspec

from loadstone.errors import UsageError
from loadstone.metrics.columns import TokenCounter
from loadstone.records import Record
from loadstone.summary import Summary

# Rows of a group: some 30 MB of Python objects at 256 tokens per request.
GROUP = 5_000
INSTALL = "Parquet files need the pyarrow library: pip install 'loadstone[parquet]'"
_NUMBERS = ("index", "worker", "turn", "abandoned", "stage", "server", "asked", "reads", "status", "attempt",
            "resent")  # fmt: skip
_TIMES = ("scheduled", "sent", "connect", "first_byte", "first", "first_answer", "last", "end")
_TEXTS = ("phase", "prompt", "conversation", "model", "request_id", "clock", "finish", "text", "reasoning", "tools",
          "logprobs")  # fmt: skip


def write(summary: Summary, records: Iterable[Record], _: TokenCounter | None, file: BinaryIO) -> None:
    """Write the records to `file`. Raises UsageError without pyarrow, OSError if the disk is full."""
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as exc:
        raise UsageError(INSTALL) from exc
    metadata = {"loadstone.run": msgspec.json.encode(summary.run)}
    columns = arrow.schema([(name, _type(arrow, name)) for name in Record.__struct_fields__], metadata=metadata)
    with ParquetWriter(file, columns, compression="zstd") as writer:
        for rows in _groups(records):
            writer.write_table(_table(arrow, rows, columns), row_group_size=GROUP)


def _table(arrow: Any, rows: list[dict[str, Any]], columns: Any) -> Any:
    """Convert rows. Raises UsageError for numbers that Parquet cannot hold: a server may report any."""
    try:
        return arrow.Table.from_pylist(rows, schema=columns)
    except (OverflowError, arrow.ArrowInvalid) as exc:
        raise UsageError(f"Parquet has no room for a number in these records ({exc}); requests.csv has") from exc


def _groups(records: Iterable[Record]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(records)
    while batch := list(islice(remaining, GROUP)):
        yield [_row(record) for record in batch]


def _row(record: Record) -> dict[str, Any]:
    """Convert a record. Tools and log-probabilities become JSON text, as servers give them any shape."""
    row: dict[str, Any] = msgspec.to_builtins(record)
    for name in ("tools", "logprobs"):
        row[name] = None if row[name] is None else msgspec.json.encode(row[name]).decode()
    return row


def _type(arrow: Any, name: str) -> Any:
    """Return the Parquet type of a field of Record. A new field needs a type here."""
    nested = {
        "pieces": [("times", arrow.list_(arrow.int64())), ("chars", arrow.list_(arrow.int32())),
                   ("tokens", arrow.list_(arrow.int32()))],
        "usage": [(what, arrow.int64()) for what in ("prompt", "completion", "cached", "reasoning")],
        "error": [("kind", arrow.string()), ("message", arrow.string())],
        "choices": [(what, arrow.string()) for what in ("text", "reasoning", "finish")],
    }  # fmt: skip
    plain = dict.fromkeys((*_NUMBERS, *_TIMES), arrow.int64()) | dict.fromkeys(_TEXTS, arrow.string())
    plain |= dict.fromkeys(("streamed", "retried", "superseded", "summarized", "unterminated"), arrow.bool_())
    if name in plain:
        return plain[name]
    return arrow.list_(arrow.struct(nested[name])) if name == "choices" else arrow.struct(nested[name])
