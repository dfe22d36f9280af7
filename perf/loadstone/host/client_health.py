"""How the client itself fares during a run: lag of the event loop, CPU time, time spent waiting for a core, sleep.

The sampler rings at instants fixed beforehand, does next to nothing, and keeps integers; check.py judges what it found.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from loadstone.host.timer import Alarm, make_alarm
from loadstone.units import NS_PER_S

# ns between two samples: no simple part of the round intervals at which servers send tokens and timers ring.
INTERVAL = 13_763_819
TAIL = {"p50": 50, "p99": 99, "p999": 99.9, "max": 100}
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_ASLEEP = getattr(time, "CLOCK_BOOTTIME", None)


def sample_lags(due: int, now: int) -> Iterator[int]:
    """How late each sample is that was due by `now`, the first of them at `due`: what came during a block of the loop
    waited for its end, so a block of five intervals is five samples and not one (G. Tene, coordinated omission)."""
    yield from range(now - due, -1, -INTERVAL)


class ClientHealth:
    """Watches the thread that starts it, from `start` to `stop`."""

    def __init__(self) -> None:
        self._lags: array[int] = array("q")
        self._alarm: Alarm | None = None

    def start(self) -> None:
        self._began, self._cpu, self._waited = time.monotonic(), time.process_time(), _run_queue()
        self._told, self._heard = 0, self._waited
        self._slept = _asleep()
        self._due = time.monotonic_ns() + INTERVAL
        self._alarm = make_alarm(asyncio.get_running_loop(), self._ring)
        self._alarm.set(self._due)

    def new_samples(self) -> tuple[list[int], float | None]:
        """Lags sampled since it was last asked, ns, and the seconds that this thread waited for a core meanwhile."""
        lags, self._told = self._lags[self._told :].tolist(), len(self._lags)
        before, self._heard = self._heard, _run_queue()
        return lags, _passed(before[:1], self._heard[:1])[0]

    def stop(self, send_lags: Iterable[int] = ()) -> dict[str, float | None]:
        """Figures of the client in seconds and shares; None where this system cannot tell. `send_lags` are ns."""
        assert self._alarm is not None
        self._ring()
        self._alarm.close()
        elapsed = max(time.monotonic() - self._began, 1e-9)
        waited, slices = _passed(self._waited, _run_queue())
        return {
            "cpu_share": (time.process_time() - self._cpu) / elapsed,
            "cpu_seconds": time.process_time() - self._cpu,
            "run_queue_share": None if waited is None else waited / elapsed,
            "core_wait_mean": waited / slices if waited is not None and slices else None,
            "asleep": _passed((self._slept,), (_asleep(),))[0],
            **_tail("loop_lag", self._lags),
            **_tail("send_lag", send_lags),
        }

    def _ring(self) -> None:
        """Stamps before all else, as a connection does when it is read."""
        now = time.monotonic_ns()
        if now >= self._due:
            found = array("q", sample_lags(self._due, now))
            self._lags.extend(found)
            self._due += len(found) * INTERVAL
        assert self._alarm is not None
        self._alarm.set(self._due)


def worst_client(clients: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """One client out of several: the worst figure of each kind, but CPU seconds together."""
    merged: dict[str, float | None] = {}
    for name in clients[0] if clients else ():
        known = [value for client in clients if (value := client.get(name)) is not None]
        merged[name] = None if not known else sum(known) if name == "cpu_seconds" else max(known)
    return merged


def _tail(name: str, times: Iterable[int]) -> dict[str, float | None]:
    """Mean and high percentiles in seconds, of ns; time that a timer rang too early counts as none."""
    values = np.fromiter(times, dtype=float) / NS_PER_S
    if not len(values):
        return {f"{name}_{what}": None for what in ("mean", *TAIL)}
    points = np.percentile(values, list(TAIL.values()))
    return {
        f"{name}_mean": float(values.mean()),
        **{f"{name}_{what}": float(point) for what, point in zip(TAIL, points, strict=True)},
    }


def _run_queue() -> tuple[float | None, float | None]:
    """Seconds this thread was ready but had no core, and how often it has been given one (schedstat, Linux)."""
    try:
        _, waited, slices = _SCHEDSTAT.read_bytes().split()
        return int(waited) / NS_PER_S, float(slices)
    except (OSError, ValueError):
        return None, None


def _asleep() -> float | None:
    """Seconds that the machine has been suspended since it started: the monotonic clock stands still then (Linux)."""
    return None if _ASLEEP is None else time.clock_gettime(_ASLEEP) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _passed(before: Sequence[float | None], now: Sequence[float | None]) -> list[float | None]:
    """What has been added to counters, where the system has them."""
    return [
        None if then is None or later is None else max(0.0, later - then)
        for then, later in zip(before, now, strict=True)
    ]


def open_files() -> int | None:
    """How many a process may have open, where there is a limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def allowed_cores() -> list[int] | None:
    """Cores this process may use, where the system tells."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
