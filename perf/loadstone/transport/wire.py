"""The default transport: opens connections, keeps them in an unlimited LIFO pool, and encodes requests.

HTTP/1.1 only, without proxies, redirects and compression; `aiohttp_client.py` can use proxies. `connection.py` sends a
request and reads and stamps the response.
"""

from __future__ import annotations

import asyncio
import socket
import ssl

from loadstone.transport import Exchange, Headers, Options, Request, Target, TransportError
from loadstone.transport.common import (
    AGENT,
    connect_failure,
    connect_timeout_failure,
    connection_lost_failure,
    host_header,
)
from loadstone.transport.connection import Connection
from loadstone.transport.kernel_socket import Address, KernelTimestamping

# Seconds to wait for closed connections: uvloop does not report one whose opening was cancelled as it succeeded.
CLOSE_TIMEOUT = 1.0


class Wire:
    """Plain HTTP/1.1 over TCP, TLS or a unix socket."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        self._tls = (options.tls or ssl.create_default_context()) if target.secure else None
        stamped = options.arrival_clock == "kernel" and self._tls is None and target.unix is None
        self._stamping = KernelTimestamping(options.clock) if stamped else None
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._heads: dict[tuple[str, str, Headers], bytes] = {}
        self._addresses: asyncio.Task[list[Address]] | None = None

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Send a request and wait until the response is complete. Raises TransportError.

        A request is resent, on a new connection, only after a keep-alive race.
        """
        payload = self._encode(request)
        connection = self._pooled()
        if connection is not None:
            exchange.connect = 0
            if await connection.send(payload, exchange):
                return
            if not connection.raced or exchange.sent is None:
                raise TransportError(connection_lost_failure(before_answer=True, reset=connection.was_reset))
            first, again = exchange.sent, self._options.clock()
            connection = await self._connect(exchange)
            exchange.resent, exchange.resend_delay = 1, again - first
        else:
            connection = await self._connect(exchange)
        if not await connection.send(payload, exchange):
            raise TransportError(connection_lost_failure(before_answer=True, reset=connection.was_reset))

    async def close(self) -> None:
        """Close every connection and wait until they are closed."""
        if self._addresses is not None:
            self._addresses.cancel()
        closing = [connection.close() for connection in list(self._open)]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        if self._stamping is not None:
            self._stamping.close()

    def _pooled(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self, exchange: Exchange) -> Connection:
        began = self._options.clock()
        try:
            async with asyncio.timeout(self._options.connect_timeout):
                connection = await self._open_connection()
        except TimeoutError as exc:
            raise TransportError(connect_timeout_failure(self._options.connect_timeout)) from exc
        except OSError as exc:
            raise TransportError(connect_failure(exc, self._target)) from exc
        exchange.connect = self._options.clock() - began
        return connection

    async def _open_connection(self) -> Connection:
        if self._target.unix is not None:
            loop = asyncio.get_running_loop()
            return (await loop.create_unix_connection(self._protocol, self._target.unix))[1]
        first_error: OSError | None = None
        for address in await self._resolve():
            try:
                return await self._connect_to(address)
            except ssl.SSLError:
                raise
            except OSError as exc:
                first_error = first_error or exc
        raise first_error or OSError("no address")

    async def _connect_to(self, address: Address) -> Connection:
        if self._stamping is not None:
            connection = self._protocol()
            await self._stamping.connect(address, connection)
            return connection
        host, port = address[1][:2]
        name = self._target.host if self._tls else None
        loop = asyncio.get_running_loop()
        opening = loop.create_connection(self._protocol, host, port, ssl=self._tls, server_hostname=name)
        return (await opening)[1]

    async def _resolve(self) -> list[Address]:
        """Return the addresses of the host. Look them up once: a slow DNS server must not slow every connection."""
        if self._addresses is None or (self._addresses.done() and self._addresses.exception()):
            self._addresses = asyncio.ensure_future(self._look_up())
        return await asyncio.shield(self._addresses)

    async def _look_up(self) -> list[Address]:
        loop = asyncio.get_running_loop()
        results = await loop.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys((int(family), address) for family, _, _, _, address in results))

    def _protocol(self) -> Connection:
        return Connection(self._options.clock, self._idle, self._open)

    def _encode(self, request: Request) -> bytes:
        key = (request.method, request.path, request.headers)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._encode_head(request)
        own = _lines(request.own_headers) if request.own_headers else b""
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, own, len(request.body), request.body)

    def _encode_head(self, request: Request) -> bytes:
        """Return the request line and the headers that many requests share."""
        names = {name.lower() for name, _ in (*request.headers, *request.own_headers)}
        agent = () if "user-agent" in names else (("User-Agent", AGENT),)
        fixed = (("Host", host_header(self._target)), *agent, ("Accept-Encoding", "identity"))
        return f"{request.method} {request.path} HTTP/1.1\r\n".encode("latin-1") + _lines((*fixed, *request.headers))


def _lines(headers: Headers) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")
