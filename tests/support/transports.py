"""Transports, event loops and peers that the transport tests share."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, NamedTuple

import pytest

from loadstone.records import ArrivalClock, Failure
from loadstone.transport import Clock, Exchange, Options, Request, Target, Transport, TransportError
from loadstone.transport import kernel_timestamps as stamps
from loadstone.transport.aiohttp_client import Aiohttp
from loadstone.transport.wire import Wire
from support.scripted_server import (
    Loop,
    Peer,
    Script,
    Server,
    Taken,
    response,
    run,
    ticking,
)

try:
    import uvloop

    LOOPS: dict[str, Loop] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
except ImportError:
    LOOPS = {"asyncio": asyncio.new_event_loop}

TRANSPORTS: dict[str, type[Wire] | type[Aiohttp]] = {"wire": Wire, "aiohttp": Aiohttp}
if stamps.available():
    TRANSPORTS["stamped"] = Wire
POST = Request("POST", "/v1/chat/completions", (("Content-Type", "application/json"),), b'{"stream": true}')
# 5 MB: more than the socket buffers of both ends hold.
LARGE = bytes(range(256)) * 20_000


@asynccontextmanager
async def closing(transport: Transport) -> AsyncIterator[Transport]:
    try:
        yield transport
    finally:
        await transport.close()


class Stack(NamedTuple):
    """A transport on a kind of event loop."""

    name: str
    loop: str

    @property
    def arrivals(self) -> ArrivalClock:
        return "kernel" if self.name == "stamped" else "user"

    @property
    def clock(self) -> Clock:
        """The kernel knows nothing of a clock that counts its readings."""
        return time.monotonic_ns if self.name == "stamped" else ticking()

    def open(self, target: Target, options: Options) -> Transport:
        return TRANSPORTS[self.name](target, options)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        run(main, LOOPS[self.loop])

    @asynccontextmanager
    async def talking(
        self,
        script: Script,
        trust: ssl.SSLContext | None = None,
        patience: float = 5.0,
        clock: Clock | None = None,
        **where: Any,
    ) -> AsyncIterator[tuple[Server, Transport]]:
        """A server with this script, and the transport for it; the server insists on all connections being closed.

        `host` and `secure` say where the client takes the server to be; the rest is where it is.
        """
        reached = {name: where.pop(name) for name in ("host", "secure") if name in where}
        async with Server(script, clock or self.clock, **where) as server:
            options = Options(server.clock, patience, trust, self.arrivals)
            async with closing(self.open(server.target(**reached), options)) as transport:
                yield server, transport


def driven(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test on its stack's kind of loop."""

    @wraps(test)
    def on_the_loop(*values: Any, stack: Stack, **names: Any) -> None:
        stack.run(test(*values, stack=stack, **names))

    return on_the_loop


async def refused(transport: Transport, request: Request | None = None) -> tuple[Failure, Exchange, Taken]:
    """An exchange that fails, and how far it got."""
    taken = Taken()
    exchange = Exchange(taken)
    with pytest.raises(TransportError) as caught:
        await transport.exchange(request or Request("GET", "/"), exchange)
    assert exchange.end is None
    return caught.value.failure, exchange, taken


async def silent(peer: Peer) -> None:
    """Say nothing until the client gives up."""
    await peer.gone()


def recording(heard: list[Any]) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            heard.append(await peer.request())
            await peer.send(response(b"ok", "200 OK", b"Set-Cookie: session=1"))

    return script


BEFORE = {
    "close": "the server closed the connection before it answered",
    "reset": "connection reset by the server before it answered",
}
REQUESTS = {"get": Request("GET", "/"), "post": POST, "large": Request("POST", "/", (), LARGE)}


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Certificates(NamedTuple):
    """A server for 127.0.0.1 and localhost, one for another name, a client that trusts both, one that trusts all."""

    server: ssl.SSLContext
    other: ssl.SSLContext
    trusting: ssl.SSLContext
    insecure: ssl.SSLContext


async def relay(peer: Peer, port: int) -> None:
    """Pass bytes both ways between a client and a local port, until either is done."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(2**16):
            sink.write(data)
            await sink.drain()

    pumps = [asyncio.create_task(pump(peer.reader, writer)), asyncio.create_task(pump(reader, peer.writer))]
    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    for task in pumps:
        task.cancel()
    await asyncio.wait(pumps)
    writer.transport.abort()
