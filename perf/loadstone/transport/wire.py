"""The default transport: one asyncio.Protocol a connection, httptools for the parsing, a LIFO pool without limit.

A read is stamped before anything looks at it, and a request goes from its stamp straight to the kernel. HTTP/1.1 only,
no proxies, no redirects, no compression; `over_aiohttp.py` is for those who need proxies.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Callable
from typing import cast

import httptools

from loadstone.records import Failure
from loadstone.transport import Exchange, Headers, Options, Request, Target, TransportError
from loadstone.transport.http import AGENT, connect_failure, connect_timeout, host_header, lost

CLOSING = 1.0
"""Seconds to wait for closed connections: uvloop does not tell of one whose opening was cancelled as it succeeded."""


class Wire:
    """Plain HTTP/1.1 over TCP, TLS or a unix socket."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        self._tls = (options.tls or ssl.create_default_context()) if target.secure else None
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._heads: dict[tuple[str, str, Headers], bytes] = {}
        self._addresses: asyncio.Task[list[str]] | None = None

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Send, and return when the response is complete. Raises TransportError."""
        payload = self._payload(request)
        connection = self._pooled()
        if connection is not None:
            exchange.connect = 0
            if await connection.carry(payload, exchange):
                return
            exchange.retried = True
        connection = await self._connect(exchange)
        if not await connection.carry(payload, exchange):
            raise TransportError(lost(before_answer=True, reset=connection.was_reset))

    async def close(self) -> None:
        """Close every connection, and wait until they are closed."""
        if self._addresses is not None:
            self._addresses.cancel()
        gone = [connection.drop() for connection in list(self._open)]
        if gone:
            await asyncio.wait(gone, timeout=CLOSING)

    def _pooled(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self, exchange: Exchange) -> _Connection:
        began = self._options.clock()
        try:
            async with asyncio.timeout(self._options.connect_timeout):
                connection = await self._dial()
        except TimeoutError as exc:
            raise TransportError(connect_timeout(self._options.connect_timeout)) from exc
        except OSError as exc:
            raise TransportError(connect_failure(exc, self._target)) from exc
        exchange.connect = self._options.clock() - began
        return connection

    async def _dial(self) -> _Connection:
        loop, target = asyncio.get_running_loop(), self._target
        name = target.host if self._tls else None
        if target.unix is not None:
            return (await loop.create_unix_connection(self._protocol, target.unix))[1]
        refused: OSError | None = None
        for address in await self._resolve():
            try:
                dialled = loop.create_connection(
                    self._protocol, address, target.port, ssl=self._tls, server_hostname=name
                )
                return (await dialled)[1]
            except ssl.SSLError:
                raise
            except OSError as exc:
                refused = refused or exc
        raise refused or OSError("no address")

    async def _resolve(self) -> list[str]:
        """Looked up once a run: a slow name service must not show as connection time of every request."""
        if self._addresses is None or (self._addresses.done() and self._addresses.exception()):
            self._addresses = asyncio.ensure_future(self._look_up())
        return await asyncio.shield(self._addresses)

    async def _look_up(self) -> list[str]:
        import socket

        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def _protocol(self) -> _Connection:
        return _Connection(self._options.clock, self._idle, self._open)

    def _payload(self, request: Request) -> bytes:
        key = (request.method, request.path, request.headers)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._head(request)
        own = _lines(request.own) if request.own else b""
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, own, len(request.body), request.body)

    def _head(self, request: Request) -> bytes:
        """Request line and the headers that many requests share."""
        given = {name.lower() for name, _ in (*request.headers, *request.own)}
        agent = () if "user-agent" in given else (("User-Agent", AGENT),)
        fixed = (("Host", host_header(self._target)), *agent, ("Accept-Encoding", "identity"))
        return f"{request.method} {request.path} HTTP/1.1\r\n".encode("latin-1") + _lines((*fixed, *request.headers))


def _lines(headers: Headers) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")


class _Connection(asyncio.Protocol):
    """One connection: carries one exchange at a time, and goes back to the pool when the answer was whole."""

    __slots__ = (
        "_answered",
        "_at",
        "_body",
        "_bodyless",
        "_clock",
        "_closed",
        "_complete",
        "_exchange",
        "_fd",
        "_headers",
        "_idle",
        "_open",
        "_parser",
        "_pieces",
        "_reusable",
        "_surplus",
        "_transport",
        "_waiter",
        "on_body",
        "was_reset",
    )

    def __init__(self, clock: Callable[[], int], idle: list[_Connection], open_: set[_Connection]) -> None:
        self._clock = clock
        self._idle = idle
        self._open = open_
        self._body: list[bytes] = []
        self.on_body = self._body.append  # called by the parser, without a Python frame of ours in between
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._at = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._answered = False
        self._complete = self._surplus = self._reusable = self._bodyless = False
        self._pieces: int | None = None
        self.was_reset = False

    @property
    def usable(self) -> bool:
        return not self._transport.is_closing()

    async def carry(self, payload: bytes, exchange: Exchange) -> bool:
        """Send and wait for the answer. False: the connection was gone before a byte of it came."""
        self._exchange, self._answered, self._complete, self._surplus = exchange, False, False, False
        self._pieces = None
        self._bodyless = payload.startswith(b"HEAD ")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        self._send(payload, exchange)
        try:
            return await waiter
        except asyncio.CancelledError:
            if self._waiter is waiter:  # else the answer was complete, and the connection is somebody else's by now
                self._exchange = self._waiter = None
                self.drop()
            raise

    def drop(self) -> asyncio.Future[None]:
        """Close at once; the future is done when the socket is closed."""
        self._transport.abort()
        return self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour only
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.add(self)
        plain = transport.get_extra_info("sslcontext") is None and sys.platform != "win32"
        self._fd = transport.get_extra_info("socket").fileno() if plain else -1

    def _send(self, payload: bytes, exchange: Exchange) -> None:
        """Past the event loop's own write queue where that is possible: uvloop would send at the end of its round,
        after everything else that is ready, and the stamp would be early by that much."""
        exchange.sent = self._clock()
        if self._fd >= 0 and not self._transport.is_closing():
            try:
                payload = payload[os.write(self._fd, payload) :]
            except BlockingIOError:
                pass
            except OSError:
                self.was_reset = True
                self._transport.abort()
                return
        if payload:
            self._transport.write(payload)

    def data_received(self, data: bytes) -> None:
        self._at = self._clock()
        self._answered = True
        garbage = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as exc:
            garbage = TransportError(Failure("protocol", f"the answer is not HTTP/1.1: {exc}"))
            self._surplus = True
        if self._body:
            self._hand_over()
        if self._complete:
            self._finish()
        elif garbage is not None:
            self._fail(garbage)

    def _hand_over(self) -> None:
        """What one read brought of the body, in one piece: its HTTP chunks have one stamp anyway."""
        body, exchange = self._body, self._exchange
        whole = body[0] if len(body) == 1 else b"".join(body[: self._pieces])
        body.clear()
        if exchange is not None and whole:
            exchange.reads += 1
            try:
                exchange.sink(whole, self._at)
            except Exception as exc:  # a mistake of the sink's must reach whoever waits for the answer
                self._fail(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self in self._idle:
            self._idle.remove(self)
        self._closed.set_result(None)
        self.was_reset = self.was_reset or isinstance(exc, ConnectionError)
        if self._exchange is None:
            return
        if not self._answered:
            self._release(False)
        elif exc is None and self._ends_at_close():
            self._at, self._reusable = self._clock(), False
            self._finish()
        else:
            self._fail(TransportError(lost(before_answer=False, reset=self.was_reset)))

    def on_message_begin(self) -> None:
        """A second answer to one request is nobody's: the connection cannot be trusted any more."""
        self._surplus = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        exchange = self._exchange
        if exchange is not None and not self._complete and (status >= 200 or status == 101):
            exchange.status = status
            exchange.first_byte = self._at
            exchange.headers = self._headers
            self._complete = self._surplus = self._bodyless
        self._headers = []

    def on_message_complete(self) -> None:
        """Also called for interim answers (100 Continue), which are passed over: they leave no status."""
        if not self._complete and self._exchange is not None and self._exchange.status is not None:
            self._complete = True
            self._pieces = len(self._body)  # what follows in this read belongs to a surplus answer
            self._reusable = self._parser.should_keep_alive()

    def _ends_at_close(self) -> bool:
        """RFC 9112, 6.3: a body with neither length nor chunks ends where the connection does."""
        assert self._exchange is not None
        framed = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._exchange.headers)
        return self._exchange.status is not None and not framed

    def _finish(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self.drop()
            return
        exchange.end = self._at
        sent_whole = not self._transport.get_write_buffer_size()
        if self._reusable and sent_whole and not self._surplus and not self._transport.is_closing():
            self._idle.append(self)
        else:
            self.drop()
        self._release(True)

    def _fail(self, exc: Exception) -> None:
        waiter, self._exchange, self._waiter = self._waiter, None, None
        self.drop()
        if waiter is not None and not waiter.done():
            waiter.set_exception(exc)

    def _release(self, answered: bool) -> None:
        waiter, self._exchange, self._waiter = self._waiter, None, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answered)
