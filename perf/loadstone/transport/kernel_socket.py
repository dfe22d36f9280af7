"""A TCP connection whose reads are stamped by the kernel: a transport as asyncio's, which reads its socket by itself.

asyncio's and uvloop's own transports drop what `recvmsg` tells besides the data. Only what `connection.py` needs of
a transport is here; what a stamp is worth is decided in `stamps.py`.
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
LARGEST_READ = 2**18


class Receiver(Protocol):
    """Whom the data is for: asyncio's protocol, with the stamp of each read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def data_received(self, data: memoryview, at: int) -> None: ...

    def mark_unstamped(self) -> None:
        """What follows was stamped by the run's clock, as the kernel gave no stamp."""

    def connection_lost(self, exc: Exception | None) -> None: ...


IN, OUT = (select.EPOLLIN, select.EPOLLOUT) if sys.platform == "linux" else (1, 4)


class SocketWatcher:
    """Calls pipes whose sockets are ready, by an epoll of its own, of which the loop sees one descriptor.

    uvloop's `add_reader` will not do: of sockets reset while data waited, some never were called (test_faults.py).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._pipes: dict[int, KernelSocketTransport] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def add(self, fd: int, pipe: KernelSocketTransport) -> None:
        """Call its `on_readable`, also for errors, until it is removed."""
        self._epoll.register(fd, IN)
        self._pipes[fd] = pipe

    def set_writing(self, fd: int, enabled: bool) -> None:
        """Whether to call its `on_writable` too."""
        self._epoll.modify(fd, IN | OUT if enabled else IN)

    def remove(self, fd: int) -> None:
        """Before the socket is closed."""
        if self._pipes.pop(fd, None) is not None and not self._epoll.closed:
            self._epoll.unregister(fd)

    def close(self) -> None:
        """Call nobody any more."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        pipes = self._pipes
        for fd, events in self._epoll.poll(0):
            pipe = pipes.get(fd)  # one called before may have closed it
            if pipe is not None and events != OUT:
                pipe.on_readable()  # first: sending to a server that has gone would fail and lose its answer
            if pipe is not None and events & OUT:
                pipe.on_writable()


class KernelTimestamping:
    """What all connections of a run share: the clocks, and the buffer that one read after the other fills."""

    def __init__(self, clock: Clock) -> None:
        self._keeper = keep_timestamping()
        self._watch: SocketWatcher | None = None
        self.clock = clock
        self.converter = ClockConverter(clock)
        self.buffer = memoryview(bytearray(LARGEST_READ))

    async def connect(self, address: Address, receiver: Receiver) -> None:
        """Connect. Raises OSError."""
        loop, sock = asyncio.get_running_loop(), socket.socket(address[0], socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            enable_timestamps(sock)
            await loop.sock_connect(sock, address[1])
            self._watch = self._watch or SocketWatcher(loop)
            pipe = KernelSocketTransport(loop, sock, receiver, self, self._watch)
        except BaseException:
            sock.close()
            raise
        receiver.connection_made(pipe)

    def close(self) -> None:
        """Let the kernel stop stamping, and read no more."""
        self._keeper.close()
        if self._watch is not None:
            self._watch.close()
            self._watch = None


class KernelSocketTransport(asyncio.Transport):
    """The socket's owner. `floor`: nothing that is read from now on can have arrived before; whoever sends sets it."""

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
        """One read a round: it takes all that is there."""
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
        """Send as the socket takes it."""
        if not self._closing:
            self._unsent += data
            self._watch.set_writing(self._sock.fileno(), True)

    def on_writable(self) -> None:
        """Send what the socket takes by now."""
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
        """Bytes not yet sent."""
        return len(self._unsent)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Its socket, under that name."""
        return self._sock if name == "socket" else default

    def is_closing(self) -> bool:
        """Whether it is, or is about to be, closed."""
        return self._closing

    def abort(self) -> None:
        """Close at once; `connection_lost` is called in the loop's next round, as with asyncio's transports."""
        self._end(None)

    def _end(self, exc: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._watch.remove(self._sock.fileno())
            self._loop.call_soon(self._ended, exc)

    def _ended(self, exc: Exception | None) -> None:
        self._receiver.connection_lost(exc)
        self._sock.close()
