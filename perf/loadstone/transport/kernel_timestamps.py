"""Arrival timestamps by the kernel: check that they are available, enable them, and convert them to the run's clock.

Linux stamps a packet by the wall clock when it takes it from the network, and reports the timestamp with a read if
SO_TIMESTAMPNS is set (socket(7)). `kernel_socket.py` reads the sockets. docs/clocks.md says how good they are.
"""

from __future__ import annotations

import functools
import socket
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from loadstone.transport import Clock
from loadstone.units import NS_PER_S

# As in asm-generic/socket.h. On the few architectures with another number, `available` returns False.
SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
# Bytes of ancillary data for a read with one timestamp.
ANCILLARY_SIZE = socket.CMSG_SPACE(_TIMESPEC.size) if sys.platform != "win32" else 0
# Nanoseconds after which the offset of the clocks is measured again.
REFRESH_INTERVAL = NS_PER_S // 10
# Readings of the clocks in one measurement; the tightest counts.
READINGS = 3

Ancillary = Sequence[tuple[int, int, bytes]]


class ClockConverter:
    """Converts timestamps of the wall clock to the run's clock.

    offset: ns, wall clock minus run's clock. It is measured again when it is older than `REFRESH_INTERVAL`, and changed
        only if the measurement contradicts it. So it follows a drift of d to within d * REFRESH_INTERVAL plus half of
        the measurement's uncertainty, without jitter.
    """

    __slots__ = ("_clock", "_due", "_wall", "offset")

    def __init__(self, clock: Clock, wall: Clock = time.time_ns) -> None:
        self._clock = clock
        self._wall = wall
        self.offset: int
        self._due: int
        self._refresh(first=True)

    def to_run_clock(self, stamp: int, floor: int, now: int) -> int | None:
        """Return when the bytes of a read arrived, in ns of the run's clock; None if the timestamp cannot be true.

        stamp: the kernel's timestamp, ns of the wall clock.
        floor: ns of the run's clock before which they cannot have arrived.
        now: ns of the run's clock, when the read began; they arrived before.

        A timestamp outside these bounds shows that the wall clock was set meanwhile.
        """
        if now >= self._due:
            self._refresh()
        at = stamp - self.offset
        if floor <= at <= now:
            return at
        self._refresh()
        at = stamp - self.offset
        return at if floor <= at <= self._clock() else None

    def _refresh(self, first: bool = False) -> None:
        """Measure the bounds of the offset, and change it if it lies outside. `first`: there is none yet."""
        # The tightest of a few readings of one clock between two of the other.
        readings = []
        for _ in range(READINGS):
            before, wall, after = self._clock(), self._wall(), self._clock()
            readings.append((after - before, wall - after, wall - before))
        _, least, most = min(readings)
        if first or not least <= self.offset <= most:
            self.offset = (least + most) // 2
        self._due = self._clock() + REFRESH_INTERVAL


def read_timestamp(control: Ancillary) -> int | None:
    """Return the kernel's timestamp of a read, ns of the wall clock; None if it has none."""
    if not control:
        return None
    seconds, nanoseconds = _TIMESPEC.unpack_from(control[0][2])  # no other ancillary data is enabled
    return int(seconds * NS_PER_S + nanoseconds)


def enable_timestamps(sock: socket.socket) -> None:
    """Set the option that makes reads of a socket report timestamps. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


@functools.cache
def available() -> bool:
    """Return True if this machine's kernel stamps what it receives; checked with a datagram to itself."""
    if sys.platform != "linux":
        return False
    with suppress(OSError, struct.error), socket.socket(type=socket.SOCK_DGRAM) as probe:
        enable_timestamps(probe)
        probe.settimeout(1.0)
        probe.bind(("127.0.0.1", 0))
        probe.connect(probe.getsockname())
        began = time.time_ns()
        probe.send(b"?")
        stamp = read_timestamp(probe.recvmsg(1, ANCILLARY_SIZE)[1])
        return stamp is not None and began <= stamp <= time.time_ns()
    return False
