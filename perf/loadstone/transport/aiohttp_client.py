"""The second transport: aiohttp, for environment proxies and other parts of HTTP that `wire` lacks.

A tap between the socket and aiohttp's protocol stamps each read, and passes its body bytes on before aiohttp queues
them. The timestamps are later than wire's nevertheless: aiohttp needs several times the CPU, and other sockets wait
meanwhile. Also unlike wire: pooled connections are reused first in, first out; the connection of a resent request is
not kept; there is no TLS over a unix socket.
"""

from __future__ import annotations

import asyncio
import io
import math
import ssl
import urllib.request
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict
from yarl import URL

from loadstone.errors import ConfigError
from loadstone.records import Failure, FailureCause
from loadstone.transport import Clock, Exchange, Options, Request, Target, TransportError
from loadstone.transport.common import (
    AGENT,
    LINGER,
    MAX_HEAD,
    connect_failure,
    connect_timeout_failure,
    connection_lost_failure,
    display_address,
    host_header,
    is_keep_alive_race,
    large_head_failure,
    shortest_round_trip,
)

# Bytes that aiohttp buffers of a response.
READ_BUFFER = 2**22
# Bytes of a line or field of a response head.
MAX_LINE = 2**16
# Seconds for which an idle connection stays open.
KEEP_IDLE = 3600.0
# Bytes. aiohttp warns of larger bodies, unless they come as a file, which it sends in pieces.
LARGE_BODY = 2**20


