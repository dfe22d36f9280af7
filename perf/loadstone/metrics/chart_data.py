"""Select what the charts of a run draw: as many points as a screen has room for, always with the extremes.

Pure: columns in ns in, plain arrays and a few thousand requests in seconds since the run began out, together with how
many of how many are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.metrics import token_timeline, windows
from loadstone.metrics.columns import Columns
from loadstone.metrics.measure import per_request
from loadstone.metrics.token_timeline import GapsByPosition
from loadstone.units import S_PER_NS, Array

Indices = NDArray[np.int64]
T = TypeVar("T")
CURVES = ("ttft", "latency", "tpot", "gap")
# Points of a distribution.
CURVE_POINTS = 800
# Slices of time: at most, at least, and requests that a slice should have.
SLICES, MIN_SLICES, REQUESTS_PER_SLICE = 200, 20, 4
# Requests that are shown.
REQUESTS, FAILURES, SLOWEST = 3000, 500, 40
# Points of a series that is not of requests.
SERIES_POINTS = 300


class Curve(Struct, frozen=True):
    """An empirical distribution: `fractions` of the `n` samples are at or below `values`, both extremes included."""

    values: Array
    fractions: Array
    n: int


class Timeline(Struct, frozen=True):
    """Figures of equal slices of time.

    edges: bounds of the slices, s; one more than there are slices.
    tokens: output tokens per second; None if unknown.
    succeeded, failed: ended requests per second.
    in_flight: mean concurrency.
    """

    edges: Array
    tokens: Array | None
    succeeded: Array
    failed: Array
    in_flight: Array


class RequestPoint(Struct, frozen=True):
    """One request, times in seconds. None for what did not happen.

    at: when it was sent, or scheduled if it never was, since the run began.
    duration: latency, or time until it failed.
    """

    index: int
    prompt: str | None
    phase: str
    at: float
    wait: float | None
    connect: float | None
    ttft: float | None
    duration: float
    input_tokens: int | None
    output_tokens: int | None
    status: int | None
    error: str | None


class ChartData(Struct, frozen=True):
    """What the charts of a run draw.

    succeeded, failed: requests to show, out of `succeeded_count` and `failed_count`.
    slowest: the measured requests with the highest latency, slowest first.
    measure_start, measure_end: window of the measured requests, s since the run began.
    """

    curves: dict[str, Curve]
    timeline: Timeline
    succeeded: list[RequestPoint]
    failed: list[RequestPoint]
    succeeded_count: int
    failed_count: int
    slowest: list[RequestPoint]
    gaps_by_position: GapsByPosition
    measure_start: float
    measure_end: float
    has_warmup: bool
    has_cooldown: bool


def trace(columns: Columns) -> ChartData | None:
    """Select the data of all charts. None if nothing was measured."""
    r, span = columns.requests, windows.whole(columns.requests)
    if span is None:
        return None
    # Slices of time: from the first scheduled request to the end of the last, in ns.
    slices = min(SLICES, max(MIN_SLICES, len(r.ok) // REQUESTS_PER_SLICE))
    begin, end = float(r.scheduled.min()), float(r.end.max())
    edges = np.linspace(begin, max(end, begin + 1e3), slices + 1)
    seconds = np.diff(edges) * S_PER_NS
    rows = r.ok & r.measured
    timeline = token_timeline.build(columns, r.ok, rows, edges)
    # Tokens of a response that was not streamed have no events: all arrive at its end.
    whole = r.ok & np.isnan(r.packets)
    at_once = token_timeline.sum_per_slice(r.end[whole], edges, r.output_tokens[whole])
    # Distributions of the measured requests.
    curves = {name: curve(column[rows]) for name, (column, _) in per_request(r).items() if name in CURVES}
    curves["gap"] = _thin(Curve(timeline.gaps, timeline.below / max(timeline.count, 1), timeline.count))
    # Requests to show, by when they were sent, their TTFT and their duration in s.
    answered, failed, measured = np.flatnonzero(r.ok), np.flatnonzero(~r.ok), np.flatnonzero(rows)
    at = np.where(np.isnan(r.sent), r.scheduled, r.sent) * S_PER_NS
    ttft = (r.first - r.sent) * S_PER_NS
    durations: Array = np.where(r.ok & r.streamed, r.last, r.end) * S_PER_NS - at
    some_answers = select_extremes(at[answered], [ttft[answered], durations[answered]], REQUESTS)
    some_failures = select_extremes(at[failed], [durations[failed]], FAILURES)
    slowest = measured[np.argsort(-durations[measured], kind="stable")[:SLOWEST]]
    return ChartData(
        curves={name: curves[name] for name in CURVES if curves[name].n},
        timeline=Timeline(
            edges=edges * S_PER_NS,
            tokens=None if timeline.tokens is None else (timeline.tokens + at_once) / seconds,
            succeeded=token_timeline.sum_per_slice(r.end[r.ok], edges) / seconds,
            failed=token_timeline.sum_per_slice(r.end[r.judged & ~r.ok], edges) / seconds,
            in_flight=np.diff(windows.in_flight_time(r, edges)) / np.diff(edges),
        ),
        succeeded=_points(columns, at, ttft, durations, answered[some_answers]),
        failed=_points(columns, at, ttft, durations, failed[some_failures]),
        succeeded_count=len(answered),
        failed_count=len(failed),
        slowest=_points(columns, at, ttft, durations, slowest),
        gaps_by_position=timeline.gaps_by_position,
        measure_start=span[0] * S_PER_NS,
        measure_end=span[1] * S_PER_NS,
        has_warmup=bool(r.warmup.any()),
        has_cooldown=bool(r.cooldown.any()),
    )


def thin_series(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
) -> dict[str, tuple[list[float], list[float | None]]]:
    """Return instants and values by name, as many as a chart has room for; None for each NaN, where a line breaks."""
    found = {}
    for name, (times, values) in series.items():
        at, level = np.array(times), np.array(values)
        known, breaks = np.flatnonzero(~np.isnan(level)), np.flatnonzero(np.isnan(level))
        indices = np.sort(np.r_[known[select_extremes(at[known], [level[known]], SERIES_POINTS)], breaks])
        found[name] = at[indices].tolist(), [None if np.isnan(value) else float(value) for value in level[indices]]
    return found


def curve(values: Array) -> Curve:
    """Return the distribution of samples in any order. NaN is left out."""
    ranked = np.sort(values[~np.isnan(values)])
    return _thin(Curve(ranked, np.arange(1, len(ranked) + 1) / max(len(ranked), 1), len(ranked)))


def _thin(whole: Curve) -> Curve:
    """Return fewer points: half evenly spaced, the others denser towards both ends."""
    count = len(whole.values)
    if count <= CURVE_POINTS:
        return whole
    tail = np.geomspace(1, count / 2, CURVE_POINTS // 4)
    ranks = np.unique(
        np.r_[np.linspace(0, count - 1, CURVE_POINTS // 2), tail - 1, count - tail].round().astype(np.int64)
    )
    return Curve(whole.values[ranks], whole.fractions[ranks], whole.n)


def select_extremes(at: Array, measures: list[Array], limit: int) -> Indices:
    """Return the indices of at most `limit` samples in order of time.

    In every slice of time these are the lowest and the highest of each measure, and others evenly spaced between them.
    NaN is neither low nor high.
    """
    if len(at) <= limit:
        return np.argsort(at, kind="stable")
    slices = limit // (4 * len(measures))
    low, high = float(at.min()), float(at.max())
    of = np.minimum((at - low) / max(high - low, 1e-9) * slices, slices - 1).astype(np.int64)
    chosen = np.zeros(len(at), dtype=bool)
    for measure in measures:
        # Sorted by slice and then by value, the lowest and the highest of a slice are where the slice changes.
        there = np.flatnonzero(~np.isnan(measure))
        order = there[np.lexsort((measure[there], of[there]))]
        changes = np.flatnonzero(np.diff(of[order]))
        chosen[order[:1]] = True
        chosen[order[changes + 1]] = True
        chosen[order[changes]] = True
        chosen[order[-1:]] = True
    others = np.flatnonzero(~chosen)
    chosen[others[np.linspace(0, len(others) - 1, limit - int(chosen.sum())).round().astype(np.int64)]] = True
    indices = np.flatnonzero(chosen)
    return np.asarray(indices[np.argsort(at[indices], kind="stable")], dtype=np.int64)


def _points(columns: Columns, at: Array, ttft: Array, durations: Array, indices: Indices) -> list[RequestPoint]:
    """Return the requests at `indices` of the columns. at, ttft, durations: of all requests, s."""
    r = columns.requests
    wait, connect = (r.sent - r.scheduled) * S_PER_NS, r.connect * S_PER_NS
    return [
        RequestPoint(
            index=int(r.index[index]),
            prompt=_optional(r.prompt[index], lambda code: columns.prompts[int(code)]),
            phase="warmup" if r.warmup[index] else "cooldown" if r.cooldown[index] else "measure",
            at=float(at[index]),
            wait=_optional(wait[index], float),
            connect=_optional(connect[index], float),
            ttft=_optional(ttft[index], float),
            duration=float(durations[index]),
            input_tokens=_optional(r.input_tokens[index], int),
            output_tokens=_optional(r.output_tokens[index], int),
            status=_optional(r.status[index], int),
            error=_optional(r.error[index], lambda code: columns.kinds[int(code)]),
        )
        for index in indices.tolist()
    ]


def _optional(value: np.float64, convert: Callable[[np.float64], T]) -> T | None:
    """Return the value converted; None for NaN."""
    return None if np.isnan(value) else convert(value)
