"""The output events of a run, stored as the deltas of the records. Instants are computed chunk by chunk.

A hundred million events take 0.4 GB of a temporary file and a few MB of memory. Formulas are in measure.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.metrics.spool import Integers, Spool
from loadstone.units import Array, Mask

# Events processed at once.
CHUNK = 1_000_000
# Tokens of each event of a request: unknown, one, or as reported with each event.
UNKNOWN, ONE, REPORTED = 0, 1, 2


class Gaps(Struct, frozen=True):
    """Gaps between consecutive events of the same request, an entry for each gap.

    at: instant of its end, ns.
    gap: ns.
    tokens: of the event at its end, NaN if unknown; None if all events have one token.
    """

    at: Integers
    gap: Integers
    tokens: Array | None


class EventChunk(Struct, frozen=True):
    """Events, an entry for each.

    row: index of the request in Requests.
    at: instant, ns.
    gap: time since the event before, ns; 0 for the first event of a request.
    before: number of earlier events of the same request.
    """

    row: Integers
    at: Integers
    gap: Integers
    before: Integers


@dataclass(slots=True)
class Events:
    """The output events of successful streamed requests.

    Arrays have an entry for each request, in order of recording.
    rows: index in Requests.
    lengths: number of events.
    firsts, lasts: instants of the first and the last event, ns.
    counting: UNKNOWN, ONE or REPORTED tokens for each event.
    shared_reads: number of events that arrived in one read with the event before.
    deltas, tokens: ns since the event before, and reported tokens, of each event, in chunks.
    bounds: index of the request at which each chunk begins, and of the end.
    """

    rows: Integers
    lengths: Integers
    firsts: Integers
    lasts: Integers
    counting: NDArray[np.uint8]
    shared_reads: int
    deltas: Spool
    tokens: Spool
    bounds: list[int]

    def arrivals_of(self, rows: Mask) -> Iterator[tuple[Integers, Integers]]:
        """Yield the events of these requests in chunks: indices in Requests, and instants in ns."""
        for index, here, chosen in self._chunks(rows):
            lengths = self.lengths[here]
            keep = np.repeat(chosen, lengths)
            yield np.repeat(self.rows[here], lengths)[keep], self._instants(here, self.deltas[index])[keep]

    def gaps(self, rows: Mask) -> Iterator[Gaps]:
        """Yield the gaps of these requests in chunks, in the order of recording."""
        for index, here, chosen in self._chunks(rows):
            deltas = self.deltas[index]
            keep = np.repeat(chosen, self.lengths[here])
            keep[_begins(self.lengths[here])] = False
            at = self._instants(here, deltas)[keep]
            one_each = (self.counting[here][chosen] == ONE).all()
            yield Gaps(at, deltas[keep], None if one_each else self._tokens(index, here)[keep])

    def chunks(self, rows: Mask) -> Iterator[EventChunk]:
        """Yield all events of these requests in chunks."""
        for index, here, chosen in self._chunks(rows):
            lengths, deltas = self.lengths[here], self.deltas[index]
            keep = np.repeat(chosen, lengths)
            before = np.arange(len(deltas)) - np.repeat(_begins(lengths), lengths)
            row = np.repeat(self.rows[here], lengths)
            yield EventChunk(row[keep], self._instants(here, deltas)[keep], deltas[keep], before[keep])

    def _chunks(self, rows: Mask) -> Iterator[tuple[int, slice, Mask]]:
        """Yield the chunks that have any of these requests: index, slice of requests, and which of them are chosen."""
        for index, bounds in enumerate(pairwise(self.bounds)):
            here = slice(*bounds)
            chosen = rows[self.rows[here]]
            if chosen.any():
                yield index, here, chosen

    def _instants(self, here: slice, deltas: Integers) -> Integers:
        """Return the instants of a chunk: the deltas of each request, cumulated from its first event."""
        lengths, running = self.lengths[here], np.cumsum(deltas)
        return running + np.repeat(self.firsts[here] - running[_begins(lengths)], lengths)

    def _tokens(self, index: int, here: slice) -> Array:
        counting = np.repeat(self.counting[here], self.lengths[here])
        tokens = np.where(counting == ONE, 1.0, np.nan)
        tokens[counting == REPORTED] = self.tokens[index]
        return tokens


class Collector:
    """Collects the events of one request after another and builds `Events`."""

    def __init__(self) -> None:
        self._chunks, self._reported = Spool(), Spool()
        self._bounds = [0]
        self._shared_reads = 0
        self._deltas: array[int] = array("q")
        self._tokens: array[int] = array("q")
        self._rows: array[int] = array("q")
        self._lengths: array[int] = array("q")
        self._firsts: array[int] = array("q")
        self._lasts: array[int] = array("q")
        self._counting = bytearray()

    def add(self, row: int, first: int, deltas: list[int], tokens: list[int] | None, one_each: bool) -> None:
        """Add the events of a request.

        row: its position in the order of recording.
        first: instant of the first event, ns.
        deltas: ns between events, 0 for the first.
        tokens: of each event, if the server reported them.
        one_each: every event has one token.
        """
        self._rows.append(row)
        self._firsts.append(first)
        self._lengths.append(len(deltas))
        self._counting.append(REPORTED if tokens is not None else ONE if one_each else UNKNOWN)
        self._deltas.fromlist(deltas)
        if tokens is not None:
            self._tokens.fromlist(tokens)
        if len(self._deltas) >= CHUNK:
            self._close()

    def finish(self, position: Integers) -> Events:
        """Return all events. `position`: index in Requests of each request, in the order of recording."""
        if self._deltas:
            self._close()
        return Events(
            rows=position[np.frombuffer(self._rows, dtype=np.int64)],
            lengths=np.frombuffer(self._lengths, dtype=np.int64),
            firsts=np.frombuffer(self._firsts, dtype=np.int64),
            lasts=np.frombuffer(self._lasts, dtype=np.int64),
            counting=np.frombuffer(self._counting, dtype=np.uint8),
            shared_reads=self._shared_reads,
            deltas=self._chunks,
            tokens=self._reported,
            bounds=self._bounds,
        )

    def _close(self) -> None:
        """Close the current chunk and store it."""
        since = self._bounds[-1]
        deltas = np.array(self._deltas, dtype=np.int64)
        lengths, firsts = np.array(self._lengths[since:]), np.array(self._firsts[since:])
        begins = _begins(lengths)
        self._shared_reads += int((deltas == 0).sum() - (deltas[begins] == 0).sum())
        self._lasts.extend((firsts + np.add.reduceat(deltas, begins) - deltas[begins]).tolist())
        self._chunks.add(deltas)
        self._reported.add(np.array(self._tokens, dtype=np.int64))
        self._bounds.append(len(self._lengths))
        del self._deltas[:], self._tokens[:]


def _begins(lengths: Integers) -> Integers:
    """Return the index in a chunk at which each request begins."""
    return np.cumsum(lengths) - lengths
