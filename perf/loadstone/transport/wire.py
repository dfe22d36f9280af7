"""The default transport: opens connections, keeps them in an unlimited LIFO pool, and encodes requests.

HTTP/1.1 only, without proxies, redirects and compression; `aiohttp_client.py` can use proxies. `connection.py` sends a
request and reads and stamps the response.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from typing import Any

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
        self._look_up: asyncio.Future[list[tuple[Any, ...]]] | None = None

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Send a request and wait until the response is complete. Raises TransportError.

        A request is resent, on a new connection, only after a keep-alive race.
        """
        # The bytes of the request. Its line and the headers that many requests share are encoded once.
        key = (request.method, request.path, request.headers)
        head = self._heads.get(key)
        if head is None:
            names = {name.lower() for name, _ in (*request.headers, *request.own_headers)}
            agent = () if "user-agent" in names else (("User-Agent", AGENT),)
            fixed = (("Host", host_header(self._target)), *agent, ("Accept-Encoding", "identity"))
            first_line = f"{request.method} {request.path} HTTP/1.1\r\n".encode("latin-1")
            head = self._heads[key] = first_line + _lines((*fixed, *request.headers))
        own = _lines(request.own_headers) if request.own_headers else b""
        payload = b"%b%bContent-Length: %d\r\n\r\n%b" % (head, own, len(request.body), request.body)

        # The connection that was used last and is still open, if there is one.
        connection: Connection | None = None
        while self._idle and connection is None:
            pooled = self._idle.pop()
            connection = pooled if pooled.usable else None
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
        if self._look_up is not None:
            self._look_up.cancel()
        closing = [connection.close() for connection in list(self._open)]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        if self._stamping is not None:
            self._stamping.close()

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
        """Connect to the first address of the host that accepts. Raises OSError of the first one that does not."""
        loop = asyncio.get_running_loop()
        protocol = partial(Connection, self._options.clock, self._idle, self._open)
        if self._target.unix is not None:
            return (await loop.create_unix_connection(protocol, self._target.unix))[1]

        # The host is looked up once: a slow DNS server must not slow every connection.
        if self._look_up is None or (self._look_up.done() and self._look_up.exception()):
            query = loop.getaddrinfo(self._target.host, self._target.port, type=socket.SOCK_STREAM)
            self._look_up = asyncio.ensure_future(query)
        results = await asyncio.shield(self._look_up)
        addresses: list[Address] = list(dict.fromkeys((int(family), address) for family, _, _, _, address in results))

        first_error: OSError | None = None
        for address in addresses:
            try:
                if self._stamping is not None:
                    connection = protocol()
                    await self._stamping.connect(address, connection)
                    return connection
                host, port = address[1][:2]
                name = self._target.host if self._tls else None
                opening = loop.create_connection(protocol, host, port, ssl=self._tls, server_hostname=name)
                return (await opening)[1]
            except ssl.SSLError:  # the address answered: another one would not help
                raise
            except OSError as exc:
                first_error = first_error or exc
        raise first_error or OSError("no address")


def _lines(headers: Headers) -> bytes:
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")
