"""TCP connections whose reads the kernel stamps: an asyncio transport that reads its socket itself.

The transports of asyncio and uvloop drop the ancillary data of `recvmsg`. This one has only the methods that
`connection.py` needs; `kernel_timestamps.py` converts and checks the timestamps.
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from typing import Any, Protocol

from loadstone.transport import Clock
from loadstone.transport.kernel_timestamps import (
    ANCILLARY_SIZE,
    ClockConverter,
    enable_timestamps,
    keep_timestamping,
    read_timestamp,
)

# Family and address, as `getaddrinfo` gives them.
Address = tuple[int, tuple[Any, ...]]
# Bytes of one read at most.
MAX_READ = 2**18


class Receiver(Protocol):
    """Receives the data: asyncio's protocol, with the time of each read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def data_received(self, data: memoryview, at: int) -> None: ...

    def mark_unstamped(self) -> None:
        """Note that the next read is stamped by the run's clock, as the kernel gave no timestamp."""

    def connection_lost(self, exc: Exception | None) -> None: ...


IN, OUT = (select.EPOLLIN, select.EPOLLOUT) if sys.platform == "linux" else (1, 4)


class SocketWatcher:
    """Calls transports whose sockets are ready. It has an epoll of its own, of which the loop watches one descriptor.

    uvloop's `add_reader` does not work: some sockets that were reset while data waited were never reported.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._transports: dict[int, KernelSocketTransport] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, fd: int, transport: KernelSocketTransport) -> None:
        """Call `on_readable` of a transport, also for errors, until it is removed."""
        self._epoll.register(fd, IN)
        self._transports[fd] = transport

    def set_writing(self, fd: int, enabled: bool) -> None:
        """Set whether to call `on_writable` too."""
        self._epoll.modify(fd, IN | OUT if enabled else IN)

    def remove(self, fd: int) -> None:
        """Remove a socket, before it is closed."""
        if self._transports.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Stop watching."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        transports = self._transports
        for fd, events in self._epoll.poll(0):
            transport = transports.get(fd)  # one called before may have closed it
            if transport is not None and events != OUT:
                transport.on_readable()  # first: sending to a server that has gone would fail and lose its answer
            if transport is not None and events & OUT:
                transport.on_writable()


class KernelTimestamping:
    """What all connections of a run share: the clocks, and the buffer for reads."""

    def __init__(self, clock: Clock) -> None:
        self._keeper = keep_timestamping()
        self._watch: SocketWatcher | None = None
        self.clock = clock
        self.converter = ClockConverter(clock)
        self.buffer = memoryview(bytearray(MAX_READ))

    async def connect(self, address: Address, receiver: Receiver) -> None:
        """Connect to an address. Raises OSError."""
        loop, sock = asyncio.get_running_loop(), socket.socket(address[0], socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            enable_timestamps(sock)
            await loop.sock_connect(sock, address[1])
            self._watch = self._watch or SocketWatcher(loop)
            transport = KernelSocketTransport(loop, sock, receiver, self, self._watch)
        except BaseException:
            sock.close()
            raise
        receiver.connection_made(transport)

    def close(self) -> None:
        """Stop the kernel's timestamps and all reads."""
        self._keeper.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None


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
        watch: SocketWatcher,
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
        self._watch = watch
        watch.add(sock.fileno(), self)

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
            self._end(exc)
            return
        if not size:
            self._end(None)
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
            self._watch.set_writing(self._sock.fileno(), True)

    def on_writable(self) -> None:
        """Send what the socket accepts now."""
        if self._closing:
            return
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._end(exc)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._watch.set_writing(self._sock.fileno(), False)

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes not yet sent."""
        return len(self._unsent)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the socket for the name `socket`."""
        return self._sock if name == "socket" else default

    def is_closing(self) -> bool:
        """Return True if it is closed or about to be."""
        return self._closing

    def abort(self) -> None:
        """Close at once; the loop calls `connection_lost` in its next iteration, as with asyncio's transports."""
        self._end(None)

    def _end(self, exc: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._watch.remove(self._sock.fileno())
            self._loop.call_soon(self._ended, exc)

    def _ended(self, exc: Exception | None) -> None:
        self._receiver.connection_lost(exc)
        self._sock.close()
