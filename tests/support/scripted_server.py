"""A scripted HTTP server on this machine, for the transport tests: what it sends, and in which pieces, a script says.

It speaks bytes, so that it can be as wrong as a test needs, and stamps what it sees with the clock of the transport
under test, each reading of which is another number. Assertions are the tests' business.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any

from loadstone.transport import Clock, Exchange, Request, Target, Transport

# Seconds after which a test that hangs is given up.
PATIENCE = 5.0

Loop = Callable[[], asyncio.AbstractEventLoop]


def ticking() -> Clock:
    """A clock that counts how often it is read: whatever happens later has a larger number."""
    return itertools.count(1).__next__


def run(main: Coroutine[Any, Any, None], loop: Loop = asyncio.new_event_loop) -> None:
    """Run to the end on a loop of the given kind; complaints to the loop and left-over tasks are errors."""
    complaints: list[dict[str, Any]] = []
    gc.freeze()  # so that collecting what this run leaves behind does not go through all libraries
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(_guarded(main))
    gc.collect()
    gc.unfreeze()
    assert complaints == []


async def _guarded(main: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await main
    await turns(3)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def turns(count: int = 1) -> None:
    """Let the event loop go round: long enough for bytes sent on the loopback to be read."""
    for _ in range(count):
        await asyncio.sleep(0)


class Taken:
    """A sink: what one exchange handed over, each piece with its stamp."""

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, int]] = []
        self.size = 0
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []

    def __call__(self, data: bytes, at: int) -> None:
        self.pieces.append((data, at))
        self.size += len(data)
        for size, future in self._awaited:
            if self.size >= size and not future.done():
                future.set_result(None)

    async def reached(self, size: int) -> None:
        """Wait until so many bytes were handed over."""
        if self.size < size:
            self._awaited.append((size, asyncio.get_running_loop().create_future()))
            await self._awaited[-1][1]

    @property
    def body(self) -> bytes:
        return b"".join(data for data, _ in self.pieces)

    @property
    def stamps(self) -> list[int]:
        return [at for _, at in self.pieces]


async def ask(
    transport: Transport, request: Request | None = None, taken: Taken | None = None
) -> tuple[Exchange, Taken]:
    """One exchange, to its end."""
    taken = taken or Taken()
    exchange = Exchange(taken)
    await transport.exchange(request or Request("GET", "/"), exchange)
    return exchange, taken


class Received:
    """A request as it came in; `began` and `ended` are the stamps of its first and last read."""

    def __init__(self, head: bytes, body: bytes, began: int, ended: int) -> None:
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        self.body = body
        self.began = began
        self.ended = ended

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Peer:
    """The server's end of one connection; `number` counts from 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clock: Clock, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.clock = clock
        self.number = number

    async def request(self) -> Received:
        """The next request, whole. Raises asyncio.IncompleteReadError when the client closes instead."""
        first = await self.reader.readexactly(1)
        began = self.clock()
        head = (first + await self.reader.readuntil(b"\r\n\r\n"))[:-4]
        lengths = [line[16:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")]
        body = await self.reader.readexactly(int(lengths[0]) if lengths else 0)
        return Received(head, body, began, self.clock())

    async def send(self, *parts: bytes) -> None:
        """Each part in a write of its own, and as far as the kernel is willing in a read of its own."""
        for part in parts:
            if self.writer.transport.is_closing():  # uvloop refuses to write then, asyncio does not
                raise ConnectionResetError
            self.writer.write(part)
            await self.writer.drain()
            await turns(3)

    async def gone(self) -> None:
        """Wait until the client has closed its end."""
        try:
            while await self.reader.read(2**16):
                pass
        except ConnectionError:
            return

    def close(self) -> None:
        """FIN, after what was sent."""
        self.writer.close()

    def reset(self) -> None:
        """RST, at once."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Runs the script for each connection. On leaving, it waits until the client has closed every one of them."""

    def __init__(
        self,
        script: Script,
        clock: Clock | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        unix: Path | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._script = script
        self.clock = clock or ticking()
        self._address, self._unix, self._tls = address, unix, tls
        self._requested_port = port
        self.peers: list[Peer] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Server:
        if self._unix is not None:
            self._server = await asyncio.start_unix_server(self._accept, self._unix, backlog=512)
            return self
        self._server = await asyncio.start_server(
            self._accept, self._address, self._requested_port, ssl=self._tls, backlog=512
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for outcome in outcomes if kind is None else ():
            if outcome is not None:
                raise outcome

    @property
    def connections(self) -> int:
        return len(self.peers)

    def target(self, host: str | None = None, *, secure: bool | None = None) -> Target:
        """Where this server is; `host` and `secure` may be other than the truth."""
        secure = self._tls is not None if secure is None else secure
        if self._unix is not None:
            return Target(host or "localhost", 80, secure, str(self._unix))
        return Target(host or self._address, self.port, secure)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, self.clock, len(self.peers) + 1)
        self.peers.append(peer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            await self._script(peer)
            await peer.gone()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left, as every client does in the end
        finally:
            writer.transport.abort()


def answering(*parts: bytes) -> Script:
    """A script that gives every request the same answer and keeps the connection."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*parts)

    return script


def response(body: bytes = b"", status: str = "200 OK", *headers: bytes) -> bytes:
    """A response with a Content-Length."""
    head = [b"HTTP/1.1 " + status.encode(), *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*head, b"", body])


def chunk(data: bytes) -> bytes:
    """One HTTP chunk; the last one for no data."""
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
