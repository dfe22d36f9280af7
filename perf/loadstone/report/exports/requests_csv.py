"""requests.csv: one row a request for spreadsheets and notebooks. The only file that imports pandas, when used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadstone.records import Record, Usage
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
_UNTOLD = Usage()
CHUNK = 10_000


def _row(record: Record) -> tuple[Any, ...]:
    error = record.error
    return (
        *_plain(record),
        *map(_seconds, _times(record)),
        _seconds(_between(record.sent, record.first)),
        _seconds(_between(record.sent, record.last if record.streamed else record.end)),
        len(record.pieces.times) if record.pieces else None,
        record.reads,
        record.clock,
        record.retried,
        record.resent or int(record.retried),
        record.attempt,
        record.superseded,
        record.asked,
        *_counts(record.usage or _UNTOLD),
        error.kind if error else None,
        error.message if error else None,
    )


def table(records: Iterable[Record]) -> pd.DataFrame:
    """A row a request; times in seconds since the run began; None for what did not happen."""
    return _table([_row(record) for record in records])


def _table(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Columns of Python's own objects: a count with gaps stays whole, and every row is written alike."""
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS, dtype=object)


class Writer:
    """Writes requests.csv while its records are on their way to be measured, some thousand rows at a time. After an
    error of the disk it writes no more and lets them pass; `close` raises it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[tuple[Any, ...]] = []
        self._begun = False
        self._error: OSError | None = None

    def through(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self._rows.append(_row(record))
            if len(self._rows) == CHUNK:
                self._write()
            yield record

    def close(self) -> None:
        """Write what is left. Raises OSError."""
        if self._rows or not self._begun:
            self._write()
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        rows, self._rows = self._rows, []
        if self._error is not None:
            return
        head, self._begun = not self._begun, True
        try:
            _table(rows).to_csv(self._path, mode="w" if head else "a", header=head, index=False, lineterminator="\n")
        except OSError as exc:
            self._error = exc


def write_csv(records: Iterable[Record], path: Path) -> None:
    """requests.csv of records that nobody else reads."""
    writer = Writer(path)
    for _ in writer.through(records):
        pass
    writer.close()


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / NS_PER_S


def _between(begin: int | None, end: int | None) -> int | None:
    return None if begin is None or end is None else end - begin
