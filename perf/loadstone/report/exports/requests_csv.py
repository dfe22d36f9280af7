"""requests.csv: a row for each request, for spreadsheets and notebooks. The only file that imports pandas, on use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadstone.records import Record, Usage
from loadstone.text import csv_cell
from loadstone.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

_PLAIN = (
    "index", "phase", "worker", "prompt", "conversation", "turn", "abandoned", "stage", "model", "server",
    "request_id", "streamed", "status", "finish",
)  # fmt: skip
_TIMES = ("scheduled", "sent", "connect", "first_byte", "first", "first_answer", "last", "end")
_COUNTED = ("asked", "input", "output", "cached", "reasoning")
COLUMNS = [
    *_PLAIN,
    *(f"{name}_s" for name in (*_TIMES, "ttft", "latency")),
    "events", "reads", "clock", "retried", "resent", "attempt", "superseded",
    *(f"{name}_tokens" for name in _COUNTED),
    "error", "error_message",
]  # fmt: skip
_plain, _times = attrgetter(*_PLAIN), attrgetter(*_TIMES)
_counts = attrgetter("prompt", "completion", "cached", "reasoning")
_NO_USAGE = Usage()
# Rows written at once.
CHUNK = 10_000


def _row(record: Record) -> tuple[Any, ...]:
    error = record.error
    return (
        *_plain(record),
        *map(_seconds, _times(record)),
        _seconds(record.first, record.sent),
        _seconds(record.last if record.streamed else record.end, record.sent),
        len(record.pieces.times) if record.pieces else None,
        record.reads,
        record.clock,
        record.retried,
        record.resent or int(record.retried),
        record.attempt,
        record.superseded,
        record.asked,
        *_counts(record.usage or _NO_USAGE),
        error.kind if error else None,
        error.message if error else None,
    )


def table(records: Iterable[Record]) -> pd.DataFrame:
    """Return a data frame with a row for each request. Times are seconds since the run began, None if unknown."""
    return _table([_row(record) for record in records])


def _table(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return a data frame of Python objects: counts with gaps stay whole, and all rows are written alike."""
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


def _for_spreadsheets(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows whose texts no spreadsheet takes for a formula."""
    return [tuple(map(csv_cell, row)) for row in rows]


class Writer:
    """Writes requests.csv while its records are measured, some thousand rows at a time.

    After an OSError it writes no more and passes the records on; `close` raises the error.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[tuple[Any, ...]] = []
        self._has_head = False
        self._error: OSError | None = None

    def through(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records unchanged, and write them on the way."""
        for record in records:
            self._rows.append(_row(record))
            if len(self._rows) == CHUNK:
                self._write()
            yield record

    def close(self) -> None:
        """Write the remaining rows. Raises OSError."""
        if self._rows or not self._has_head:
            self._write()
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if self._error is not None:
            return
        head, self._has_head = not self._has_head, True
        try:
            _table(_for_spreadsheets(rows)).to_csv(
                self._path, mode="w" if head else "a", header=head, index=False, lineterminator="\n"
            )
        except OSError as exc:
            self._error = exc


def write_csv(records: Iterable[Record], path: Path) -> None:
    """Write requests.csv of records that are not needed otherwise."""
    writer = Writer(path)
    for _ in writer.through(records):
        pass
    writer.close()


def _seconds(end: int | None, begin: int | None = 0) -> float | None:
    """Return the seconds from one instant to another (ns); None if one of them is unknown."""
    return None if begin is None or end is None else (end - begin) / NS_PER_S
