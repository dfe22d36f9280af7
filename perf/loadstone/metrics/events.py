"""The output events of a run, kept as the deltas of the records; instants and owners are worked out chunk by chunk.

A hundred million of them take 0.4 GB of a temporary file and a few MB of memory. Formulas are in measure.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.metrics.spool import Integers, Spool
from loadstone.units import Array, Mask

# Events worked on at once.
CHUNK = 1_000_000
# How many tokens an event of a request stands for: not known, one each, or as told with each.
UNKNOWN, ONE, TOLD = 0, 1, 2


class Gaps(Struct, frozen=True):
    """Gaps between consecutive events of one request, in ns: when each ended, and the tokens that came then; NaN where
    that is not known, None where it is one each throughout."""

    at: Integers
    gap: Integers
    tokens: Array | None


class EventChunk(Struct, frozen=True):
    """Events: place of the request in Requests, instant and gap before it in ns (0 for the first), and how many events
    of the answer came before it."""

    row: Integers
    at: Integers
    gap: Integers
    before: Integers


class Events:
    """Of successful streamed requests. One entry a request, in order of recording, in `rows` (its place in Requests),
    `lengths`, `firsts`, `lasts` (ns) and `counting` (UNKNOWN, ONE or TOLD); `len` is the number of events.
    `shared_reads`: events that came in one read with the one before."""

    def __init__(self) -> None:
        self.rows: Integers = np.empty(0, np.int64)
        self.lengths: Integers = self.rows
        self.firsts: Integers = self.rows
        self.lasts: Integers = self.rows
        self.counting: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.bounds = [0]
        self.deltas, self.tokens = Spool(), Spool()
        self.shared_reads = 0

    def __len__(self) -> int:
        return int(self.lengths.sum())

    def span(self, rows: Mask) -> tuple[float, float]:
        """From the first to the last event of the requests; (0, 0) when there is none."""
        mine = rows[self.rows]
        return (float(self.firsts[mine].min()), float(self.lasts[mine].max())) if mine.any() else (0.0, 0.0)

    def arrivals_of(self, rows: Mask) -> Iterator[tuple[Integers, Integers]]:
        """Chunks of the events of these requests: their places in Requests, and instants in ns."""
        for place, here, mine in self._chunks(rows):
            lengths = self.lengths[here]
            keep = np.repeat(mine, lengths)
            yield np.repeat(self.rows[here], lengths)[keep], self._instants(here, self.deltas[place])[keep]

    def gaps(self, rows: Mask) -> Iterator[Gaps]:
        """Chunks of the gaps of these requests, in the order of recording."""
        for place, here, mine in self._chunks(rows):
            deltas = self.deltas[place]
            keep = np.repeat(mine, self.lengths[here])
            keep[_begins(self.lengths[here])] = False
            at = self._instants(here, deltas)[keep]
            one_each = (self.counting[here][mine] == ONE).all()
            yield Gaps(at, deltas[keep], None if one_each else self._tokens(place, here)[keep])

    def chunks(self, rows: Mask) -> Iterator[EventChunk]:
        """Chunks of all events of these requests, with how many of the same answer came before each."""
        for place, here, mine in self._chunks(rows):
            lengths, deltas = self.lengths[here], self.deltas[place]
            keep = np.repeat(mine, lengths)
            before = np.arange(len(deltas)) - np.repeat(_begins(lengths), lengths)
            row = np.repeat(self.rows[here], lengths)
            yield EventChunk(row[keep], self._instants(here, deltas)[keep], deltas[keep], before[keep])

    def _chunks(self, rows: Mask) -> Iterator[tuple[int, slice, Mask]]:
        """Chunks that hold any of these requests: number, which requests, and which of them are wanted."""
        for place in range(len(self.deltas)):
            here = slice(*self.bounds[place : place + 2])
            mine = rows[self.rows[here]]
            if mine.any():
                yield place, here, mine

    def _instants(self, here: slice, deltas: Integers) -> Integers:
        """Each request's deltas summed up from its first event."""
        lengths, running = self.lengths[here], np.cumsum(deltas)
        return running + np.repeat(self.firsts[here] - running[_begins(lengths)], lengths)

    def _tokens(self, place: int, here: slice) -> Array:
        counting = np.repeat(self.counting[here], self.lengths[here])
        tokens = np.where(counting == ONE, 1.0, np.nan)
        tokens[counting == TOLD] = self.tokens[place]
        return tokens


class Collector:
    """Takes the events of one request after the other, and gives `Events`."""

    def __init__(self) -> None:
        self._events = Events()
        self._deltas: array[int] = array("q")
        self._tokens: array[int] = array("q")
        self._rows: array[int] = array("q")
        self._lengths: array[int] = array("q")
        self._firsts: array[int] = array("q")
        self._lasts: array[int] = array("q")
        self._counting = bytearray()

    def add(self, row: int, first: int, deltas: list[int], tokens: list[int] | None, one_each: bool) -> None:
        """Events of the request recorded as number `row`: instant of the first, deltas, and tokens of each where they
        were told; or whether they are one each."""
        self._rows.append(row)
        self._firsts.append(first)
        self._lengths.append(len(deltas))
        self._counting.append(TOLD if tokens is not None else ONE if one_each else UNKNOWN)
        self._deltas.fromlist(deltas)
        if tokens is not None:
            self._tokens.fromlist(tokens)
        if len(self._deltas) >= CHUNK:
            self._close()

    def finish(self, place: Integers) -> Events:
        """All events. `place`: where in Requests each recorded request went."""
        if self._deltas:
            self._close()
        events = self._events
        events.rows = place[np.frombuffer(self._rows, dtype=np.int64)]
        events.lengths, events.firsts, events.lasts = (
            np.frombuffer(column, dtype=np.int64) for column in (self._lengths, self._firsts, self._lasts)
        )
        events.counting = np.frombuffer(self._counting, dtype=np.uint8)
        return events

    def _close(self) -> None:
        """End a chunk here."""
        events, since = self._events, self._events.bounds[-1]
        deltas = np.array(self._deltas, dtype=np.int64)
        lengths, firsts = np.array(self._lengths[since:]), np.array(self._firsts[since:])
        begins = _begins(lengths)
        events.shared_reads += int((deltas == 0).sum() - (deltas[begins] == 0).sum())
        self._lasts.extend((firsts + np.add.reduceat(deltas, begins) - deltas[begins]).tolist())
        events.deltas.add(deltas)
        events.tokens.add(np.array(self._tokens, dtype=np.int64))
        events.bounds.append(len(self._lengths))
        del self._deltas[:], self._tokens[:]


def _begins(lengths: Integers) -> Integers:
    """Where in a chunk each request begins."""
    return np.cumsum(lengths) - lengths
