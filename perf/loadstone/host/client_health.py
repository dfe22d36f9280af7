"""Measure the client itself during a run: lag of the event loop, CPU time, time waiting for a core, sleep.

The sampler rings at instants fixed beforehand, does next to nothing and keeps integers. `checks/` judges the figures.
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

# ns between two samples: no simple fraction of the round intervals at which servers send tokens and timers ring.
INTERVAL = 13_763_819
# Percentiles by name.
TAIL = {"p50": 50, "p99": 99, "p999": 99.9, "max": 100}
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_ASLEEP = getattr(time, "CLOCK_BOOTTIME", None)


def sample_lags(due: int, now: int) -> Iterator[int]:
    """Yield how late (ns) each sample is that was due by `now`, the first of them at `due`.

    Events during a block of the loop waited for its end, so a block of five intervals is five samples and not one
    (G. Tene, coordinated omission).
    """
    yield from range(now - due, -1, -INTERVAL)


class ClientHealth:
    """Measures the thread that starts it, from `start` to `stop`."""

    def __init__(self) -> None:
        self._lags: array[int] = array("q")
        self._alarm: Alarm | None = None

    def start(self) -> None:
        """Start sampling, in the running event loop."""
        self._started_at = time.monotonic()
        self._cpu = time.process_time()
        self._run_queue = _run_queue()
        self._reported_lags = 0
        self._reported_wait = self._run_queue[0]
        self._slept = _asleep()
        self._due = time.monotonic_ns() + INTERVAL
        self._alarm = make_alarm(asyncio.get_running_loop(), self._sample)
        self._alarm.set(self._due)

    def new_samples(self) -> tuple[list[int], float | None]:
        """Return the lags (ns) sampled since the last call, and the seconds of waiting for a core meanwhile."""
        lags = self._lags[self._reported_lags :].tolist()
        self._reported_lags = len(self._lags)
        before = self._reported_wait
        self._reported_wait = _run_queue()[0]
        return lags, _added(before, self._reported_wait)

    def stop(self, send_lags: Iterable[int] = ()) -> dict[str, float | None]:
        """Stop sampling. Return the figures, in seconds and fractions; None where this system has no such figure.

        send_lags: ns.
        """
        assert self._alarm is not None
        self._sample()
        self._alarm.close()
        elapsed = max(time.monotonic() - self._started_at, 1e-9)
        cpu = time.process_time() - self._cpu
        wait, slices = map(_added, self._run_queue, _run_queue())
        return {
            "cpu_share": cpu / elapsed,
            "cpu_seconds": cpu,
            "run_queue_share": None if wait is None else wait / elapsed,
            "core_wait_mean": wait / slices if wait is not None and slices else None,
            "asleep": _added(self._slept, _asleep()),
            **_tail("loop_lag", self._lags),
            **_tail("send_lag", send_lags),
        }

    def _sample(self) -> None:
        """Sample the lag. Stamps before all else, as a connection does when it is read."""
        now = time.monotonic_ns()
        if now >= self._due:
            lags = array("q", sample_lags(self._due, now))
            self._lags.extend(lags)
            self._due += len(lags) * INTERVAL
        assert self._alarm is not None
        self._alarm.set(self._due)


def worst_client(clients: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the worst of each figure of several clients, but the sum of their CPU seconds."""
    merged: dict[str, float | None] = {}
    for name in clients[0] if clients else ():
        known = [value for client in clients if (value := client.get(name)) is not None]
        merged[name] = None if not known else sum(known) if name == "cpu_seconds" else max(known)
    return merged


def _tail(name: str, times: Iterable[int]) -> dict[str, float | None]:
    """Return the mean and high percentiles, in seconds, of times in ns."""
    values = np.fromiter(times, dtype=float) / NS_PER_S
    if not len(values):
        return {f"{name}_{what}": None for what in ("mean", *TAIL)}
    points = np.percentile(values, list(TAIL.values()))
    return {
        f"{name}_mean": float(values.mean()),
        **{f"{name}_{what}": float(point) for what, point in zip(TAIL, points, strict=True)},
    }


def _run_queue() -> tuple[float | None, float | None]:
    """Return the seconds in which this thread waited for a core, and how often it got one (schedstat, Linux)."""
    try:
        _, waited, slices = _SCHEDSTAT.read_bytes().split()
        return int(waited) / NS_PER_S, float(slices)
    except (OSError, ValueError):
        return None, None


def _asleep() -> float | None:
    """Return the seconds of sleep since the machine started: the monotonic clock stands still then (Linux)."""
    return None if _ASLEEP is None else time.clock_gettime(_ASLEEP) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _added(before: float | None, now: float | None) -> float | None:
    """Return what was added to a counter, where the system has it."""
    return None if before is None or now is None else max(0.0, now - before)


def open_files() -> int | None:
    """Return how many files a process may have open; None: no limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def allowed_cores() -> list[int] | None:
    """Return the cores that this process may use; None: unknown here."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
