"""Windows of a run, requests in flight, and tokens counted when they arrive.

Pure functions on columns; a span is a pair of instants in ns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadstone.metrics.columns import Columns, Requests
from loadstone.units import Array, Mask

STEADY_FRACTION = 0.8
SLICES = 20
Span = tuple[float, float]


def whole(requests: Requests) -> Span | None:
    """Return the span from the first scheduled measured request to the end of the last; None if there is none."""
    rows = requests.measured
    if not rows.any():
        return None
    return float(requests.scheduled[rows].min()), float(requests.end[rows].max())


def sent_within(requests: Requests, span: Span) -> Mask:
    """Return the requests sent in the span, or scheduled in it if they never were sent (connecting failed)."""
    return within(np.where(np.isnan(requests.sent), requests.scheduled, requests.sent), span)


def steady(requests: Requests, span: Span) -> Span | None:
    """Return the longest window in `span` at or above 80 % of the peak concurrency; None if nothing was in flight.

    Concurrency is averaged over twentieths of the span, so that neither a slot that is empty for a moment nor the
    fluctuation of random arrivals counts.
    """
    edges = np.linspace(*span, SLICES + 1)
    level = np.diff(in_flight_time(requests, edges))
    if not level.max(initial=0.0) > 0:
        return None
    high = np.r_[False, level >= STEADY_FRACTION * level.max(), False]
    starts, stops = np.flatnonzero(high[1:] & ~high[:-1]), np.flatnonzero(~high[1:] & high[:-1])
    longest = int(np.argmax(stops - starts))
    return float(edges[starts[longest]]), float(edges[stops[longest]])


def in_flight_time(requests: Requests, until: Array, rows: Mask | None = None) -> Array:
    """Return the time that requests (all, or `rows`) have been in flight together, up to each instant of `until`."""
    sent = ~np.isnan(requests.sent) if rows is None else ~np.isnan(requests.sent) & rows
    return _passed(requests.sent[sent], until) - _passed(requests.end[sent], until)


def _passed(since: Array, until: Array) -> Array:
    """Return for each instant of `until` the sum of the times since each earlier instant of `since`."""
    since = np.sort(since)
    sums = np.r_[0.0, np.cumsum(since)]
    earlier = np.searchsorted(since, until)
    return np.asarray(earlier * until - sums[earlier], dtype=np.float64)


def peak_in_flight(requests: Requests, span: Span, rows: Mask | None = None) -> float:
    """Return the highest concurrency in the span, its start included.

    At the same instant ends go before starts, so that a slot passed on does not count twice.
    """
    sent = ~np.isnan(requests.sent) if rows is None else ~np.isnan(requests.sent) & rows
    times = np.r_[requests.end[sent], requests.sent[sent]]
    order = np.argsort(times, kind="stable")
    level = np.cumsum(np.repeat([-1.0, 1.0], int(sent.sum()))[order])
    first, after = np.searchsorted(times[order], span, "right")
    return float(level[max(first - 1, 0) : after].max(initial=0.0))


def mean_in_flight(requests: Requests, span: Span, rows: Mask | None = None) -> float:
    """Return the time-weighted mean concurrency, of all requests or of `rows`."""
    begun, ended = in_flight_time(requests, np.array(span), rows)
    return float((ended - begun) / (span[1] - span[0]))


def completed(r: Requests, span: Span, rows: Mask) -> float:
    """Return how many of the requests were answered in the span; a part of those that were in flight at its edges.

    The part is that of their time in flight, as with tokens, which count when they arrive. Counting whole requests by
    their ends would lose up to a round of a closed loop whose requests end together.
    """
    sent, end = r.sent[rows], r.end[rows]
    inside = np.clip(np.minimum(end, span[1]) - np.maximum(sent, span[0]), 0.0, None)
    whole = np.asarray(within(end, span), dtype=np.float64)
    return float(np.divide(inside, end - sent, out=whole, where=end > sent).sum())


def output_booked(columns: Columns, span: Span, counted: Mask) -> float | None:
    """Return the output tokens of `counted` requests that arrived in the span; None if unknown.

    The tokens of a request are spread evenly over its events; those of a response that was not streamed arrive at its
    end.
    """
    r, events = columns.requests, columns.events
    rows = counted & r.ok
    if not rows.any() or np.isnan(r.output_tokens[rows]).any():
        return None
    mine = rows[events.rows]
    inside = mine & (events.firsts >= span[0]) & (events.lasts <= span[1])
    across = mine & ~inside & (events.firsts <= span[1]) & (events.lasts >= span[0])
    # Of requests that are only in part in the span, the events that are.
    chosen = np.zeros(len(r.ok), dtype=bool)
    chosen[events.rows[across]] = True
    each = np.where(chosen, r.output_tokens / r.packets, 0.0)
    part = sum(float(each[row[within(at, span)]].sum()) for row, at in events.arrivals_of(chosen))
    streamed = r.output_tokens[events.rows[inside]].sum() + part
    at_end = r.output_tokens[rows & np.isnan(r.packets) & within(r.end, span)].sum()
    return float(streamed + at_end)


def input_booked(columns: Columns, span: Span, counted: Mask) -> float | None:
    """Return the input tokens of `counted` requests, which count at the first output event or, unstreamed, the end."""
    r = columns.requests
    rows = counted & r.ok
    if not rows.any() or np.isnan(r.input_tokens[rows]).any():
        return None
    at = np.where(np.isnan(r.first), r.end, r.first)
    return float(r.input_tokens[rows & within(at, span)].sum())


def within(at: Array | NDArray[np.int64], span: Span) -> Mask:
    return (at >= span[0]) & (at <= span[1])
