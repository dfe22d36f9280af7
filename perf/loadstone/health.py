"""How the client itself fares during a run: lag of the event loop, CPU time, time spent waiting for a core.

The sampler wakes often, does next to nothing, and keeps integers; check.py judges what it found.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

INTERVAL = 0.02
_SCHEDSTAT = Path("/proc/thread-self/schedstat")


class Health:
    """Watches the thread that starts it, from `start` to `stop`."""

    def __init__(self) -> None:
        self._lags: array[float] = array("d")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._began, self._cpu, self._waited = time.monotonic(), time.process_time(), _run_queue()
        self._task = asyncio.get_running_loop().create_task(self._sample())

    def stop(self, send_lags: Iterable[int] = ()) -> dict[str, float | None]:
        """Figures of the client in seconds and shares; None where this system cannot tell. `send_lags` are ns."""
        assert self._task is not None
        self._task.cancel()
        elapsed = max(time.monotonic() - self._began, 1e-9)
        waited = _run_queue()
        known = waited is not None and self._waited is not None
        return {
            "cpu_share": (time.process_time() - self._cpu) / elapsed,
            "cpu_seconds": time.process_time() - self._cpu,
            "run_queue_share": (waited - self._waited) / elapsed if known else None,  # type: ignore[operator]
            **_tail("loop_lag", np.array(self._lags)),
            **_tail("send_lag", np.array(list(send_lags), dtype=float) / 1e9),
        }

    async def _sample(self) -> None:
        while True:
            due = time.monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self._lags.append(max(0.0, time.monotonic() - due))


def worst(clients: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """One client out of several: the worst figure of each kind, but CPU seconds together."""
    merged: dict[str, float | None] = {}
    for name in clients[0] if clients else ():
        known = [value for client in clients if (value := client.get(name)) is not None]
        merged[name] = None if not known else sum(known) if name == "cpu_seconds" else max(known)
    return merged


def _tail(name: str, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> dict[str, float | None]:
    if not len(values):
        return {f"{name}_p50": None, f"{name}_p99": None, f"{name}_max": None}
    return {
        f"{name}_p50": float(np.percentile(values, 50)),
        f"{name}_p99": float(np.percentile(values, 99)),
        f"{name}_max": float(values.max()),
    }


def _run_queue() -> float | None:
    """Seconds this thread was ready but had no core (second figure of schedstat, Linux)."""
    try:
        return int(_SCHEDSTAT.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return None


def cores() -> list[int] | None:
    """Cores this process may use, where the system tells."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
