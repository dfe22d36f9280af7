"""Check single requests against the objectives of --goodput, for the live display.

The formulas are those of measure.py without arrays, as this runs for every request that ends; a test compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from loadstone.metrics.columns import NOT_COMPLETED
from loadstone.metrics.token_counts import is_buffered, output_tokens
from loadstone.records import Record
from loadstone.units import S_PER_NS

# Name of the tally of requests that met every objective.
ALL_SLOS = "all"
# By objective, and ALL_SLOS: number of requests that met it, and of those for which it is known.
Tally = dict[str, tuple[int, int]]


def tally(records: Iterable[Record], slos: Mapping[str, float]) -> Tally:
    """Count the requests that met each objective. A failure meets none; requests the client cancelled do not count."""
    judged = [record for record in records if record.error is None or record.error.kind not in NOT_COMPLETED]
    if not slos or not judged:
        return {}
    rows = [[meets(record, name, limit) for name, limit in slos.items()] for record in judged]
    columns = dict(zip(slos, map(list, zip(*rows, strict=True)), strict=True))
    columns[ALL_SLOS] = [None if None in row else all(row) for row in rows]
    return {name: (column.count(True), len(column) - column.count(None)) for name, column in columns.items()}


def meets(record: Record, name: str, limit: float) -> bool | None:
    """Return True if a request met an objective; None if that is unknown for a successful one."""
    if record.error is not None:
        return False
    # One token, or one packet, has no time between two.
    count = _visible(record) if name == "tpot" else _packets(record) if name == "packet_time" else None
    if count is not None and count <= 1:
        return True
    value = VALUES[name](record)
    if value is None and count is not None and is_buffered(record) and record.last is not None:
        # All came in one read: the time for each is at most the latency over their number.
        at_most = _between(record.sent, record.last)
        return True if at_most is not None and at_most / (count - 1) * S_PER_NS <= limit else None
    if value is None:
        return False if name == "ttfat" and record.streamed else None
    return value * S_PER_NS <= limit


def _visible(record: Record) -> int | None:
    return output_tokens(record).visible


def _packets(record: Record) -> int | None:
    return len(record.pieces.times) if record.pieces else None


def _between(begin: int | None, end: int | None) -> int | None:
    return None if begin is None or end is None else end - begin


def _done(record: Record) -> int | None:
    return record.last if record.streamed else record.end


def _each(record: Record, begin: int | None, count: int | None) -> float | None:
    time = _between(begin, record.last)
    return None if time is None or count is None or count < 2 or is_buffered(record) else time / (count - 1)


def _tpot(record: Record) -> float | None:
    """Return the time for each visible token after the first; hidden ones were generated before it."""
    counted = output_tokens(record)
    return _each(record, record.first_answer if counted.hidden else record.first, counted.visible)


# Values in ns, by metric.
VALUES: dict[str, Callable[[Record], float | None]] = {
    "ttft": lambda record: _between(record.sent, record.first),
    "ttft_scheduled": lambda record: _between(record.scheduled, record.first),
    "ttfat": lambda record: _between(record.sent, record.first_answer),
    "latency": lambda record: _between(record.sent, _done(record)),
    "latency_scheduled": lambda record: _between(record.scheduled, _done(record)),
    "tpot": _tpot,
    "packet_time": lambda record: _each(record, record.first, _packets(record)),
}
