"""When a run had better end early: too many requests fail. Over-saturation has a file of its own, saturation.py.

Pure: told how requests ended, says why to stop.
"""

from __future__ import annotations

from collections import deque

RECENT, LEAST = 50, 20
"""Requests by which the error rate is judged: so many of the last, once there are so many at all."""


class ErrorRate:
    """More than `limit` of the last requests failed. Those cut off or taken back by the client do not count."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._failed: deque[bool] = deque(maxlen=RECENT)

    def add(self, bad: bool) -> str | None:
        """One more request has ended; why to stop, or None."""
        self._failed.append(bad)
        failed, seen = sum(self._failed), len(self._failed)
        if seen < LEAST or failed <= self._limit * seen:
            return None
        return f"{failed} of the last {seen} requests failed, above --stop-error-rate {self._limit:g}"
