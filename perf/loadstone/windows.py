"""Stretches of a run, and what flows through them: requests in flight, and tokens booked when they arrive.

Pure functions on columns; a span is a pair of instants in ns.
"""

from __future__ import annotations

import numpy as np

from loadstone.columns import Array, Columns, Requests

STEADY_SHARE = 0.8
DIP_SHARE = 0.01
Span = tuple[float, float]


def whole(requests: Requests) -> Span | None:
    """From the instant the first measured request was wanted to the end of the last; None when none was sent."""
    rows = requests.measured & ~np.isnan(requests.sent)
    if not rows.any():
        return None
    return float(requests.scheduled[rows].min()), float(requests.end[rows].max())


def steady(requests: Requests, span: Span) -> Span:
    """The longest stretch inside `span` at or above 80 % of the peak number in flight. Dips shorter than 1 % of the
    span do not end it: requests that end together leave their slots empty for an instant."""
    times, level = in_flight(requests)
    inside = (times >= span[0]) & (times <= span[1])
    times, high = times[inside], level[inside] >= STEADY_SHARE * level[inside].max()
    before = np.r_[False, high[:-1]]
    starts, ends = times[high & ~before], times[~high & before]
    stops = ends if len(ends) == len(starts) else np.r_[ends, span[1]]
    apart = starts[1:] - stops[:-1] > DIP_SHARE * (span[1] - span[0])
    starts, stops = starts[np.r_[True, apart]], stops[np.r_[apart, True]]
    longest = int(np.argmax(stops - starts))
    return float(starts[longest]), float(stops[longest])


def in_flight(requests: Requests) -> tuple[Array, Array]:
    """Instants at which the number of requests in flight changes, and the number from then on. At one instant ends go
    before starts, so that a slot handed over does not count twice."""
    sent = ~np.isnan(requests.sent)
    times = np.r_[requests.end[sent], requests.sent[sent]]
    steps = np.repeat([-1.0, 1.0], int(sent.sum()))
    order = np.argsort(times, kind="stable")
    return times[order], np.cumsum(steps[order])


def mean_in_flight(requests: Requests, span: Span) -> float:
    """Time-weighted mean number in flight."""
    overlap = np.minimum(requests.end, span[1]) - np.maximum(requests.sent, span[0])
    return float(np.nansum(np.clip(overlap, 0, None)) / (span[1] - span[0]))


def output_booked(columns: Columns, span: Span) -> float | None:
    """Output tokens that arrived in the span, warm-up included. A request's tokens are spread evenly over its events;
    an answer that was not streamed is booked at its end. None where a successful answer's tokens are not known."""
    r, events = columns.requests, columns.events
    if np.isnan(r.output_tokens[r.ok]).any():
        return None
    each = r.output_tokens / r.packets
    streamed = each[events.owner][_within(events.at, span)].sum() if len(events.owner) else 0.0
    at_end = r.output_tokens[r.ok & np.isnan(r.packets) & _within(r.end, span)].sum()
    return float(streamed + at_end)


def input_booked(columns: Columns, span: Span) -> float | None:
    """Input tokens of successful requests, booked with the first output event (not streamed: at the end)."""
    r = columns.requests
    if np.isnan(r.input_tokens[r.ok]).any():
        return None
    at = np.where(np.isnan(r.first), r.end, r.first)
    return float(r.input_tokens[r.ok & _within(at, span)].sum())


def _within(at: Array, span: Span) -> np.typing.NDArray[np.bool_]:
    return (at >= span[0]) & (at <= span[1])
