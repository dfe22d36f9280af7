"""An alarm at an absolute time of the monotonic clock: a timerfd on Linux, else a timer of the event loop.

The timers of uvloop and epoll count whole milliseconds. They would lump the events of a busy server together and send
the requests of an open loop up to a millisecond late. `Timer` waits for an alarm.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable

from loadstone.units import NS_PER_S

# The clock of every timestamp of a run: monotonic, ns.
clock = time.monotonic_ns
# Constants of timerfd_create(2) and timerfd_settime(2).
_CLOCK_MONOTONIC = 1
_ABSTIME = 1


class TimerAlarm:
    """An alarm by the event loop's timer; may ring up to a millisecond early or late.

    An alarm rings once: it calls `ring` at the instant that was set last, or at once if that is past.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at: int | None) -> None:
        """Set the alarm to `at`, ns of the monotonic clock, instead of an earlier setting. None: no alarm."""
        self.close()
        if at is not None:
            self._handle = self._loop.call_later(max(0, at - time.monotonic_ns()) / NS_PER_S, self._ring)

    def close(self) -> None:
        """Cancel the timer."""
        if self._handle:
            self._handle.cancel()
            self._handle = None


class FdAlarm:
    """An alarm by timerfd_create(2). It is never read: setting it again also clears it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._settime = libc.timerfd_settime
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = (ctypes.c_long * 4)()
        self._loop = loop
        loop.add_reader(self._fd, ring)

    def set(self, at: int | None) -> None:
        """Set the alarm to `at`, ns of the monotonic clock, instead of an earlier setting. None: no alarm."""
        self._spec[2], self._spec[3] = divmod(at or 0, NS_PER_S)
        self._settime(self._fd, _ABSTIME, self._spec, None)

    def close(self) -> None:
        """Close the file descriptor."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


Alarm = FdAlarm | TimerAlarm


def make_alarm(loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> Alarm:
    """Create the most exact alarm that this machine has; it calls `ring`."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_long) != 8:
        return TimerAlarm(loop, ring)
    try:
        return FdAlarm(loop, ring)
    except (OSError, AttributeError):
        return TimerAlarm(loop, ring)


class Timer:
    """Waits for instants of the monotonic clock, one at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung: asyncio.Future[None] | None = None
        self._alarm = make_alarm(loop, self._ring)

    async def until(self, at: int) -> None:
        """Wait until `at` (ns); where the system's timers are coarse, up to a millisecond shorter or longer."""
        self._rung = self._loop.create_future()
        self._alarm.set(at)
        try:
            await self._rung
        finally:
            self._alarm.set(None)

    def close(self) -> None:
        """Close the alarm."""
        self._alarm.close()

    def _ring(self) -> None:
        self._alarm.set(None)
        if self._rung is not None and not self._rung.done():
            self._rung.set_result(None)
