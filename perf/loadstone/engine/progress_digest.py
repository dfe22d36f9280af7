"""Figures of a run while it goes on, as histograms with bins of 2 %.

Pure. Approximate by design: the figures of a report are computed from the records.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from loadstone.metrics.columns import NOT_COMPLETED
from loadstone.metrics.request_slo import tally
from loadstone.records import Failure, FailureCause, Record
from loadstone.units import NS_PER_S

# The lowest bin begins at _LOW ns; each is _WIDTH wider by the logarithm; _BINS of them reach past six hours.
_LOW = 1e3
_WIDTH = math.log(1.02)
_BINS = 1200
# Gaps counted in one report: more would hold up the load for longer than a millisecond.
SAMPLE = 5_000
# Characters of a failure's message, and different failures in one report.
MESSAGE = 200
DISTINCT = 10


def count_bins(nanoseconds: Sequence[float], weight: int = 1) -> dict[int, int]:
    """Return how many values fall into each bin, times `weight`."""
    if not nanoseconds:
        return {}
    bins = np.log(np.maximum(np.array(nanoseconds, dtype=np.float64), _LOW) / _LOW) / _WIDTH
    numbers, counts = np.unique(np.minimum(bins.astype(np.int64), _BINS - 1), return_counts=True)
    return dict(zip(numbers.tolist(), (weight * counts).tolist(), strict=True))


def bin_middle(number: int) -> float:
    """Return the geometric middle of a bin, in seconds."""
    return _LOW * math.exp((number + 0.5) * _WIDTH) / NS_PER_S


# Seconds, of all bins.
_MIDDLES = _LOW * np.exp((np.arange(_BINS) + 0.5) * _WIDTH) / NS_PER_S


class Progress(Struct, frozen=True, kw_only=True, tag=True):
    """Progress of one worker, several times a second. Totals are since the run began.

    at: ns of the run's clock.
    finished, failed: requests that ended, and those of them that failed (cancelled ones aside); totals.
    in_flight: requests in flight now.
    overdue: arrivals that wait for a slot now.
    tokens: output tokens, those of requests in flight included; total.
    stopping: True once nothing more is sent.

    Since the report before:
    outcomes: True for each completed request that failed.
    waits: seconds from due to first output.
    ttft, gap, tpot, latency: counts by bin of `count_bins`.
    loop_lags, send_lags: counts by bin of the event loop's lag and of the send lag.
    kinds: failures by kind.
    failures: the most frequent ones, with their numbers.
    slos: by name, see `metrics.request_slo.tally`.
    cpu: fraction of one core.
    core_wait: fraction of the time in which the process was ready but had no core; None: unknown here.
    """

    worker: int
    at: int
    finished: int = 0
    failed: int = 0
    in_flight: int = 0
    overdue: int = 0
    tokens: int = 0
    stopping: bool = False
    outcomes: list[bool] = []
    waits: list[float] = []
    ttft: dict[int, int] = {}
    gap: dict[int, int] = {}
    tpot: dict[int, int] = {}
    latency: dict[int, int] = {}
    kinds: dict[str, int] = {}
    cpu: float | None = None
    core_wait: float | None = None
    loop_lags: dict[int, int] = {}
    send_lags: dict[int, int] = {}
    failures: list[tuple[Failure, int]] = []
    slos: dict[str, tuple[int, int]] = {}


class LogHistogram:
    """A histogram of times, with bins of equal width by the logarithm."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)

    def add(self, counts: dict[int, int]) -> None:
        """Add counts by bin."""
        for number, count in counts.items():
            self._counts[number] += count

    def __len__(self) -> int:
        return int(self._counts.sum())

    def mean(self) -> float | None:
        """Return the mean in seconds; None without values."""
        total = len(self)
        return float(self._counts @ _MIDDLES) / total if total else None

    def quantile(self, fraction: float) -> float | None:
        """Return a quantile in seconds; None without values."""
        total = int(self._counts.sum())
        if not total:
            return None
        number = int(np.searchsorted(np.cumsum(self._counts), fraction * total))
        return bin_middle(min(number, _BINS - 1))


def digest_records(
    records: Sequence[Record], worker: int, since: int, at: int, slos: Mapping[str, float] | None = None
) -> Progress:
    """Return a report with the figures of some records; the caller sets the other fields and adds the totals.

    since, at: ns of the run; when the report before and this one were made.
    slos: limits in seconds by metric.
    """
    # Waits until the first output, where it came since the last report: the rest was reported while in flight.
    waits = []
    for record in records:
        first = record.first if record.streamed else record.end
        if first is not None and first > since and not record.attempt:
            waits.append((first - record.scheduled) / NS_PER_S)

    # Gaps: every `step`th of them, with that weight.
    gap_lists = [record.pieces.times for record in records if record.pieces]
    step = 1 + sum(map(len, gap_lists)) // SAMPLE
    gaps = [gap for times in gap_lists for gap in times[1::step]]

    # Output tokens, as the server counts them or else as output events; outcomes; times of successes.
    total_tokens = 0
    outcomes = []
    tpots = []
    latencies = []
    for record in records:
        tokens = None if record.usage is None else record.usage.completion
        if tokens is None:
            tokens = len(record.pieces.times) if record.pieces else 0
        total_tokens += tokens
        if record.error is None or record.error.kind not in NOT_COMPLETED:
            outcomes.append(record.error is not None)
        if record.error is not None:
            continue
        if record.first is not None and record.last is not None and tokens >= 2:
            tpots.append((record.last - record.first) / (tokens - 1))
        if record.sent is not None:
            end = record.end if record.last is None or not record.streamed else record.last
            latencies.append(end - record.sent)

    errors = [record.error for record in records if record.error is not None]
    failures = Counter(
        msgspec.structs.replace(error, message=error.message[:MESSAGE])
        for error in errors
        if error.kind is not FailureCause.CANCELLED
    )
    return Progress(
        worker=worker,
        at=at,
        tokens=total_tokens,
        outcomes=outcomes,
        waits=waits,
        ttft=count_bins([record.first - record.sent for record in records if record.first and record.sent]),
        gap=count_bins(gaps, step),
        tpot=count_bins(tpots),
        latency=count_bins(latencies),
        kinds=Counter(error.kind for error in errors),
        failures=failures.most_common(DISTINCT),
        slos=tally(records, slos) if slos else {},
    )