class Aiohttp:
    """HTTP through one aiohttp session and the environment's proxy, if there is one."""

    def __init__(self, target: Target, options: Options) -> None:
        if target.secure and target.unix is not None:
            raise ConfigError("aiohttp has no TLS over a unix socket; say http:// instead, or --transport wire")
        self._target = target
        self._options = options
        self._tls = options.tls or (ssl.create_default_context() if target.secure else None)
        self._proxy = environment_proxy(target)
        self._origin = f"{_scheme(target)}://{host_header(target)}"
        self._session: aiohttp.ClientSession | None = None
        self._round_trip = 0

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Send a request and wait until the response is complete. Raises TransportError.

        A request is resent, on a new connection, only after a keep-alive race (`common.is_keep_alive_race`).
        """
        self._session = self._session or self._open()
        try:
            await self._attempt(self._session, request, exchange)
        except _StaleConnection:
            again = self._options.clock()
            first, exchange.sent = exchange.sent, None
            # A session of its own: aiohttp never opens a new connection while its pool has one.
            async with self._open() as session:
                try:
                    await self._attempt(session, request, exchange)
                finally:
                    if exchange.sent is None:  # no connection for it: the first send was the only one
                        exchange.sent = first
                    elif first is not None:
                        exchange.resent, exchange.resend_delay = 1, again - first

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def _attempt(self, session: aiohttp.ClientSession, request: Request, exchange: Exchange) -> None:
        # Two turns of the event loop, which reads what waits in the sockets of idle connections: `_Tap` drops these.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tap = _Tap(self._options.clock, exchange)
        token = _current.set(tap)
        try:
            large = len(request.body) > LARGE_BODY
            response = await session.request(
                request.method,
                URL(self._origin + request.path, encoded=True),
                headers=CIMultiDict((*request.headers, *request.own_headers)),
                data=io.BytesIO(request.body) if large else request.body or None,
                allow_redirects=False,
                proxy=self._proxy,
            )
            await tap.follow(response)
        except _TooLarge as exc:
            raise TransportError(exc.failure) from exc
        except (aiohttp.ClientError, HttpProcessingError, _Lost) as exc:
            closed = self._options.clock() if tap.lost_at is None else tap.lost_at
            unread = is_keep_alive_race(exchange.sent, closed, self._round_trip)
            if tap.reused and not tap.answered and unread:
                raise _StaleConnection from exc
            # Failure: by what this client saw, else by aiohttp's type of exception.
            if isinstance(exc, _Lost):
                failure = connection_lost_failure(before_answer=not tap.answered, reset=exc.reset)
            elif isinstance(exc, aiohttp.ConnectionTimeoutError):
                failure = connect_timeout_failure(self._options.connect_timeout)
            else:
                failure = Failure(FailureCause.CONNECT, f"{display_address(self._target)}: {exc}")
                for kind, describe in _FAILURES:
                    if isinstance(exc, kind):
                        failure = describe(exc, self._target)
                        break
            raise TransportError(failure) from exc
        finally:
            _current.reset(token)
            tap.leave()
            if tap.round_trip is not None:
                self._round_trip = min(tap.round_trip, self._round_trip or tap.round_trip)

    def _open(self) -> aiohttp.ClientSession:
        connector: aiohttp.BaseConnector
        if self._target.unix is not None:
            connector = aiohttp.UnixConnector(self._target.unix, limit=0, keepalive_timeout=KEEP_IDLE)
        else:
            tls = self._tls or True
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_IDLE, ttl_dns_cache=None, ssl=tls)
        # Hooks: each calls the current tap.
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_start.append(_hook(_Tap.opening))
        trace.on_connection_create_end.append(_hook(_Tap.opened))
        trace.on_connection_reuseconn.append(_hook(_Tap.reuse))
        trace.on_request_headers_sent.append(_hook(_Tap.sending_head))
        trace.on_request_chunk_sent.append(_hook(_Tap.sending_body))
        session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": AGENT, "Accept-Encoding": "identity"},
            skip_auto_headers=("Accept", "Content-Type"),
            # Above its ceil_threshold aiohttp rounds up to whole seconds.
            timeout=aiohttp.ClientTimeout(connect=self._options.connect_timeout, ceil_threshold=math.inf),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            response_class=_Response,
            trace_configs=[trace],
        )
        session._retry_connection = False  # aiohttp would resend a GET by its own rules
        return session


def environment_proxy(target: Target) -> URL | None:
    """Return the proxy of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or None if NO_PROXY names the host. Raises ConfigError.

    It is looked up once. aiohttp's own `trust_env` does it in a thread for every request, and takes passwords from
    ~/.netrc, which collide with an Authorization header.
    """
    if target.unix is not None or urllib.request.proxy_bypass(target.host):
        return None
    proxies = urllib.request.getproxies()
    address = proxies.get(_scheme(target)) or proxies.get("all")
    if address is None:
        return None
    proxy = URL(address if "://" in address else f"http://{address}")
    if proxy.scheme not in ("http", "https") or proxy.host is None:
        name = f"{_scheme(target).upper()}_PROXY"
        raise ConfigError(f"set {name} to an http:// address or unset it; a {proxy.scheme} proxy is of no use here")
    return proxy


def _scheme(target: Target) -> str:
    return "https" if target.secure else "http"


class _StaleConnection(Exception):
    """A pooled connection was closed before a byte of the response came."""


class _Lost(Exception):
    """The connection was lost. Not a ClientError, some of which aiohttp retries by its own rules."""

    def __init__(self, reset: bool) -> None:
        super().__init__(reset)
        self.reset = reset


class _TooLarge(Exception):
    """The head of a response is too large."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Tap(asyncio.Protocol):
    """Forwards between the socket and aiohttp's protocol for one attempt, and records what passes.

    On a pooled connection it stays until the next attempt replaces it.
    """

    def __init__(self, clock: Clock, exchange: Exchange) -> None:
        self.clock = clock
        self.exchange = exchange
        self.reused = False
        self.answered = False
        self.lost_at: int | None = None
        self.round_trip: int | None = None
        self._at = 0
        self._connect_began = 0
        self._head_held_back = False
        self._transport: asyncio.Transport | None = None
        self._handler: ResponseHandler
        self._response: aiohttp.ClientResponse | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._outcome: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def attach(self, connection: Connection) -> None:
        """Attach to a connection, after the request was written and before any of the response was read."""
        if connection.transport is not None and connection.protocol is not None:
            self._transport, self._handler = connection.transport, connection.protocol
            self._transport.set_protocol(self)
            sock = None if self.reused else self._transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                self.round_trip = shortest_round_trip(sock.fileno())

    async def follow(self, response: aiohttp.ClientResponse) -> None:
        """Pass on the body until it is complete. What came with the head has the head's time. Raises what broke it."""
        self.exchange.first_byte = self._at
        self.exchange.status = response.status
        self.exchange.headers = list(response.raw_headers)
        self._response = response
        self._pass_on()
        broken = await self._outcome
        if broken is not None:
            raise broken

    def leave(self) -> None:
        """Close the connection if the exchange is not complete."""
        response, self._response = self._response, None
        if self.exchange.end is not None:
            return
        self._outcome.cancel()
        self._drop()
        if response is not None:
            response.close()

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._outcome.done():
            # No request is waiting: aiohttp would take this for the response to the next one.
            self._drop()
            return
        self._at = self.clock()
        self.answered = True
        self._handler.data_received(data)
        self._pass_on()
        if self._response is None and self.exchange.status is None:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._handler.set_exception(_TooLarge(large_head_failure()))
                self._drop()

    def eof_received(self) -> bool | None:
        self._at = self.clock()
        self._handler.eof_received()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost_at = self.clock()
        self._handler.connection_lost(exc)
        if self._response is None or self._outcome.done():
            return
        if self._linger is not None and not self._response.content.is_eof():
            self._end_unterminated(self._at)
        elif exc is None:
            self._pass_on(ended=True)
        else:
            self._end(_Lost(reset=True) if isinstance(exc, OSError) else exc)

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def _pass_on(self, ended: bool = False) -> None:
        if self._response is None or self._outcome.done():
            return
        content, exchange, body, over = self._response.content, self.exchange, False, False
        while content.exception() is None and (piece := content.read_nowait()):
            over = exchange.sink(piece, self._at) or over
            body = True
        exchange.reads += body
        if content.is_eof():
            exchange.end = self._at
            self._end(None)
        elif ended:
            self._end(_Lost(reset=False))
        elif broken := content.exception() or self._handler.exception():
            self._end(broken)
        elif over and self._linger is None:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(LINGER, self._end_unterminated, self._at)

    def _end_unterminated(self, at: int) -> None:
        """End an exchange whose body has no end though its sink has all it needs since `at`, ns."""
        if not self._outcome.done():
            self.exchange.end = at
            self.exchange.unterminated = True
            self._drop()
            self._end(None)

    def _end(self, broken: Any) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if not self._outcome.done():
            self._outcome.set_result(broken)

    def opening(self) -> None:
        self._connect_began = self.clock()

    def opened(self) -> None:
        self.exchange.connect = self.clock() - self._connect_began

    def reuse(self) -> None:
        self.exchange.connect = 0
        self.reused = True

    def sending_head(self) -> None:
        self.exchange.sent = self.clock()
        self._head_held_back = True

    def sending_body(self) -> None:
        """Record the send: aiohttp holds the head back for the first piece of the body and writes both at once."""
        if self._head_held_back:
            self.exchange.sent = self.clock()
        self._head_held_back = False


