"""What the engine processes tell while they run, as Locust's live statistics.

Requests are an entry that counts, failures by their kind included; TTFT, gap, TPOT are entries of their own, which do
not add to Locust's total. Times go in with three digits, which is what the bins of a Pulse can tell; Locust's own two
would round 147 ms to 150.
"""

from __future__ import annotations

import math
import time
from typing import Any

from loadstone.engine import progress_digest
from loadstone.engine.worker_messages import Progress
from loadstone.metrics.columns import NOT_COMPLETED

REQUESTS = ("request", "POST")
TIMES = ("ttft", "gap", "tpot")
METHOD = "TIME"


class Figures:
    """Adds pulses to a locust.stats.RequestStats."""

    def __init__(self, stats: Any) -> None:
        self._stats = stats
        self._finished: dict[int, int] = {}

    def add(self, pulse: Progress) -> None:
        finished = pulse.finished - self._finished.get(pulse.worker, 0)
        self._finished[pulse.worker] = pulse.finished
        if finished:
            for entry in (self._stats.total, self._stats.get(*REQUESTS)):
                _requests(entry, finished, pulse.latency)
        for kind, count in pulse.kinds.items():
            for _ in range(count if kind not in NOT_COMPLETED else 0):
                self._stats.log_error(REQUESTS[1], REQUESTS[0], kind)
        for name in TIMES:
            counts = getattr(pulse, name)
            if counts:
                _requests(self._stats.get(name, METHOD), sum(counts.values()), counts)


def _requests(entry: Any, count: int, times: dict[int, int]) -> None:
    """Locust's StatsEntry.log, for many at once. Those without a time (failures) are counted as such."""
    now = time.time()
    entry.num_requests += count
    entry.num_none_requests += count - sum(times.values())
    entry.num_reqs_per_sec[int(now)] += count
    entry.last_request_timestamp = now
    for number, many in times.items():
        value = milliseconds(number)
        entry.response_times[value] += many
        entry.total_response_time += many * value
        low = entry.min_response_time
        entry.min_response_time = value if low is None else min(low, value)
        entry.max_response_time = max(entry.max_response_time, value)


def milliseconds(number: int) -> float:
    """The middle of a bin, to three digits."""
    value = progress_digest.bin_middle(number) * 1e3
    return round(value, 2 - math.floor(math.log10(value)))
