"""Whether one request met the objectives of --goodput: measure.py's formulas for a single record, for the live display.

Pure. Called for every request that ends during a run, so without arrays; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from loadstone.metrics.columns import NOT_COMPLETED
from loadstone.records import Record
from loadstone.units import S_PER_NS

ALL_SLOS = "all"
# By objective, and TOGETHER: requests that met it, and those of which it can be told.
Tally = dict[str, tuple[int, int]]


def tally(records: Iterable[Record], slos: Mapping[str, float]) -> Tally:
    """A failure meets none; what the client took back is not judged."""
    judged = [record for record in records if record.error is None or record.error.kind not in NOT_COMPLETED]
    if not slos or not judged:
        return {}
    told = [[meets(record, name, limit) for name, limit in slos.items()] for record in judged]
    columns = dict(zip(slos, map(list, zip(*told, strict=True)), strict=True))
    columns[ALL_SLOS] = [None if None in row else all(row) for row in told]
    return {name: (column.count(True), len(column) - column.count(None)) for name, column in columns.items()}


def meets(record: Record, name: str, limit: float) -> bool | None:
    """None where a success does not tell."""
    if record.error is not None:
        return False
    if _single(record, name):
        return True
    value = VALUES[name](record)
    if value is None:
        return False if name == "ttfat" and record.streamed else None
    return value * S_PER_NS <= limit


def _single(record: Record, name: str) -> bool:
    """Whether there is but one token, or packet, and so no time between two."""
    count = {"tpot": _tokens, "packet_time": _packets}.get(name)
    found = None if count is None else count(record)
    return found is not None and found <= 1


def _tokens(record: Record) -> int | None:
    return record.usage.completion if record.usage else None


def _packets(record: Record) -> int | None:
    return len(record.pieces.times) if record.pieces else None


def _from(begin: int | None, end: int | None) -> int | None:
    return None if begin is None or end is None else end - begin


def _done(record: Record) -> int | None:
    return record.last if record.streamed else record.end


def _each(record: Record, count: int | None) -> float | None:
    time = _from(record.first, record.last)
    return None if time is None or count is None or count < 2 else time / (count - 1)


# ns, by the names in typed.SLOS.
VALUES: dict[str, Callable[[Record], float | None]] = {
    "ttft": lambda record: _from(record.sent, record.first),
    "ttft_scheduled": lambda record: _from(record.scheduled, record.first),
    "ttfat": lambda record: _from(record.sent, record.first_answer),
    "latency": lambda record: _from(record.sent, _done(record)),
    "latency_scheduled": lambda record: _from(record.scheduled, _done(record)),
    "tpot": lambda record: _each(record, _tokens(record)),
    "packet_time": lambda record: _each(record, _packets(record)),
}
