"""Choose the loads of the search for a ceiling, decide which of them the client sustained, and name what limited it.

Pure. A step is a window of a run at one load, with the CPU that client and servers used in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from loadstone.host.ceiling_file import Bound
from loadstone.host.process_usage import Usage

# From this fraction of a core on, the core is full; from this fraction of the target rate on, the load is sustained.
FULL = 0.97
# Coarse steps, as multiples of the estimate, which is too low: at a low rate an event costs more CPU than at a high.
STAIRS = (0.5, 0.75, 1.0, 1.3, 1.65, 2.1)
# Number of finer steps in a round.
FINE = 5
# Fractions of the ceiling at which errors are measured.
LEVELS = (0.10, 0.50, 0.80, 0.95)
LEAST_STREAMS = 8
LIMITS = {
    "client": "the client's core",
    "server": "the server's core",
    "others": "other processes on the same cores",
    "unknown": "neither core was full",
    "not reached": "more was not tried",
}


class CpuUse(Struct, frozen=True):
    """CPU of the client and of the busiest server in a window, with their waits for a core; all as fractions of one."""

    client: float | None = None
    client_waited: float | None = None
    server: float | None = None
    server_waited: float | None = None


class LoadStep(Struct, frozen=True):
    """One load and what came of it; `target`, `events` and `requests` are per second."""

    streams: int
    target: float
    events: float
    requests: float
    cpu: CpuUse = CpuUse()

    @property
    def held(self) -> bool:
        """Return True if the target was reached with no core full."""
        full = any(used is not None and used >= FULL for used in (self.cpu.client, self.cpu.server))
        return not full and self.events >= FULL * self.target


class UsageSample(Struct, frozen=True):
    """What the processes have used up to an instant `at` (s)."""

    at: float
    client: Usage
    servers: list[Usage]


def cpu_use(samples: Sequence[UsageSample], begin: float, end: float) -> CpuUse:
    """Return the CPU used between two instants, interpolated from the samples around them."""
    client = [sample.client for sample in samples]
    server_count = min((len(sample.servers) for sample in samples), default=0)
    # The client comes first, then each server.
    rates: list[tuple[float | None, float | None]] = []
    for usages in [client, *([sample.servers[index] for sample in samples] for index in range(server_count))]:
        cpu = [(sample.at, usage.cpu) for sample, usage in zip(samples, usages, strict=True)]
        core_wait = [(sample.at, usage.core_wait) for sample, usage in zip(samples, usages, strict=True)]
        rates.append((_rate_of_increase(cpu, begin, end), _rate_of_increase(core_wait, begin, end)))
    busiest = max(rates[1:], key=lambda rate: rate[0] or 0.0, default=(None, None))
    return CpuUse(*rates[0], *busiest)


def _rate_of_increase(counter: Sequence[tuple[float, float | None]], begin: float, end: float) -> float | None:
    """Return the increase per second of a counter; None with fewer than two readings or none in the window."""
    readings = [(instant, value) for instant, value in counter if value is not None]
    if len(readings) < 2:
        return None
    times, values = np.array(readings).T
    seconds = min(end, times[-1]) - max(begin, times[0])
    first, last = np.interp([begin, end], times, values)
    return float((last - first) / seconds) if seconds > 0 else None


def memory_growth(samples: Sequence[UsageSample], begin: float) -> float:
    """Return the bytes by which the client has grown since `begin`; 0 if unknown."""
    before = [sample.client.memory for sample in samples if sample.client.memory is not None and sample.at <= begin]
    peak = max((sample.client.memory for sample in samples if sample.client.memory is not None), default=0)
    return float(peak - before[-1]) if before else 0.0


def limiting_side(cpu: CpuUse) -> str:
    """Return the key of LIMITS for what kept a step from more."""
    client, server = cpu.client or 0.0, cpu.server or 0.0
    if client >= FULL:
        return "client"
    if server >= FULL:
        return "server"
    # A core that is full with the waiting of our process included is shared with other processes.
    with_waiting = max(client + (cpu.client_waited or 0.0), server + (cpu.server_waited or 0.0))
    return "others" if with_waiting >= FULL else "unknown"


def estimate_ceiling(easy: LoadStep) -> float:
    """Return the events/s at which the first core would be full, from the CPU per event at an easy load.

    Where CPU is unknown, assume that half a core was used.
    """
    used = max((used for used in (easy.cpu.client, easy.cpu.server) if used), default=0.5)
    return easy.events / max(used, 0.01)


def coarse_steps(estimate: float, events_per_stream: float, streams: int) -> list[int]:
    """Return numbers of streams around the estimated ceiling (events/s), at most `streams`."""
    return _stream_counts([multiple * estimate / events_per_stream for multiple in STAIRS], streams)


def finer_steps(steps: Sequence[LoadStep], tried: Sequence[LoadStep], streams: int) -> list[int]:
    """Return the next numbers of streams, at most `streams`.

    They lie between the best of `steps` and the first of all `tried` that was not sustained, or beyond the best.
    """
    best = best_held(steps)
    if best is None:
        lowest = float(min(step.streams for step in tried))
        return _stream_counts(list(np.linspace(1.0, lowest, FINE + 2)[1:-1]), streams)
    failed = _first_failed_beyond(best, tried)
    if failed is None:
        return _stream_counts([best.streams * multiple for multiple in (1.1, 1.3, 1.6, 2.0, 2.5)], streams)
    return _stream_counts(list(np.linspace(best.streams, failed.streams, FINE)), streams)


def _stream_counts(numbers: Sequence[float], maximum: int) -> list[int]:
    """Return the numbers rounded, within the limits, in ascending order without repeats."""
    return sorted({min(maximum, max(LEAST_STREAMS, round(number))) for number in numbers})


def best_held(steps: Sequence[LoadStep]) -> LoadStep | None:
    """Return the sustained step with the most events/s."""
    return max((step for step in steps if step.held), key=lambda step: step.events, default=None)


def event_ceiling(steps: Sequence[LoadStep], tried: Sequence[LoadStep]) -> Bound | None:
    """Return the ceiling for events: the best of `steps`; None if none was sustained.

    It is a lower bound unless the client's core was the first limit in all that was `tried` beyond it.
    """
    best = best_held(steps)
    if best is None:
        return None
    failed = _first_failed_beyond(best, tried)
    limit = limiting_side(failed.cpu) if failed else "not reached"
    return Bound(best.events, limit, limit != "client", best.cpu.client, best.cpu.server)


def _first_failed_beyond(best: LoadStep, tried: Sequence[LoadStep]) -> LoadStep | None:
    """Return the step with the fewest streams, more than those of `best`, that was not sustained."""
    failed = [step for step in tried if step.streams > best.streams and not step.held]
    return min(failed, key=lambda step: step.streams, default=None)


def request_ceiling(rate: float, cpu: CpuUse) -> Bound:
    """Return the ceiling for requests, from one step that sends as fast as responses arrive."""
    limit = limiting_side(cpu)
    return Bound(rate, limit, limit != "client", cpu.client, cpu.server)


def error_levels(ceiling: float, events_per_stream: float) -> list[tuple[float, int]]:
    """Return fractions of the ceiling (events/s), each with the number of streams that reaches it."""
    return [(fraction, max(1, round(fraction * ceiling / events_per_stream))) for fraction in LEVELS]
