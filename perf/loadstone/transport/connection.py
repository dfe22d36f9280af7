"""One connection of `wire.py`: sends one request after another, parses with httptools, and stamps each read.

A read is stamped before it is parsed: by the kernel if `kernel_socket.py` reads the socket, else by the run's clock. A
request is stamped and goes to the kernel at once. wire.py decides what is sent over which connection.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
from collections.abc import Callable
from typing import cast

import httptools

from loadstone.records import ArrivalClock, Failure, FailureCause
from loadstone.transport import Exchange, TransportError
from loadstone.transport.common import (
    LINGER,
    MAX_HEAD,
    connection_lost_failure,
    is_keep_alive_race,
    large_head_failure,
    shortest_round_trip,
)
from loadstone.transport.kernel_socket import KernelSocketTransport


class Connection(asyncio.Protocol):
    """One connection. It has one exchange at a time, and returns to the pool after a complete response."""

    __slots__ = (
        "_answered",
        "_at",
        "_body",
        "_bodyless",
        "_by",
        "_clock",
        "_closed",
        "_complete",
        "_exchange",
        "_fd",
        "_head_size",
        "_headers",
        "_idle",
        "_linger",
        "_loop",
        "_open",
        "_parser",
        "_pieces",
        "_pipe",
        "_poll",
        "_reusable",
        "_round_trip",
        "_surplus",
        "_transport",
        "_unsendable",
        "_waiter",
        "on_body",
        "raced",
        "was_reset",
    )

    def __init__(self, clock: Callable[[], int], idle: list[Connection], open_: set[Connection]) -> None:
        self._clock = clock
        self._idle = idle
        self._open = open_
        self._body: list[bytes] = []
        self.on_body = self._body.append  # called by the parser, without a Python frame of ours in between
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._at = 0
        self._by: ArrivalClock = "user"
        self._pipe: KernelSocketTransport | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._answered = False
        self._complete = self._surplus = self._reusable = self._bodyless = False
        self._pieces: int | None = None
        self._head_size = 0
        self._linger: asyncio.TimerHandle | None = None
        self._poll: select.poll | None = None
        self.was_reset = self.raced = self._unsendable = False

    @property
    def usable(self) -> bool:
        """Return True if a request may be sent on it: it is open, and nothing that nobody asked for has arrived.

        Bytes that wait in the socket would be taken for the answer to the next request.
        """
        if self._pipe is not None:
            self._pipe.on_readable()
        elif self._poll is not None and self._poll.poll(0):
            self.close()
        return not self._transport.is_closing()

    async def send(self, payload: bytes, exchange: Exchange) -> bool:
        """Send a request and wait for the response. Return True when it is complete.

        Return False if the connection was closed before a byte of the response came. Then `raced` says whether that was
        so early that the server cannot have read the request. Raises TransportError for other failures.
        """
        self._exchange, self._answered, self._complete, self._surplus = exchange, False, False, False
        self._pieces = None
        self._head_size = 0
        self._bodyless = payload.startswith(b"HEAD ")
        waiter: asyncio.Future[bool] = self._loop.create_future()
        self._waiter = waiter
        exchange.sent = self._clock()
        if self._pipe is not None:
            self._pipe.floor, self._by = exchange.sent, "kernel"
        # Around the event loop's write queue, if possible: uvloop would send at the end of its iteration, after
        # everything else that is ready, and the timestamp would be early by that much.
        if self._fd >= 0 and not self._transport.is_closing():
            try:
                payload = payload[os.write(self._fd, payload) :]
            except BlockingIOError:
                pass
            except OSError:  # no byte of it was sent
                self.was_reset = self._unsendable = True
                self._transport.abort()
                payload = b""
        if payload:
            self._transport.write(payload)
        try:
            return await waiter
        except asyncio.CancelledError:
            if self._waiter is waiter:  # else the response was complete, and the connection may be in use again
                self._exchange = self._waiter = None
                self.close()
            raise

    def close(self) -> asyncio.Future[None]:
        """Close at once. Return a future that is done when the socket is closed."""
        self._transport.abort()
        return self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour only
        self._pipe = transport if isinstance(transport, KernelSocketTransport) else None
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._open.add(self)
        plain = transport.get_extra_info("sslcontext") is None and sys.platform != "win32"
        fd = transport.get_extra_info("socket").fileno()
        self._fd = fd if plain else -1
        if self._pipe is None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
        self._round_trip = shortest_round_trip(fd)

    def data_received(self, data: bytes | memoryview, at: int | None = None) -> None:
        """Take a read that arrived `at`, ns; asyncio passes no time."""
        self._at = self._clock() if at is None else at
        self._answered = True
        garbage = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as exc:
            garbage = TransportError(Failure(FailureCause.PROTOCOL, f"the answer is not HTTP/1.1: {exc}"))
            if self._exchange is not None and not self._complete:
                self._exchange.garbage = bytes(data)
            self._surplus = True
        except httptools.HttpParserUpgrade:  # no upgrade was requested; the response ends with its head
            self._surplus = True
        # Body: to the sink, one HTTP chunk at a time, since nearly always a chunk is one event.
        body = self._body
        exchange = self._exchange
        over = False
        if body:
            if self._pieces is not None:
                del body[self._pieces :]
            if exchange is not None and body:
                exchange.reads += 1
                try:
                    for piece in body:
                        if exchange.sink(piece, self._at):
                            over = True
                except Exception as exc:  # an error in the sink must reach the caller that waits
                    self._fail(exc)
            body.clear()
        if self._complete:
            self._finish()
        elif garbage is not None:
            self._fail(garbage)
        elif over:
            if self._linger is None:
                self._linger = self._loop.call_later(LINGER, self._end_unterminated, self._at)
        elif exchange is not None and exchange.status is None:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._fail(TransportError(large_head_failure()))

    def mark_unstamped(self) -> None:
        """Note that the kernel did not stamp the next read, so that not all times of this response are its own."""
        self._by = "user"
        if self._exchange is not None:
            self._exchange.clock = "user"

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self in self._idle:
            self._idle.remove(self)
        self._closed.set_result(None)
        self.was_reset = self.was_reset or isinstance(exc, ConnectionError)
        if self._exchange is None:
            return
        if not self._answered:
            sent = None if self._unsendable else self._exchange.sent
            self.raced = is_keep_alive_race(sent, self._clock(), self._round_trip)
            self._release(False)
            return
        # A body that has neither length nor chunks ends where the connection does (RFC 9112, 6.3).
        framed = any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._exchange.headers)
        if exc is None and self._exchange.status is not None and not framed:
            self._at, self._reusable = self._clock(), False
            self.mark_unstamped()
            self._finish()
        elif self._linger is not None:
            self._end_unterminated(self._at)
        else:
            self._fail(TransportError(connection_lost_failure(before_answer=False, reset=self.was_reset)))

    def on_message_begin(self) -> None:
        """Note a second response to one request: nobody expects it, so the connection is not reused."""
        self._surplus = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        exchange = self._exchange
        if exchange is not None and not self._complete and (status >= 200 or status == 101):
            exchange.status = status
            exchange.first_byte = self._at
            exchange.clock = self._by
            exchange.headers = self._headers
            self._complete = self._surplus = self._bodyless
        self._headers = []

    def on_message_complete(self) -> None:
        """Mark the response as complete. Interim responses (100 Continue) also come here; they leave no status."""
        if not self._complete and self._exchange is not None and self._exchange.status is not None:
            self._complete = True
            self._pieces = len(self._body)  # what follows in this read belongs to a surplus response
            self._reusable = self._parser.should_keep_alive()

    def _end_unterminated(self, at: int) -> None:
        """End an exchange whose body has no end though its sink has all it needs since `at`, ns."""
        exchange = self._exchange
        if exchange is not None:
            exchange.end = at
            exchange.unterminated = True
            self.close()
            self._release(True)

    def _finish(self) -> None:
        exchange = self._exchange
        if exchange is None:
            self.close()
            return
        exchange.end = self._at
        sent_whole = not self._transport.get_write_buffer_size()
        if self._reusable and sent_whole and not self._surplus and not self._transport.is_closing():
            self._idle.append(self)
        else:
            self.close()
        self._release(True)

    def _fail(self, exc: Exception) -> None:
        if self._linger is not None:
            self._linger.cancel()
        waiter, self._exchange, self._waiter = self._waiter, None, None
        self.close()
        if waiter is not None and not waiter.done():
            waiter.set_exception(exc)

    def _release(self, answered: bool) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        waiter, self._exchange, self._waiter = self._waiter, None, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answered)
