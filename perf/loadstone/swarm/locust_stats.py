"""Progress of the worker processes as Locust's live statistics.

Requests are one entry, which counts towards Locust's total, with failures by kind. TTFT, gap and TPOT are entries of
their own, which do not. Times are rounded to three digits, the resolution of the bins of a Progress; Locust's own two
digits would round 147 ms to 150.
"""

from __future__ import annotations

import math
import time
from typing import Any

from loadstone.engine import progress_digest
from loadstone.engine.progress_digest import Progress
from loadstone.metrics.columns import NOT_COMPLETED

# Name and method of the entry of all requests, and the method of the entries of times.
REQUESTS = ("request", "POST")
TIME_METHOD = "TIME"
TIMES = ("ttft", "gap", "tpot")


class LocustStats:
    """Adds progress to a locust.stats.RequestStats."""

    def __init__(self, stats: Any) -> None:
        self._stats = stats
        self._finished: dict[int, int] = {}  # by number of the process

    def add(self, progress: Progress) -> None:
        """Add what one process has finished since its last progress message."""
        finished = progress.finished - self._finished.get(progress.worker, 0)
        self._finished[progress.worker] = progress.finished
        if finished:
            for entry in (self._stats.total, self._stats.get(*REQUESTS)):
                _add_times(entry, finished, progress.latency)
        for kind, count in progress.kinds.items():
            for _ in range(count if kind not in NOT_COMPLETED else 0):
                self._stats.log_error(REQUESTS[1], REQUESTS[0], kind)
        for name in TIMES:
            bins = getattr(progress, name)
            if bins:
                _add_times(self._stats.get(name, TIME_METHOD), sum(bins.values()), bins)


def _add_times(entry: Any, count: int, bins: dict[int, int]) -> None:
    """Add `count` requests to an entry at once, as Locust's StatsEntry.log does for one.

    Those that are in no bin (failures) count as requests without a time.
    """
    now = time.time()
    entry.num_requests += count
    entry.num_none_requests += count - sum(bins.values())
    entry.num_reqs_per_sec[int(now)] += count
    entry.last_request_timestamp = now
    for number, times in bins.items():
        value = bin_milliseconds(number)
        entry.response_times[value] += times
        entry.total_response_time += times * value
        low = entry.min_response_time
        entry.min_response_time = value if low is None else min(low, value)
        entry.max_response_time = max(entry.max_response_time, value)


def bin_milliseconds(number: int) -> float:
    """Return the middle of a bin in ms, rounded to three digits."""
    value = progress_digest.bin_middle(number) * 1e3
    return round(value, 2 - math.floor(math.log10(value)))
