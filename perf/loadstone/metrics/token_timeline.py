"""Figures that need every output event of a run: tokens over time, gaps by position in the response.

One pass over the events, with constant memory. Gaps are counted in bins 0.3 % wide, so these quantiles are for charts;
those of reports are in measure.py. ns in, seconds out.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.metrics.columns import Columns
from loadstone.metrics.spool import Integers
from loadstone.units import S_PER_NS, Array, Mask

# Ranges into which the longest response is divided.
PLACES = 100
# Bins per octave, and the gap in ns below which bins are of one width.
FINE, UNIT = 256, 1000.0
# Up to four hours.
BINS = 34 * FINE
# Lower edges and middles of the bins, ns: the inverse of what `build` counts by.
_EDGES, _MIDDLES = (UNIT * (np.exp2((np.arange(BINS + 1) + part) / FINE) - 1.0) for part in (0.0, 0.5))


class GapsByPosition(Struct, frozen=True):
    """Gaps by the number of events before them in the response, a row for each range that has any.

    start, end: range of the number of events.
    count: number of gaps; `median`, `p95` and `largest` are their figures, s.
    """

    start: Integers
    end: Integers
    count: Integers
    median: Array
    p95: Array
    largest: Array


class TokenTimeline(Struct, frozen=True):
    """Figures of all output events.

    tokens: in each slice of time; None if unknown.
    gaps, below: values in order, s, and how many gaps are at or below each.
    count: number of all gaps.
    """

    tokens: Array | None
    gaps: Array
    below: Integers
    count: int
    gaps_by_position: GapsByPosition


def build(columns: Columns, rows: Mask, shown: Mask, edges: Array) -> TokenTimeline:
    """Count the tokens of the requests `rows` in slices of time (edges in ns), and the gaps of the requests `shown`."""
    events, r = columns.events, columns.requests
    # Tokens of an event of each request, spread evenly; None if those of any request are unknown.
    unknown = np.isnan(r.output_tokens[rows]).any() or not rows.any()
    each = None if unknown else r.output_tokens / r.packets
    width = -(-int(events.lengths.max(initial=1)) // PLACES)
    cells = np.zeros((PLACES, BINS), dtype=np.int64)
    largest, tokens = np.zeros(PLACES, dtype=np.int64), np.zeros(len(edges) - 1)
    least = np.iinfo(np.int64).max
    for chunk in events.chunks(rows):
        if each is not None:
            tokens += sum_per_slice(chunk.at, edges, each[chunk.row])
        counted = (chunk.before > 0) & shown[chunk.row]
        gap, place = chunk.gap[counted], chunk.before[counted] // width
        bins = np.minimum((np.log2(1.0 + gap / UNIT) * FINE).astype(np.int64), BINS - 1)
        cells += np.bincount(place * BINS + bins, minlength=cells.size).reshape(cells.shape)
        np.maximum.at(largest, place, gap)
        least = min(least, int(gap.min(initial=least)))
    # The distribution of all gaps: the upper ends of the filled bins, within the exact extremes.
    counts = cells.sum(axis=0)
    filled = np.flatnonzero(counts)
    gaps: Array = np.empty(0)
    below = np.empty(0, dtype=np.int64)
    if len(filled):
        most = int(largest.max())
        gaps = np.r_[float(least), np.clip(_EDGES[filled[:-1] + 1], least, most), float(most)] * S_PER_NS
        below = np.r_[1, np.cumsum(counts)[filled]]
    # Gaps by position: ranges that have any.
    sizes = cells.sum(axis=1)
    there = np.flatnonzero(sizes)
    start = there * width
    median, p95 = (_quantiles(cells[there], largest[there], share) for share in (0.5, 0.95))
    longest: Array = largest[there] * np.float64(S_PER_NS)
    by_position = GapsByPosition(np.maximum(start, 1), start + width - 1, sizes[there], median, p95, longest)
    return TokenTimeline(tokens if each is not None else None, gaps, below, int(sizes.sum()), by_position)


def sum_per_slice(at: Array | Integers, edges: Array, weights: Array | None = None) -> Array:
    """Sum instants, or their weights, per slice between equidistant edges. All instants are between the edges."""
    slices = len(edges) - 1
    rate = slices / max(float(edges[-1] - edges[0]), 1.0)
    place = np.minimum(((at - edges[0]) * rate).astype(np.int64), slices - 1)
    return np.bincount(place, weights, minlength=slices).astype(np.float64, copy=False)


def _quantiles(cells: NDArray[np.int64], largest: Integers, share: float) -> Array:
    """Return a quantile of each row, to within a bin."""
    until = np.cumsum(cells, axis=1)
    rank = share * (until[:, -1] - 1) if len(until) else np.empty(0)
    place = (until <= rank[:, None]).sum(axis=1)
    return np.asarray(np.minimum(_MIDDLES[place], largest) * S_PER_NS, dtype=np.float64)
