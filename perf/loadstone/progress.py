"""Figures of a run while it goes on: counts, rates, and percentiles so far from histograms of 2 % wide bins.

A finished request costs one append; the arithmetic is done in `figures`, a few times a second. Approximate by design:
what a report shows is computed from the records.
"""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np
from msgspec import Struct

from loadstone.plan import Plan
from loadstone.records import Record
from loadstone.runner import Runner

_LOW, _WIDTH, _BINS = 1e3, math.log(1.02), 1200  # ns; 1200 bins reach past six hours
RECENT = 5.0
SAMPLE = 5_000
"""Gaps looked at in one go: more would hold up the load for longer than a millisecond."""


class Figures(Struct, frozen=True):
    """A glance at a run. Times are seconds, None where nothing was measured. `share`: done, where the end is known."""

    elapsed: float
    remaining: float | None
    share: float | None
    finished: int
    expected: int | None
    in_flight: int
    failed: int
    qps: float
    tokens_per_second: float
    ttft_p50: float | None
    ttft_p99: float | None
    gap_p50: float | None
    gap_p99: float | None
    stopping: bool


class Progress:
    """Collects from the runner's records; `figures()` tells how things stand."""

    def __init__(self, plan: Plan, duration: float | None) -> None:
        self.plan = plan
        self.runner: Runner | None = None
        self._duration = duration if plan.end is None else plan.end / 1e9
        self._began = time.monotonic()
        self._pending: list[Record] = []
        self._tokens = 0
        self._ttft, self._gap = _Histogram(), _Histogram()
        self._history: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])

    def add(self, record: Record) -> None:
        self._pending.append(record)

    def figures(self) -> Figures:
        assert self.runner is not None
        self._digest()
        now, runner, total = time.monotonic(), self.runner, self.plan.requests
        share = self._share(now)
        elapsed = now - self._began
        qps, tokens = self._recent(now)
        return Figures(
            elapsed=elapsed,
            remaining=None if not share or elapsed < 1 else elapsed * (1 - share) / share,
            share=share,
            finished=runner.carrier.finished,
            expected=total,
            in_flight=len(runner.carrier.flights),
            failed=runner.carrier.failed,
            qps=qps,
            tokens_per_second=tokens,
            ttft_p50=self._ttft.quantile(0.5),
            ttft_p99=self._ttft.quantile(0.99),
            gap_p50=self._gap.quantile(0.5),
            gap_p99=self._gap.quantile(0.99),
            stopping=runner.stopping,
        )

    def _share(self, now: float) -> float | None:
        """The further of two ends: requests done, and time passed."""
        assert self.runner is not None
        shares = []
        if self.plan.requests:
            shares.append(min(1.0, self.runner.carrier.finished / self.plan.requests))
        if self._duration:
            shares.append(min(1.0, (now - self._began) / self._duration))
        return max(shares, default=None)

    def _digest(self) -> None:
        records, self._pending = self._pending, []
        events = sum(len(record.pieces.times) for record in records if record.pieces)
        step = 1 + events // SAMPLE
        ttft = [
            record.first - record.sent for record in records if record.first is not None and record.sent is not None
        ]
        gaps = [gap for record in records if record.pieces for gap in record.pieces.times[1::step]]
        self._ttft.add(ttft)
        self._gap.add(gaps, step)
        self._tokens += sum(_tokens(record) for record in records)

    def _recent(self, now: float) -> tuple[float, float]:
        """Successes and output tokens a second over the last few seconds; answers under way count their events."""
        assert self.runner is not None
        done = self.runner.carrier.finished - self.runner.carrier.failed
        tokens = self._tokens + sum(len(flight.reply.times) for flight in self.runner.carrier.flights)
        self._history.append((now, done, tokens))
        while len(self._history) > 2 and now - self._history[0][0] > RECENT:
            self._history.popleft()
        then, done_then, tokens_then = self._history[0]
        passed = max(now - then, 1e-9)
        return (done - done_then) / passed, max(0, tokens - tokens_then) / passed


def _tokens(record: Record) -> int:
    if record.usage is not None and record.usage.completion is not None:
        return record.usage.completion
    return len(record.pieces.times) if record.pieces else 0


class _Histogram:
    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, nanoseconds: list[int], weight: int = 1) -> None:
        if nanoseconds:
            place = np.log(np.maximum(np.array(nanoseconds, dtype=np.float64), _LOW) / _LOW) / _WIDTH
            self._counts += weight * np.bincount(np.minimum(place.astype(np.int64), _BINS - 1), minlength=_BINS)

    def quantile(self, share: float) -> float | None:
        """Seconds; the geometric middle of the bin."""
        total = int(self._counts.sum())
        if not total:
            return None
        place = int(np.searchsorted(np.cumsum(self._counts), share * total))
        return _LOW * math.exp((min(place, _BINS - 1) + 0.5) * _WIDTH) / 1e9
