"""The seam between the runner and the sockets: what is sent, what a transport writes down, what it raises.

A transport opens connections, sends one request, stamps and hands over what comes back. It sends a request again only
after a keep-alive race (`http.raced`), and never one that was answered. It never parses JSON, and turns every foreign
exception into `TransportError`. Times are ns of the run's clock.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from loadstone.records import ArrivalClock, Failure

Clock = Callable[[], int]
Sink = Callable[[bytes, int], None]


Headers = tuple[tuple[str, str], ...]


class Request(Struct, frozen=True):
    """One HTTP request; `path` includes the query. Host, Content-Length and Accept-Encoding are the transport's.
    `headers` are those that many requests share, `own_headers` those of this one alone."""

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""
    own_headers: Headers = ()


class Target(Struct, frozen=True):
    """Where requests go: host and port, or a unix socket; `secure` is TLS."""

    host: str
    port: int
    secure: bool = False
    unix: str | None = None


class Options(Struct, frozen=True):
    """What every transport takes: the run's clock (ns), seconds to connect, the TLS settings, and whose clock is to
    stamp arrivals. A transport that cannot have the kernel's stamps does without: `choose.stamper` says who can."""

    clock: Clock
    connect_timeout: float = 30.0
    tls: ssl.SSLContext | None = None
    arrival_clock: ArrivalClock = "user"


class Exchange:
    """One request's course, written by the transport. `sink(data, at)` gets the body, with the stamp of each read.
    `clock` is "kernel" when the kernel stamped all that arrived.

    sent: ns, the latest send, which is the one that was answered.
    resent: how many times the request was sent again after a keep-alive race.
    lost: ns from the first send until the transport began to send again, part of no connect time. The server caused it
        by closing the connection, so it is not the client's send lag.
    """

    __slots__ = (
        "clock",
        "connect",
        "end",
        "first_byte",
        "headers",
        "reads",
        "resend_delay",
        "resent",
        "sent",
        "sink",
        "status",
    )

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.connect: int | None = None
        self.sent: int | None = None
        self.first_byte: int | None = None
        self.end: int | None = None
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.clock: ArrivalClock = "user"
        self.reads = 0
        self.resent = 0
        self.resend_delay = 0

    def header(self, name: bytes) -> bytes | None:
        """Value of a response header by its lower-case name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


class TransportError(Exception):
    """A request that did not come back whole; `failure` says how."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.message}")
        self.failure = failure


class Transport(Protocol):
    """Sends requests to one target. May be cancelled at any time: it then drops the connection."""

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        """Send, and return when the response is complete. Raises TransportError."""

    async def close(self) -> None:
        """Close every connection."""
