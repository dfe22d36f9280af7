"""A client's connection to the simulated server: parses HTTP requests, sends bytes.

While the transport buffers nothing, bytes are written directly to plain sockets. That is faster, and the timestamp
taken before is then the time at which the kernel gets the bytes. response.py decides what is written, server.py handles
the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections import deque
from typing import Protocol, cast

import httptools
from msgspec import Struct

from loadstone.sim import bodies
from loadstone.sim.bodies import Page
from loadstone.sim.response import Response
from loadstone.sim.state import ServerState


class Request(Struct):
    """A parsed HTTP request.

    headers: by name in lower case.
    keep_alive: the connection stays open after the response.
    received: ns, time of the read that completed the request.
    """

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool
    received: int


class Server(Protocol):
    """What a connection needs of the server (server.py)."""

    connections: set[Connection]
    closed: bool
    state: ServerState

    def schedule(self, response: Response, due: int) -> None:
        """Call `advance` of the response at `due` (ns)."""

    def handle(self, connection: Connection, request: Request) -> None:
        """Send the response to a request."""


class Connection(asyncio.Protocol):
    """One client's connection, which handles one request after the other.

    paused: the client reads too slowly.
    keep_alive: the connection stays open after the current response.
    _fd: descriptor for direct writes; -1 if they are not possible.
    _write_pending: the transport may hold bytes that have to go first.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request] = deque()
        self._response: Response | None = None
        self._busy = False
        self._received = 0
        self._fd = -1
        self._write_pending = False
        self.paused = False
        self.keep_alive = True
        self.on_message_begin()

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        if os.name == "posix" and transport.get_extra_info("sslcontext") is None:
            self._fd = transport.get_extra_info("socket").fileno()
        if self._server.closed:  # accepted while the server was closing
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        # Both loops close the descriptor only after this: from here on its number may be another's.
        self._fd = -1
        self._server.connections.discard(self)
        self._queue.clear()
        if self._response:
            self._response.disconnect()
            self._response = None
        del self._parser  # it refers back to this object

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self._response and self._response.blocked:
            self._response.blocked = False
            self._server.schedule(self._response, time.monotonic_ns())

    def data_received(self, data: bytes) -> None:
        self._received = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError:
            if self._busy:
                self.abort()
            else:
                self.keep_alive = False
                self.send_page(bodies.NOT_HTTP)
        if self._queue and not self._busy:
            self._handle_next()

    # Called by httptools

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._busy:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method, keep_alive = self._parser.get_method(), self._parser.should_keep_alive()
        path = self._url.partition(b"?")[0]
        body = b"".join(self._body)
        self._queue.append(Request(method, path, self._headers, body, keep_alive, self._received))

    # Responses

    def _handle_next(self) -> None:
        """Start with the next request, if the connection is free."""
        if self._busy or not self._queue or self._transport.is_closing():
            return
        request = self._queue.popleft()
        self._busy, self.keep_alive = True, request.keep_alive
        self._server.handle(self, request)

    def start_response(self, response: Response) -> None:
        """Start a response, which the server's queue advances."""
        if self._transport.is_closing():
            return response.disconnect()
        self._response = response
        return self._server.schedule(response, response.due)

    def send_page(self, page: Page) -> None:
        """Send a whole response at once."""
        self.send(self._server.state.page_bytes(page, self.keep_alive))
        self.finish_response()

    def send(self, data: bytes) -> None:
        """Send bytes, directly if possible."""
        if self._write_pending:
            self._write_pending = self._transport.get_write_buffer_size() > 0
        if self._fd >= 0 and not self._write_pending:
            try:
                written = os.write(self._fd, data)
            except BlockingIOError:
                written = 0
            except OSError:
                return self.abort()
            if written == len(data):
                return None
            self._write_pending = True
            data = data[written:]
        if not self._transport.is_closing():
            self._transport.write(data)
        return None

    def finish_response(self) -> None:
        """Close the connection, or go on with its next request."""
        self._busy, self._response = False, None
        if not self.keep_alive:
            self._transport.close()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._handle_next)

    def close(self) -> None:
        """Close the connection once all bytes are sent."""
        self._transport.close()

    def reset(self) -> None:
        """Close with RST instead of FIN. A unix socket has no RST and is just closed."""
        sock, linger = self._transport.get_extra_info("socket"), struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.abort()

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        self._fd = -1
        self._transport.abort()
