"""Arrival times by the kernel: whether they can be had, how they are asked for, and what they are in the run's clock.

Linux stamps a packet as it takes it from the network, by the wall clock, and tells with a read of SO_TIMESTAMPNS
(socket(7)). Reading the sockets is left to `pipe.py`. docs/clocks.md says what the stamps are worth.
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

# As in asm-generic/socket.h. The few architectures where it is another number fail `available`.
SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
# Bytes of ancillary data that a read of one stamp needs.
ANCILLARY_SIZE = socket.CMSG_SPACE(_TIMESPEC.size) if sys.platform != "win32" else 0
REFRESH_INTERVAL = NS_PER_S // 10
READINGS = 3

Ancillary = Sequence[tuple[int, int, bytes]]


class ClockConverter:
    """Stamps of the wall clock, in ns of the run's clock.

    offset: ns, wall clock minus run's clock. It is measured again when it is older than `REFRESH_INTERVAL`, and changed
        only if the measurement contradicts it. So it follows a drift of d to within d * REFRESH_INTERVAL plus half of
        the measurement's uncertainty, without jitter.
    """

    __slots__ = ("_clock", "_due", "_wall", "offset")

    def __init__(self, clock: Clock, wall: Clock = time.time_ns) -> None:
        self._clock = clock
        self._wall = wall
        least, most = self._bounds()
        self.offset = (least + most) // 2
        self._due = clock() + REFRESH_INTERVAL

    def to_run_clock(self, stamp: int, floor: int, now: int) -> int | None:
        """When the bytes of a read that began at `now` arrived; None for a stamp that cannot be true.

        They arrived neither before `floor`, nor after they were read. A stamp that says otherwise tells of a wall clock
        that was set meanwhile.
        """
        if now >= self._due:
            self._refresh()
        at = stamp - self.offset
        if floor <= at <= now:
            return at
        self._refresh()
        at = stamp - self.offset
        return at if floor <= at <= self._clock() else None

    def _refresh(self) -> None:
        least, most = self._bounds()
        if not least <= self.offset <= most:
            self.offset = (least + most) // 2
        self._due = self._clock() + REFRESH_INTERVAL

    def _bounds(self) -> tuple[int, int]:
        """The offset is between these: the tightest of a few readings of one clock between two of the other."""
        found = []
        for _ in range(READINGS):
            before, wall, after = self._clock(), self._wall(), self._clock()
            found.append((after - before, wall - after, wall - before))
        _, least, most = min(found)
        return least, most


def read_timestamp(control: Ancillary) -> int | None:
    """The kernel's stamp of a read, ns of the wall clock; None where it gave none."""
    if not control:
        return None
    seconds, nanoseconds = _TIMESPEC.unpack_from(control[0][2])  # nothing else was asked for
    return int(seconds * NS_PER_S + nanoseconds)


def enable_timestamps(sock: socket.socket) -> None:
    """Have reads of this socket tell their stamps. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)


def keep_timestamping() -> socket.socket:
    """A socket that keeps the kernel stamping until it is closed. The kernel begins with the first socket that asks,
    some time later, and ends with the last: without this, a server that closes each connection is seldom stamped."""
    keeper = socket.socket(type=socket.SOCK_DGRAM)
    with suppress(OSError):  # then reads have no stamps, and the records say so
        enable_timestamps(keeper)
    return keeper


@functools.cache
def available() -> bool:
    """Whether this machine's kernel stamps what it receives: tried with a datagram to itself."""
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
