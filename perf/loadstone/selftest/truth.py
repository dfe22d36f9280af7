"""Compare the times in a run's records with those that an exact server kept, request by request.

Pure numpy. Each side counts from its own instant: the client from sending, the server from receipt. Time on the network
is therefore part of the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from loadstone.host.ceiling_file import Errors
from loadstone.records import Record
from loadstone.stats.describe import percentile
from loadstone.units import S_PER_NS, Array

# Begin and end of a window, s since the run began.
Span = tuple[float, float]


class TruthRow(Struct, frozen=True):
    """Decode a line of GET /truth of `loadstone serve`: one request, with instants in ns of the server's clock."""

    request_id: str | None
    received: int
    planned: list[int] = []
    sent: list[int] = []


class Pair(Struct, frozen=True):
    """Hold one request as both sides saw it.

    sent: s since the run began.
    shown: when the client saw its events, s since it was sent.
    true: when the server sent its events, s since it was received.
    """

    sent: float
    shown: Array
    true: Array


def pairs(records: Iterable[Record], rows: Mapping[str, TruthRow]) -> Iterator[Pair]:
    """Yield the requests that have output and are known to the server, with the events that both have seen."""
    for record in records:
        row = rows.get(record.request_id or "")
        if row is None or record.sent is None or record.first is None or record.pieces is None:
            continue
        count = min(len(record.pieces.times), len(row.sent))
        shown = record.first - record.sent + np.cumsum(record.pieces.times[:count])
        true = np.array(row.sent[:count]) - row.received
        if count:
            yield Pair(record.sent * S_PER_NS, shown * S_PER_NS, true * S_PER_NS)


def errors(pairs_of_run: Sequence[Pair], span: Span) -> Errors:
    """Return the errors of the requests sent in the span, and of the gaps that ended in it."""
    begin, end = span
    ttft = np.array([(pair.shown[0], pair.true[0]) for pair in pairs_of_run if begin <= pair.sent <= end])
    # Each of the two arrays is of shape (n, 2): shown, true.
    gaps = [np.empty((0, 2))]
    for pair in pairs_of_run:
        at = pair.sent + pair.shown[1:]
        inside = (at >= begin) & (at <= end)
        gaps.append(np.column_stack([np.diff(pair.shown)[inside], np.diff(pair.true)[inside]]))
    ttft_mean, ttft_p99 = _mean_and_p99_errors(ttft.reshape(-1, 2))
    gap_mean, gap_p99 = _mean_and_p99_errors(np.concatenate(gaps))
    return Errors(len(ttft), sum(map(len, gaps)), ttft_mean, ttft_p99, gap_mean, gap_p99)


def _mean_and_p99_errors(shown_and_true: Array) -> tuple[float | None, float | None]:
    """Return shown minus true, of the means and of the p99; None where there are too few samples."""
    if not len(shown_and_true):
        return None, None
    mean = float(np.subtract(*shown_and_true.mean(axis=0)))
    shown, true = (percentile(np.sort(column), 0.99) for column in shown_and_true.T)
    return mean, None if shown is None or true is None else shown - true


def arrival_times(records: Iterable[Record]) -> Array:
    """Return when each output event of all requests arrived, s since the run began, in no order."""
    times = [
        record.first + np.cumsum(record.pieces.times)
        for record in records
        if record.first is not None and record.pieces is not None
    ]
    return np.concatenate(times) * S_PER_NS if times else np.empty(0)


def rate(at: Array, span: Span) -> float:
    """Return the number of instants per second in the span."""
    return float(((at >= span[0]) & (at <= span[1])).sum() / (span[1] - span[0]))


def events_per_stream(rows: Iterable[TruthRow], transit: float = 0.0) -> float | None:
    """Return the events a second of a stream that sends its next request when its response has ended.

    rows: the plan of the server
    transit: seconds that a request and its response spend on the network
    """
    planned = [(len(row.planned), (row.planned[-1] - row.received) * S_PER_NS + transit) for row in rows if row.planned]
    count, seconds = sum(count for count, _ in planned), sum(seconds for _, seconds in planned)
    return count / seconds if seconds > 0 else None


def transit_time(pairs_of_run: Sequence[Pair]) -> float:
    """Return the least time, s, that a request and its first event together spent on the network."""
    return max(0.0, min((float(pair.shown[0] - pair.true[0]) for pair in pairs_of_run), default=0.0))


def server_start(records: Sequence[Record], rows: Sequence[TruthRow]) -> float | None:
    """Return when the run began on the server's clock, s, taking the first request as received when it was sent."""
    sent = [record.sent for record in records if record.sent is not None]
    received = [row.received for row in rows]
    return (min(received) - min(sent)) * S_PER_NS if sent and received else None


def send_times(records: Iterable[Record]) -> Array:
    """Return when each request was sent, s since the run began."""
    return np.array([record.sent for record in records if record.sent is not None], dtype=np.float64) * S_PER_NS
