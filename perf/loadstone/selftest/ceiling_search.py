"""The search for a ceiling: which loads to try, whether the client held them, and what kept it from more.

Pure. A step is a stretch of a run at one load, with the CPU that both ends spent meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from loadstone.host.ceiling import Bound
from loadstone.host.process_usage import Usage

# Share of a core from which on it counts as used up, and share of the asked rate from which on it counts as held.
FULL = 0.97
# Parts of the estimate: it is made at a low rate, where an event costs more than in a crowd, and so is too low.
STAIRS = (0.5, 0.75, 1.0, 1.3, 1.65, 2.1)
FINE = 5
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
    """Shares of a core, over a stretch: CPU and waiting for a core, of the client and of the busiest server."""

    client: float | None = None
    client_waited: float | None = None
    server: float | None = None
    server_waited: float | None = None


class LoadStep(Struct, frozen=True):
    """`target` and `events`: a second; so are the `requests` sent meanwhile."""

    streams: int
    target: float
    events: float
    requests: float
    cpu: CpuUse = CpuUse()

    @property
    def held(self) -> bool:
        spent = self.cpu
        full = any(share is not None and share >= FULL for share in (spent.client, spent.server))
        return not full and self.events >= FULL * self.target


class UsageSample(Struct, frozen=True):
    """What the processes have used up to an instant `at` (s)."""

    at: float
    client: Usage
    servers: list[Usage]


def cpu_use(looks: Sequence[UsageSample], begin: float, end: float) -> CpuUse:
    """What was spent between two instants, from looks around them."""
    client = _rates(looks, [look.client for look in looks], begin, end)
    count = min((len(look.servers) for look in looks), default=0)
    servers = [_rates(looks, [look.servers[place] for look in looks], begin, end) for place in range(count)]
    return CpuUse(*client, *max(servers, key=lambda rates: rates[0] or 0.0, default=(None, None)))


def _rates(
    looks: Sequence[UsageSample], used: Sequence[Usage], begin: float, end: float
) -> tuple[float | None, float | None]:
    at = [look.at for look in looks]
    return (
        _rate(at, [usage.cpu for usage in used], begin, end),
        _rate(at, [usage.core_wait for usage in used], begin, end),
    )


def _rate(at: Sequence[float], values: Sequence[float | None], begin: float, end: float) -> float | None:
    told = [(instant, value) for instant, value in zip(at, values, strict=True) if value is not None]
    if len(told) < 2:
        return None
    times, used = np.array(told).T
    within = min(end, times[-1]) - max(begin, times[0])
    first, last = np.interp([begin, end], times, used)
    return float((last - first) / within) if within > 0 else None


def memory_growth(looks: Sequence[UsageSample], begin: float) -> float:
    """Bytes that the client has got since `begin`; 0 where that is not told."""
    before = [look.client.memory for look in looks if look.client.memory is not None and look.at <= begin]
    most = max((look.client.memory for look in looks if look.client.memory is not None), default=0)
    return float(most - before[-1]) if before else 0.0


def limiting_side(spent: CpuUse) -> str:
    """Which of LIMITS kept a step from more."""
    if (spent.client or 0.0) >= FULL:
        return "client"
    if (spent.server or 0.0) >= FULL:
        return "server"
    sums = [
        (spent.client or 0.0) + (spent.client_waited or 0.0),
        (spent.server or 0.0) + (spent.server_waited or 0.0),
    ]
    return "others" if max(sums) >= FULL else "unknown"


def estimate_ceiling(easy: LoadStep) -> float:
    """Events a second at which the first core would be full, from CPU per event at an easy load. Where CPU is not told,
    as if half of one had been used."""
    used = max((share for share in (easy.cpu.client, easy.cpu.server) if share), default=0.5)
    return easy.events / max(used, 0.01)


def coarse_steps(most: float, each: float, streams: int) -> list[int]:
    """Numbers of streams around the estimate `most` (events/s), where a stream brings `each`; at most `streams`."""
    return _rising([part * most / each for part in STAIRS], streams)


def finer_steps(steps: Sequence[LoadStep], tried: Sequence[LoadStep], streams: int) -> list[int]:
    """The next numbers of streams: between the best of `steps` and the first of all `tried` that did not hold, or
    beyond the best."""
    best = best_held(steps)
    if best is None:
        low, high = 1.0, float(min(step.streams for step in tried))
        return _rising(list(np.linspace(low, high, FINE + 2)[1:-1]), streams)
    failed = _beyond(best, tried)
    if failed is None:
        return _rising([best.streams * part for part in (1.1, 1.3, 1.6, 2.0, 2.5)], streams)
    return _rising(list(np.linspace(best.streams, failed.streams, FINE)), streams)


def _rising(wanted: Sequence[float], most: int) -> list[int]:
    """Whole numbers, each once."""
    return sorted({min(most, max(LEAST_STREAMS, round(number))) for number in wanted})


def best_held(steps: Sequence[LoadStep]) -> LoadStep | None:
    """The most events a second that were held."""
    return max((step for step in steps if step.held), key=lambda step: step.events, default=None)


def event_ceiling(steps: Sequence[LoadStep], tried: Sequence[LoadStep]) -> Bound | None:
    """The ceiling for events: the best of `steps`; a lower bound unless it was the client that gave way first in all
    that was `tried` beyond. None: nothing was held."""
    best = best_held(steps)
    if best is None:
        return None
    failed = _beyond(best, tried)
    why = limiting_side(failed.cpu) if failed else "not reached"
    return Bound(best.events, why, why != "client", best.cpu.client, best.cpu.server)


def _beyond(best: LoadStep, tried: Sequence[LoadStep]) -> LoadStep | None:
    """The first that did not hold."""
    failed = [step for step in tried if step.streams > best.streams and not step.held]
    return min(failed, key=lambda step: step.streams, default=None)


def request_ceiling(rate: float, spent: CpuUse) -> Bound:
    """The ceiling for requests, from one step that sends as fast as answers come."""
    why = limiting_side(spent)
    return Bound(rate, why, why != "client", spent.client, spent.server)


def error_levels(most: float, each: float) -> list[tuple[float, int]]:
    """Shares of the ceiling, and the numbers of streams that come to them."""
    return [(share, max(1, round(share * most / each))) for share in LEVELS]
