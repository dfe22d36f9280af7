"""TCP connections whose reads the kernel stamps: an asyncio transport that reads its socket itself.

The transports of asyncio and uvloop drop the ancillary data of `recvmsg`. This one has only the methods that
`connection.py` needs; `kernel_timestamps.py` converts and checks the timestamps.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from loadstone.transport import Clock
from loadstone.transport.kernel_timestamps import (
    ANCILLARY_SIZE,
    ClockConverter,
    enable_timestamps,
    read_timestamp,
)

# Family and address, as `getaddrinfo` gives them.
Address = tuple[int, tuple[Any, ...]]
# Bytes of one read at most.
MAX_READ = 2**18

IN, OUT = (select.EPOLLIN, select.EPOLLOUT) if sys.platform == "linux" else (1, 4)


if TYPE_CHECKING:

    class Receiver(Protocol):
        """Receives the data: asyncio's protocol, with the time of each read."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

        def data_received(self, data: memoryview, at: int) -> None: ...

        def mark_unstamped(self) -> None:
            """Note that the next read is stamped by the run's clock, as the kernel gave no timestamp."""

        def connection_lost(self, exc: Exception | None) -> None: ...


class KernelTimestamping:
    """What all connections of a run share: the clocks, the buffer for reads, and the epoll that reports ready sockets.

    The loop watches one descriptor, that of the epoll. uvloop's `add_reader` does not work for the sockets: some that
    were reset while data waited were never reported.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.converter = ClockConverter(clock)
        self.buffer = memoryview(bytearray(MAX_READ))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transports: dict[int, KernelSocketTransport] = {}
        # A socket that makes the kernel stamp packets until it is closed. The kernel begins some time after the first
        # socket enables timestamps, and ends with the last one. Without this socket, data from a server that closes
        # each connection would seldom be stamped.
        self._keeper = socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError):  # then reads have no timestamps, and the records say so
            enable_timestamps(self._keeper)

    async def connect(self, address: Address, receiver: Receiver) -> None:
        """Connect to an address, and read the socket whenever it is ready until it is closed. Raises OSError."""
        loop, sock = asyncio.get_running_loop(), socket.socket(address[0], socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            enable_timestamps(sock)
            await loop.sock_connect(sock, address[1])
            if self._loop is None:
                self._epoll = select.epoll()
                loop.add_reader(self._epoll.fileno(), self._ready)
                self._loop = loop
            transport = KernelSocketTransport(loop, sock, receiver, self)
            self._epoll.register(sock.fileno(), IN)
            self._transports[sock.fileno()] = transport
        except BaseException:
            sock.close()
            raise
        receiver.connection_made(transport)

    def set_writing(self, fd: int, enabled: bool) -> None:
        """Set whether to call `on_writable` of a transport too, and not only `on_readable`."""
        self._epoll.modify(fd, IN | OUT if enabled else IN)

    def remove(self, fd: int) -> None:
        """Stop watching a socket, before it is closed."""
        if self._transports.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Stop the kernel's timestamps and all reads."""
        self._keeper.close()
        if self._loop is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._loop = None
            self._transports.clear()

    def _ready(self) -> None:
        transports = self._transports
        for fd, events in self._epoll.poll(0):
            transport = transports.get(fd)  # one called before may have closed it
            if transport is not None and events != OUT:
                transport.on_readable()  # first: sending to a server that has gone would fail and lose its answer
            if transport is not None and events & OUT:
                transport.on_writable()


class KernelSocketTransport(asyncio.Transport):
    """A transport that owns its socket.

    floor: ns; data that is read from now on cannot have arrived earlier. The sender sets it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        receiver: Receiver,
        stamping: KernelTimestamping,
    ) -> None:
        self.floor = 0
        self._loop = loop
        self._sock = sock
        self._receiver = receiver
        self._clock = stamping.clock
        self._arrival = stamping.converter.to_run_clock
        self._buffer = stamping.buffer
        self._buffers = (stamping.buffer,)
        self._receive = sock.recvmsg_into
        self._unsent = bytearray()
        self._closing = False
        self._stamping = stamping

    def on_readable(self) -> None:
        """Read once; that takes all data that has arrived."""
        if self._closing:
            return
        now = self._clock()
        try:
            size, control, _, _ = self._receive(self._buffers, ANCILLARY_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self.abort(exc)
            return
        if not size:
            self.abort()
            return
        stamp = read_timestamp(control)
        at = None if stamp is None else self._arrival(stamp, self.floor, now)
        if at is None:
            self._receiver.mark_unstamped()
            at = now
        self.floor = at
        self._receiver.data_received(self._buffer[:size], at)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data and send it as the socket accepts it."""
        if not self._closing:
            self._unsent += data
            self._stamping.set_writing(self._sock.fileno(), True)

    def on_writable(self) -> None:
        """Send what the socket accepts now."""
        if self._closing:
            return
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self.abort(exc)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._stamping.set_writing(self._sock.fileno(), False)

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes not yet sent."""
        return len(self._unsent)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket for the name `socket`."""
        return self._sock if name == "socket" else default

    def is_closing(self) -> bool:
        """Return True if it is closed or about to be."""
        return self._closing

    def abort(self, exc: Exception | None = None) -> None:
        """Close at once, by an error if there was one.

        The loop calls `connection_lost` in its next iteration, as with asyncio's transports.
        """
        if not self._closing:
            self._closing = True
            self._stamping.remove(self._sock.fileno())
            self._loop.call_soon(self._receiver.connection_lost, exc)
            self._loop.call_soon(self._sock.close)
