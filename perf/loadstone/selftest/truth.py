"""Shown against true: a run's records held against what an exact server says it did, request by request.

Pure numpy. Both ends count from their own instant: the client from sending, the server from receipt; what the way takes
is part of the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from loadstone.host.ceiling import Errors
from loadstone.records import Record
from loadstone.stats.describe import percentile
from loadstone.units import S_PER_NS, Array

Span = tuple[float, float]


class TruthRow(Struct, frozen=True):
    """A request as GET /truth of `loadstone serve` tells it: instants in ns of the server's clock."""

    request_id: str | None
    received: int
    planned: list[int] = []
    sent: list[int] = []


class Pair(Struct, frozen=True):
    """A request from both ends: when it was sent (s since the run began), when its events were shown and truly sent
    (s since it was sent, and since it was received)."""

    sent: float
    shown: Array
    true: Array


def pairs(records: Iterable[Record], rows: Mapping[str, TruthRow]) -> Iterator[Pair]:
    """Requests that have output and are known to the server, as far as both have seen them."""
    for record in records:
        row = rows.get(record.request_id or "")
        if row is None or record.sent is None or record.first is None or record.pieces is None:
            continue
        both = min(len(record.pieces.times), len(row.sent))
        shown = record.first - record.sent + np.cumsum(record.pieces.times[:both])
        true = np.array(row.sent[:both]) - row.received
        if both:
            yield Pair(record.sent * S_PER_NS, shown * S_PER_NS, true * S_PER_NS)


def errors(found: Sequence[Pair], span: Span) -> Errors:
    """Of the requests sent in the span, and of the gaps that ended in it."""
    begin, end = span
    ttft = np.array([(pair.shown[0], pair.true[0]) for pair in found if begin <= pair.sent <= end]).reshape(-1, 2)
    gaps = np.concatenate([_gaps(pair, span) for pair in found] or [np.empty((0, 2))])
    return Errors(len(ttft), len(gaps), _mean(ttft), _p99(ttft), _mean(gaps), _p99(gaps))


def _gaps(pair: Pair, span: Span) -> Array:
    """Shown and true gaps, shape (n, 2)."""
    at = pair.sent + pair.shown[1:]
    inside = (at >= span[0]) & (at <= span[1])
    return np.column_stack([np.diff(pair.shown)[inside], np.diff(pair.true)[inside]])


def _mean(both: Array) -> float | None:
    return float(np.subtract(*both.mean(axis=0))) if len(both) else None


def _p99(both: Array) -> float | None:
    shown, true = (percentile(np.sort(column), 0.99) for column in both.T)
    return None if shown is None or true is None else shown - true


def arrival_times(records: Iterable[Record]) -> Array:
    """When each output event of all requests came, s since the run began, in no order."""
    times = [
        record.first + np.cumsum(record.pieces.times)
        for record in records
        if record.first is not None and record.pieces is not None
    ]
    return np.concatenate(times) * S_PER_NS if times else np.empty(0)


def rate(at: Array, span: Span) -> float:
    """How many a second in the span."""
    return float(((at >= span[0]) & (at <= span[1])).sum() / (span[1] - span[0]))


def events_per_stream(rows: Iterable[TruthRow], transit: float = 0.0) -> float | None:
    """Return the events a second of a stream that sends its next request when its response has ended.

    rows: the plan of the server
    transit: seconds that a request and its response spend on the network
    """
    planned = [(len(row.planned), (row.planned[-1] - row.received) * S_PER_NS + transit) for row in rows if row.planned]
    count, seconds = sum(count for count, _ in planned), sum(seconds for _, seconds in planned)
    return count / seconds if seconds > 0 else None


def transit_time(found: Sequence[Pair]) -> float:
    """The least time, s, that a request and its first event together were on their way."""
    return max(0.0, min((float(pair.shown[0] - pair.true[0]) for pair in found), default=0.0))


def server_start(records: Sequence[Record], rows: Sequence[TruthRow]) -> float | None:
    """The instant at which the run began on the server's clock, s: the first request was sent and received at once."""
    sent = [record.sent for record in records if record.sent is not None]
    received = [row.received for row in rows]
    return (min(received) - min(sent)) * S_PER_NS if sent and received else None


def send_times(records: Iterable[Record]) -> Array:
    """When each request was sent, s since the run began."""
    return np.array([record.sent for record in records if record.sent is not None], dtype=np.float64) * S_PER_NS