_current: ContextVar[_Tap] = ContextVar("_current")


class _Response(aiohttp.ClientResponse):
    """aiohttp's response, which attaches the current tap to its connection before anything is read."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        _current.get().attach(connection)
        try:
            return await super().start(connection)
        except aiohttp.ClientConnectionError as exc:
            raise _Lost(reset=not isinstance(exc, aiohttp.ServerDisconnectedError)) from exc


def _hook(
    note: Callable[[_Tap], None],
) -> Callable[[aiohttp.ClientSession, SimpleNamespace, Any], Awaitable[None]]:
    async def hook(_session: aiohttp.ClientSession, _context: SimpleNamespace, _parameters: Any) -> None:
        note(_current.get())

    return hook


def _not_http(exc: Any, _target: Target) -> Failure:
    return Failure(
        FailureCause.PROTOCOL, f"the answer is not HTTP/1.1: {exc.message.partition(chr(10))[0].rstrip(':')}"
    )


def _not_resolved(exc: Any, _target: Target) -> Failure:
    return Failure(
        FailureCause.CONNECT, f"the host name {exc.host} does not resolve: {exc.os_error.strerror or exc.os_error}"
    )


def _no_proxy(exc: Any, _target: Target) -> Failure:
    return Failure(
        FailureCause.CONNECT, f"the proxy {connect_failure(exc.os_error, Target(exc.host, exc.port)).message}"
    )


def _no_tunnel(exc: Any, _target: Target) -> Failure:
    return Failure(FailureCause.CONNECT, f"the proxy refused the tunnel: {exc.status} {exc.message}")


# The failure for each type of exception; sub-classes come before their bases.
_FAILURES: tuple[tuple[type[Exception], Callable[[Any, Target], Failure]], ...] = (
    (aiohttp.ClientHttpProxyError, _no_tunnel),
    (aiohttp.ClientResponseError, _not_http),
    (HttpProcessingError, _not_http),
    (aiohttp.ClientConnectorDNSError, _not_resolved),
    (aiohttp.ClientProxyConnectionError, _no_proxy),
    (aiohttp.ClientConnectorCertificateError, lambda exc, target: connect_failure(exc.certificate_error, target)),
    (aiohttp.ClientConnectorError, lambda exc, target: connect_failure(exc.os_error, target)),
    (aiohttp.ClientConnectionError, lambda *_: connection_lost_failure(before_answer=True, reset=True)),
)
