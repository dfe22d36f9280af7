"""Transports: the interface between the engine and the sockets.

A transport opens connections, sends a `Request`, and records timestamps and body in an `Exchange`. It resends a request
only after a keep-alive race (`common.is_keep_alive_race`), and never one that was answered. It parses no JSON, and
every exception of a library becomes a `TransportError`. Times are ns of the run's clock. `wire.py` is the default HTTP
client, `aiohttp_client.py` the other one, `in_process.py` calls a model object. May import `records` and `errors`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from loadstone.records import ArrivalClock, Failure

Clock = Callable[[], int]
# Called with a piece of the body and the time of its read. Returns True if the rest of the body does not matter.
Sink = Callable[[bytes, int], bool | None]
Headers = tuple[tuple[str, str], ...]


class Request(Struct, frozen=True):
    """One HTTP request. The transport adds Host, Content-Length and Accept-Encoding.

    method: HTTP method.
    path: path and query.
    headers: headers that many requests share.
    body: bytes of the body.
    own_headers: headers of this request alone.
    """

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""
    own_headers: Headers = ()


class Target(Struct, frozen=True):
    """Where requests go.

    host, port: TCP address.
    secure: whether to use TLS.
    unix: path of a unix socket, used in place of host and port.
    """

    host: str
    port: int
    secure: bool = False
    unix: str | None = None


class Options(Struct, frozen=True):
    """Settings of every transport.

    clock: the run's clock, ns.
    connect_timeout: seconds to wait for a connection.
    tls: TLS settings.
    arrival_clock: clock of the arrival times. A transport that cannot get the kernel's timestamps ignores it:
        `factory.choose_arrival_clock` says which can.
    """

    clock: Clock
    connect_timeout: float = 30.0
    tls: ssl.SSLContext | None = None
    arrival_clock: ArrivalClock = "user"


class Exchange(Struct, eq=False):
    """What happened to one request, recorded by the transport.

    sink: called with each piece of the body and the time of its read.
    connect: ns to open the connection; 0 if it was reused.
    sent: ns, the latest send, which is the one that was answered.
    first_byte, end: ns, when the head and the end of the response arrived.
    status, headers: of the response.
    clock: "kernel" if the kernel stamped everything that arrived.
    reads: number of reads that had a part of the body.
    resent: how many times the request was resent after a keep-alive race.
    resend_delay: ns from the first send until the transport began to resend; not part of the connect time. The server
        caused it by closing the connection, so it is not the client's send lag.
    garbage: what came in place of a response and is not HTTP; None if it was HTTP.
    unterminated: the sink had all it needed, and the body did not end within `common.LINGER` s after that.
    """

    sink: Sink
    connect: int | None = None
    sent: int | None = None
    first_byte: int | None = None
    end: int | None = None
    status: int | None = None
    headers: list[tuple[bytes, bytes]] = []
    clock: ArrivalClock = "user"
    reads: int = 0
    resent: int = 0
    resend_delay: int = 0
    unterminated: bool = False
    garbage: bytes | None = None

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a response header by its lower-case name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


class TransportError(Exception):
    """A request without a complete response; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.message}")
        self.failure = failure


class Transport(Protocol):
    """Sends requests to one target. If cancelled, it closes the connection."""

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Send a request and wait until the response is complete. Raises TransportError."""

    async def close(self) -> None:
        """Close every connection."""
