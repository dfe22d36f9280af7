"""Figures of a run while it goes on, in bins of 2 %: what a process finds out and sends, and what comes of it in sum.

Pure. Approximate by design: what a report shows is computed from the records.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from loadstone.engine.worker_messages import Progress
from loadstone.metrics.columns import NOT_COMPLETED
from loadstone.metrics.request_slo import tally
from loadstone.records import Record
from loadstone.units import NS_PER_S

_LOW, _WIDTH, _BINS = 1e3, math.log(1.02), 1200  # ns; 1200 bins reach past six hours
# Gaps looked at in one go: more would hold up the load for longer than a millisecond.
SAMPLE = 5_000

# Characters of a failure's message, and how many different failures a pulse tells of.
MESSAGE, DISTINCT = 200, 10


def count_bins(nanoseconds: Sequence[float], weight: int = 1) -> dict[int, int]:
    """How many values fall into each bin."""
    if not nanoseconds:
        return {}
    place = np.log(np.maximum(np.array(nanoseconds, dtype=np.float64), _LOW) / _LOW) / _WIDTH
    numbers, counts = np.unique(np.minimum(place.astype(np.int64), _BINS - 1), return_counts=True)
    return dict(zip(numbers.tolist(), (weight * counts).tolist(), strict=True))


def bin_middle(number: int) -> float:
    """Seconds that a bin stands for: its geometric middle."""
    return _LOW * math.exp((number + 0.5) * _WIDTH) / NS_PER_S


_MIDDLES = _LOW * np.exp((np.arange(_BINS) + 0.5) * _WIDTH) / NS_PER_S


class LogHistogram:
    """Counts by bin, added up."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, counts: dict[int, int]) -> None:
        for number, count in counts.items():
            self._counts[number] += count

    def __len__(self) -> int:
        return int(self._counts.sum())

    def mean(self) -> float | None:
        """Seconds; None where there is nothing."""
        total = len(self)
        return float(self._counts @ _MIDDLES) / total if total else None

    def quantile(self, share: float) -> float | None:
        """Seconds; None where there is nothing."""
        total = int(self._counts.sum())
        if not total:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), share * total))
        return bin_middle(min(place, _BINS - 1))


class ProgressDigest:
    """The records that ended since the last look, and the tokens of all."""

    def __init__(self, slos: Mapping[str, float] | None = None) -> None:
        self._slos = slos or {}
        self._records: list[Record] = []
        self._tokens = self._at = 0

    def add(self, record: Record) -> None:
        self._records.append(record)

    def progress(self, worker: int, at: int) -> Progress:
        """What the new records tell; the rest of the pulse is left open."""
        records, self._records = self._records, []
        since, self._at = self._at, at
        answered = [record for record in records if record.error is None]
        events = sum(len(record.pieces.times) for record in records if record.pieces)
        step = 1 + events // SAMPLE
        self._tokens += sum(_tokens(record) for record in records)
        return Progress(
            worker=worker,
            at=at,
            tokens=self._tokens,
            outcomes=[record.error is not None for record in records if _judged(record)],
            waits=[
                (first - record.scheduled) / NS_PER_S
                for record in records
                if (first := _first(record)) > since and not record.attempt
            ],
            ttft=count_bins([record.first - record.sent for record in records if record.first and record.sent]),
            gap=count_bins([gap for record in records if record.pieces for gap in record.pieces.times[1::step]], step),
            tpot=count_bins([time for record in answered if (time := _tpot(record)) is not None]),
            latency=count_bins([_done(record) - record.sent for record in answered if record.sent is not None]),
            kinds=Counter(record.error.kind for record in records if record.error is not None),
            failures=_failures(records),
            slos=tally(records, self._slos) if self._slos else {},
        )


def _failures(records: Sequence[Record]) -> list[tuple[str, str, int]]:
    failed = Counter((record.error.kind, record.error.message[:MESSAGE]) for record in records
                     if record.error is not None and record.error.kind != "cancelled")  # fmt: skip
    return [(kind, message, count) for (kind, message), count in failed.most_common(DISTINCT)]


def _judged(record: Record) -> bool:
    return record.error is None or record.error.kind not in NOT_COMPLETED


def _first(record: Record) -> int:
    first = record.first if record.streamed else record.end
    return -1 if first is None else first


def _done(record: Record) -> int:
    return record.end if record.last is None or not record.streamed else record.last


def _tpot(record: Record) -> float | None:
    tokens = _tokens(record)
    if record.first is None or record.last is None or tokens < 2:
        return None
    return (record.last - record.first) / (tokens - 1)


def _tokens(record: Record) -> int:
    if record.usage is not None and record.usage.completion is not None:
        return record.usage.completion
    return len(record.pieces.times) if record.pieces else 0
