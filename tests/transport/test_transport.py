"""The conformance suite of the transports: whatever one promises, both keep, on asyncio's own loop and on uvloop.

Order in time is asserted on a clock that counts its readings (see loopback.py), never on durations.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.errors import UsageError
from loadstone.records import ArrivalClock, Failure
from loadstone.transport import Clock, Exchange, Options, Request, Target, Transport, TransportError, common
from loadstone.transport import kernel_timestamps as stamps
from loadstone.transport.aiohttp_client import Aiohttp
from loadstone.transport.common import host_header
from loadstone.transport.wire import Wire
from loadstone.version import __version__
from support.scripted_server import (
    CHUNKED,
    Loop,
    Peer,
    Received,
    Script,
    Server,
    Taken,
    answering,
    ask,
    chunk,
    response,
    run,
    ticking,
    turns,
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


@pytest.fixture(scope="module", params=[Stack(name, loop) for name in TRANSPORTS for loop in LOOPS], ids="-".join)
def stack(request: pytest.FixtureRequest) -> Stack:
    assert isinstance(request.param, Stack)
    return request.param


def driven(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test on its stack's kind of loop."""

    @wraps(test)
    def on_the_loop(*values: Any, stack: Stack, **names: Any) -> None:
        stack.run(test(*values, stack=stack, **names))

    return on_the_loop


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def _slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test takes to close a connection, it is at once."""
    monkeypatch.setattr(common, "KEEP_ALIVE_RACE", 60_000_000_000)


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


# --- what comes back ---------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a server sends, and what a transport makes of it."""

    raw: bytes
    body: bytes = b""
    status: int = 200
    closes: bool = False


ANSWERS = {
    "length": Answer(response(b"hello"), b"hello"),
    "empty": Answer(response(b"")),
    "chunked": Answer(CHUNKED + chunk(b"ab") + chunk(b"cd") + chunk(b""), b"abcd"),
    "chunked-empty": Answer(CHUNKED + chunk(b"")),
    "whitespace": Answer(
        CHUNKED + chunk(b" data: a ") + chunk(b"\n") + chunk(b"\r\n ") + chunk(b""), b" data: a \n\r\n "
    ),
    "binary": Answer(response(bytes(range(256))), bytes(range(256))),
    "extension": Answer(CHUNKED + b"2;name=value\r\nab\r\n0;x\r\n\r\n", b"ab"),
    "trailers": Answer(CHUNKED + chunk(b"ab") + b"0\r\nX-Cost: 3\r\n\r\n", b"ab"),
    "hexadecimal": Answer(CHUNKED + b"00A\r\n0123456789\r\n0b\r\n0123456789a\r\n0\r\n\r\n", b"01234567890123456789a"),
    "until-close": Answer(b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end", closes=True),
    "until-close-empty": Answer(b"HTTP/1.1 200 OK\r\n\r\n", closes=True),
    "http-1.0": Answer(b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\nto the end", b"to the end", closes=True),
    "close-length": Answer(response(b"bye", "200 OK", b"Connection: close"), b"bye", closes=True),
    "interim": Answer(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + response(b"ok"), b"ok"
    ),
    "no-reason": Answer(b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "no-content": Answer(b"HTTP/1.1 204 No Content\r\n\r\n", status=204),
    "not-modified": Answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", status=304),
    "not-found": Answer(response(b'{"error": 1}', "404 Not Found"), b'{"error": 1}', 404),
    "unavailable": Answer(response(b"busy", "503 Service Unavailable", b"Retry-After: 1"), b"busy", 503),
    "redirect": Answer(response(b"", "307 Temporary Redirect", b"Location: /elsewhere"), status=307),
    "long-header": Answer(response(b"ok", "200 OK", b"X-Long: " + b"x" * 20_000), b"ok"),
    "many-headers": Answer(response(b"ok", "200 OK", *(b"X-%d: 1" % n for n in range(100))), b"ok"),
}


def giving(answer: Answer, *parts: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*parts)
            if answer.closes:
                peer.close()
                return

    return script


@pytest.mark.parametrize("name", ANSWERS)
@driven
async def test_an_answer_in_one_read(stack: Stack, name: str) -> None:
    answer = ANSWERS[name]
    async with stack.talking(giving(answer, answer.raw)) as (server, transport):
        for _ in range(2):
            exchange, taken = await ask(transport)
            assert (exchange.status, taken.body) == (answer.status, answer.body)
            assert exchange.reads == (1 if answer.body else 0)
            assert set(taken.stamps) <= {exchange.first_byte}
            assert exchange.end is not None
            assert exchange.first_byte is not None
            late = answer.closes and name != "close-length"
            assert exchange.end > exchange.first_byte if late else exchange.end == exchange.first_byte
            assert not exchange.resent
        assert server.connections == (2 if answer.closes else 1)


@pytest.mark.parametrize("name", [name for name in ANSWERS if "-header" not in name])
@driven
async def test_an_answer_byte_by_byte(stack: Stack, name: str) -> None:
    answer = ANSWERS[name]
    parts = [answer.raw[n : n + 1] for n in range(len(answer.raw))]
    async with stack.talking(giving(answer, *parts)) as (_, transport):
        exchange, taken = await ask(transport)
        assert (exchange.status, taken.body) == (answer.status, answer.body)
        assert bool(answer.body) <= exchange.reads <= len(answer.body)
        assert len(set(taken.stamps)) == exchange.reads
        order = [exchange.sent, exchange.first_byte, *taken.stamps, exchange.end]
        assert order == sorted(order, key=lambda at: at or 0)


@driven
async def test_headers_of_one_request_do_not_reach_the_next(stack: Stack) -> None:
    heads: list[Received] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append(await peer.request())
            await peer.send(response(b"ok"))

    async with stack.talking(script) as (_, transport):
        for own in ((("X-Request-Id", "1"), ("X-Tenant", "a")), (("X-Request-Id", "2"),), ()):
            await ask(transport, Request("POST", "/x", (("X-Team", "t"),), b"{}", own))
    assert [head.values("X-Team") for head in heads] == [["t"]] * 3
    assert [head.values("X-Request-Id") for head in heads] == [["1"], ["2"], []]
    assert [head.values("X-Tenant") for head in heads] == [["a"], [], []]
    assert {head.body for head in heads} == {b"{}"}


@driven
async def test_headers_are_raw_in_order_and_without_trailers_or_interim_ones(stack: Stack) -> None:
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nX-Request-Id:  7 \r\nSet-Cookie: a=1\r\n"
        b"set-cookie: b=\xe9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    async with stack.talking(answering(raw)) as (_, transport):
        exchange, _ = await ask(transport)
        assert [(name, value.strip()) for name, value in exchange.headers] == [
            (b"X-Request-Id", b"7"),
            (b"Set-Cookie", b"a=1"),
            (b"set-cookie", b"b=\xe9"),
            (b"Transfer-Encoding", b"chunked"),
        ]
        assert exchange.header(b"x-request-id") in (b"7", b"7 ")


@driven
async def test_each_read_has_its_stamp(stack: Stack) -> None:
    """The server sends the next piece only when the one before was handed over: no reads can melt together."""
    taken = Taken()
    pieces = [b"data: 1\n\n", b"data: 2\n\ndata: 3\n\n", b"data: 4\n", b"\n"]
    moments: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for number, piece in enumerate(pieces, 1):
            moments.append(peer.clock())
            await peer.send(b"".join(chunk(line) for line in piece.splitlines(keepends=True)))
            await taken.reached(len(b"".join(pieces[:number])))
        moments.append(peer.clock())
        await peer.send(chunk(b""))

    async with stack.talking(script) as (_, transport):
        exchange, _ = await ask(transport, POST, taken)
        assert taken.body == b"".join(pieces)
        assert exchange.reads == len(pieces)
        stamps = sorted(set(taken.stamps))
        assert len(stamps) == len(pieces)
        for stamp, (before, after) in zip(stamps, pairwise(moments), strict=True):
            assert before < stamp < after
        assert exchange.first_byte is not None
        assert exchange.end is not None
        assert exchange.first_byte < moments[0]
        assert exchange.end > moments[-1]


@driven
async def test_the_first_byte_is_the_read_that_completed_the_head(stack: Stack) -> None:
    moments: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 20", b"0 OK\r\nContent-Le", b"ngth: 2\r\n")
        moments.append(peer.clock())
        await peer.send(b"\r\nok")

    async with stack.talking(script) as (_, transport):
        exchange, taken = await ask(transport)
        assert exchange.first_byte is not None
        assert exchange.first_byte > moments[0]
        assert taken.stamps == [exchange.first_byte]


@driven
async def test_a_large_answer(stack: Stack) -> None:
    large = LARGE[:2_000_000]
    pieces = b"".join(chunk(large[start : start + 1000]) for start in range(0, len(large), 1000))
    for raw in (response(large), CHUNKED + pieces + chunk(b"")):
        async with stack.talking(answering(raw)) as (_, transport):
            exchange, taken = await ask(transport)
            assert taken.body == large
            stamped = len(set(taken.stamps))
            assert stamped > 1
            # A packet that did not fit into one read has one stamp all the same.
            assert stamped <= exchange.reads if stack.name == "stamped" else stamped == exchange.reads


@settings(max_examples=30, deadline=None)
@given(bodies=st.lists(st.binary(min_size=1, max_size=40), max_size=8), cuts=st.sets(st.integers(1, 400), max_size=12))
@driven
async def test_splits_do_not_matter(stack: Stack, bodies: list[bytes], cuts: set[int]) -> None:
    raw = CHUNKED + b"".join(chunk(body) for body in [*bodies, b""])
    edges = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    parts = [raw[start:end] for start, end in pairwise(edges)]
    async with stack.talking(answering(*parts)) as (_, transport):
        _, taken = await ask(transport)
        assert taken.body == b"".join(bodies)


@settings(max_examples=40, deadline=None)
@given(
    head=st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", CHUNKED, b"HTTP/1.1 200 OK\r\n\r\n"]),
    rest=st.binary(),
)
@driven
async def test_nonsense_is_an_answer_or_a_transport_error(stack: Stack, head: bytes, rest: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + rest)
        peer.close()

    async with stack.talking(script) as (_, transport):
        with suppress(TransportError):
            await ask(transport)


# --- what is sent ------------------------------------------------------------------------------------------------


def recording(heard: list[Any]) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            heard.append(await peer.request())
            await peer.send(response(b"ok", "200 OK", b"Set-Cookie: session=1"))

    return script


@driven
async def test_the_request_is_sent_as_given(stack: Stack) -> None:
    given_headers = (
        ("Authorization", "Bearer k"),
        ("X-Tag", "a"),
        ("X-Tag", "b"),
        ("Content-Type", "application/json"),
    )
    request = Request("POST", "/v1/%7Ex/../y?a=%2F&b=c%20d&b=+", given_headers, '{"é": 1}'.encode())
    heard: list[Any] = []
    async with stack.talking(recording(heard)) as (server, transport):
        await ask(transport, request)
        await ask(transport, request)
        received = heard[1]
        assert received.line == "POST /v1/%7Ex/../y?a=%2F&b=c%20d&b=+ HTTP/1.1"
        assert received.body == request.body
        transport_own = {
            ("Host", f"127.0.0.1:{server.port}"),
            ("User-Agent", f"loadstone/{__version__}"),
            ("Accept-Encoding", "identity"),
            ("Content-Length", str(len(request.body))),
        }
        assert sorted(received.headers) == sorted([*given_headers, *transport_own])
        assert received.values("X-Tag") == ["a", "b"]


@driven
async def test_a_get_has_no_body(stack: Stack) -> None:
    heard: list[Any] = []
    async with stack.talking(recording(heard)) as (_, transport):
        await ask(transport, Request("GET", "/v1/models"))
        assert heard[0].line == "GET /v1/models HTTP/1.1"
        assert heard[0].values("Content-Length") in ([], ["0"])
        assert heard[0].values("Transfer-Encoding") == []


@driven
async def test_stamps_of_a_fresh_and_of_a_pooled_connection(stack: Stack) -> None:
    heard: list[Any] = []
    async with stack.talking(recording(heard)) as (server, transport):
        fresh, _ = await ask(transport, POST)
        pooled, _ = await ask(transport, POST)
        assert fresh.connect is not None
        assert fresh.connect > 0
        assert pooled.connect == 0
        for exchange, received in zip((fresh, pooled), heard, strict=True):
            assert exchange.sent is not None
            assert exchange.first_byte is not None
            assert exchange.sent < received.began <= received.ended < exchange.first_byte
        assert fresh.end is not None
        assert pooled.sent is not None
        assert fresh.end < pooled.sent
        assert server.connections == 1


@driven
async def test_a_large_body_is_sent_whole_to_a_slow_reader(stack: Stack) -> None:
    heard: list[Any] = []

    async def script(peer: Peer) -> None:
        await turns(50)
        await recording(heard)(peer)

    async with stack.talking(script) as (_, transport):
        for _ in range(2):
            exchange, taken = await ask(transport, Request("POST", "/", (), LARGE))
            assert taken.body == b"ok"
            assert heard[-1].body == LARGE
            assert exchange.sent is not None
            assert exchange.sent < heard[-1].began


@driven
async def test_an_answer_before_the_whole_body_was_sent(stack: Stack) -> None:
    """The rest of the body must not be taken for the next request, so the connection cannot be used again."""
    answered_twice = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(response(b"too large", "413 Content Too Large"))
        await answered_twice.wait()

    async with stack.talking(script) as (server, transport):
        exchange, taken = await ask(transport, Request("POST", "/", (), LARGE * 4))
        assert (exchange.status, taken.body) == (413, b"too large")
        exchange, _ = await ask(transport)
        assert (exchange.status, exchange.resent, server.connections) == (413, 0, 2)
        answered_twice.set()


@driven
async def test_a_switch_of_protocols_is_an_answer(stack: Stack) -> None:
    """Nobody asked for one: its status is all there is to it, and what follows is not HTTP."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n??")

    async with stack.talking(script) as (server, transport):
        for connections in (1, 2):
            exchange, taken = await ask(transport)
            assert (exchange.status, taken.body, server.connections) == (101, b"", connections)


@pytest.mark.parametrize(
    ("target", "header"),
    [
        (Target("model.test", 80), "model.test"),
        (Target("model.test", 443), "model.test:443"),
        (Target("model.test", 443, secure=True), "model.test"),
        (Target("model.test", 80, secure=True), "model.test:80"),
        (Target("::1", 80), "[::1]"),
        (Target("::1", 8000), "[::1]:8000"),
        (Target("localhost", 80, unix="/run/model"), "localhost"),
    ],
)
def test_the_host_header(target: Target, header: str) -> None:
    assert host_header(target) == header


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets in asyncio")
@driven
async def test_unix_sockets(stack: Stack, tmp_path: Path) -> None:
    heard: list[Any] = []
    async with stack.talking(recording(heard), unix=tmp_path / "socket") as (_, transport):
        for fresh in (True, False):
            exchange, taken = await ask(transport, POST)
            assert (taken.body, bool(exchange.connect)) == (b"ok", fresh)
        assert [received.values("Host") for received in heard] == [["localhost"]] * 2


@driven
async def test_ipv6(stack: Stack) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    heard: list[Any] = []
    async with stack.talking(recording(heard), address="::1") as (server, transport):
        await ask(transport)
        assert heard[0].values("Host") == [f"[::1]:{server.port}"]


@driven
async def test_cookies_are_not_kept(stack: Stack) -> None:
    heard: list[Any] = []
    async with stack.talking(recording(heard)) as (_, transport):
        await ask(transport)
        await ask(transport)
        assert heard[1].values("Cookie") == []


# --- the pool ----------------------------------------------------------------------------------------------------


@driven
async def test_hundreds_at_once_and_all_reused(stack: Stack) -> None:
    """Nothing is answered before 300 requests are there, so there must be as many connections."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2048)), hard))
    together = asyncio.Barrier(300)

    async def script(peer: Peer) -> None:
        while True:
            received = await peer.request()
            await together.wait()
            await peer.send(response(received.body))

    async with stack.talking(script) as (server, transport):
        for reused in (False, True):
            requests = [Request("POST", "/", (), b"%d" % n) for n in range(300)]
            answers = await asyncio.gather(*(ask(transport, request) for request in requests))
            assert [taken.body for _, taken in answers] == [request.body for request in requests]
            assert {exchange.connect == 0 for exchange, _ in answers} == {reused}
            assert server.connections == 300


@driven
async def test_the_connection_last_used_is_used_first(stack: Stack) -> None:
    if stack.name == "aiohttp":
        pytest.skip("aiohttp's pool is first in, first out")
    both = asyncio.Barrier(2)
    first_done = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await both.wait()
        if peer.number == 2:
            await first_done.wait()
        while True:
            await peer.send(response(b"%d" % peer.number))
            await peer.request()

    async with stack.talking(script) as (_, transport):
        asked = [asyncio.create_task(ask(transport)) for _ in range(2)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        first_done.set()
        await asyncio.wait(asked)
        assert [(await ask(transport))[1].body for _ in range(3)] == [b"2"] * 3


@pytest.mark.parametrize(
    "raw", [response(b"ok", "200 OK", b"Connection: close"), b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"]
)
@driven
async def test_the_client_closes_where_the_server_says_so(stack: Stack, raw: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(raw)
        await peer.gone()

    async with stack.talking(script) as (server, transport):
        for number in (1, 2):
            exchange, _ = await ask(transport)
            assert (exchange.resent, server.connections) == (0, number)


@pytest.mark.parametrize("extra", [response(b"second"), b"garbage", b"\r\n"])
@driven
async def test_what_nobody_asked_for_does_not_reach_the_next_request(stack: Stack, extra: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"first"))
        await peer.send(extra if peer.number == 1 else b"")
        await peer.request()
        await peer.send(response(b"third"))

    async with stack.talking(script) as (_, transport):
        _, taken = await ask(transport)
        assert taken.body == b"first"
        await turns(10)
        _, taken = await ask(transport)
        assert taken.body in (b"first", b"third")


@driven
async def test_two_answers_in_one_read_do_not_reach_the_next_request(stack: Stack) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"first") + (response(b"second") if peer.number == 1 else b""))
        await peer.gone()

    async with stack.talking(script) as (server, transport):
        for number in (1, 2):
            _, taken = await ask(transport)
            assert (taken.body, server.connections) == (b"first", number)


@driven
async def test_head_requests_do_not_hang(stack: Stack) -> None:
    async with stack.talking(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")) as (_, transport):
        exchange, taken = await ask(transport, Request("HEAD", "/"))
        assert (exchange.status, taken.body) == (200, b"")


# --- connections that go away ------------------------------------------------------------------------------------

BEFORE = {
    "close": "the server closed the connection before it answered",
    "reset": "connection reset by the server before it answered",
}
REQUESTS = {"get": Request("GET", "/"), "post": POST, "large": Request("POST", "/", (), LARGE)}


@pytest.mark.parametrize("ending", BEFORE)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.usefixtures("_slow_machine")
@driven
async def test_a_stale_connection_is_replaced_once(stack: Stack, ending: str, request_: Request) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"%d" % peer.number))
        await peer.request()
        getattr(peer, ending)()

    async with stack.talking(script) as (server, transport):
        await ask(transport)
        exchange, taken = await ask(transport, request_)
        assert (exchange.resent, taken.body, server.connections) == (1, b"2", 2)
        assert exchange.connect
        assert exchange.sent is not None
        assert exchange.first_byte is not None
        assert exchange.sent < exchange.first_byte


@pytest.mark.parametrize("ending", BEFORE)
@driven
async def test_connections_closed_while_idle_are_no_failure(stack: Stack, ending: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"ok"))
        getattr(peer, ending)()

    async with stack.talking(script) as (server, transport):
        for number in range(1, 4):
            _, taken = await ask(transport)
            assert (taken.body, server.connections) == (b"ok", number)


@pytest.mark.parametrize("ending", BEFORE)
@pytest.mark.usefixtures("_slow_machine")
@driven
async def test_many_stale_connections_cost_one_retry_each(stack: Stack, ending: str) -> None:
    """The retry must not be spent on another stale connection of the pool."""
    together = asyncio.Barrier(5)

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number <= 5:
            await together.wait()
        await peer.send(response(b"%d" % peer.number))
        await peer.request()
        getattr(peer, ending)()

    async with stack.talking(script) as (server, transport):
        await asyncio.gather(*(ask(transport) for _ in range(5)))
        exchange, taken = await ask(transport)
        assert (exchange.resent, taken.body, server.connections) == (1, b"6", 6)


@pytest.mark.parametrize("ending", BEFORE)
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@driven
async def test_a_fresh_connection_is_not_replaced(stack: Stack, ending: str, request_: Request) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        getattr(peer, ending)()

    async with stack.talking(script) as (server, transport):
        failure, exchange, _ = await refused(transport, request_)
        assert failure == Failure("connect", BEFORE[ending])
        assert (server.connections, exchange.resent, exchange.first_byte, exchange.status) == (
            1,
            0,
            None,
            None,
        )
        assert exchange.sent is not None
        assert exchange.connect


@pytest.mark.parametrize("ending", BEFORE)
@pytest.mark.usefixtures("_slow_machine")
@driven
async def test_a_retry_that_fails_is_the_failure(stack: Stack, ending: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(response(b"ok"))
            await peer.request()
        getattr(peer, ending)()

    async with stack.talking(script) as (server, transport):
        await ask(transport)
        failure, exchange, _ = await refused(transport)
        assert (failure, exchange.resent) == (Failure("connect", BEFORE[ending]), 1)
        assert server.connections == 2


@pytest.mark.parametrize("wait", [0.005, 0.05])
@pytest.mark.parametrize("ending", BEFORE)
@pytest.mark.parametrize("request_", [Request("GET", "/"), POST], ids=["get", "post"])
@driven
async def test_a_request_that_was_worked_on_is_not_sent_again(
    stack: Stack, request_: Request, ending: str, wait: float
) -> None:
    requests = 0

    async def script(peer: Peer) -> None:
        nonlocal requests
        for number in range(2):
            await peer.request()
            requests += 1
            if number:
                await asyncio.sleep(wait)
                getattr(peer, ending)()
            else:
                await peer.send(response(b"ok"))

    async with stack.talking(script, clock=time.monotonic_ns) as (server, transport):
        await ask(transport)
        failure, exchange, _ = await refused(transport, request_)
        assert failure == Failure("connect", BEFORE[ending])
        assert (exchange.resent, exchange.resend_delay, exchange.connect) == (0, 0, 0)
        assert (requests, server.connections) == (2, 1)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("ending", BEFORE)
@driven
async def test_each_request_that_is_killed_is_a_failure(stack: Stack, ending: str, every: int) -> None:
    """After `every` answers a connection is killed in the middle of its next request."""

    async def script(peer: Peer) -> None:
        for _ in range(every):
            await peer.request()
            await peer.send(response(b"ok"))
        await peer.request()
        await asyncio.sleep(0.005)
        getattr(peer, ending)()

    async with stack.talking(script, clock=time.monotonic_ns) as (server, transport):
        for number in range(3):
            for _ in range(every):
                assert (await ask(transport))[0].resent == 0
            failure, exchange, _ = await refused(transport, POST)
            assert (failure.kind, exchange.resent, server.connections) == ("connect", 0, number + 1)


@pytest.mark.usefixtures("_slow_machine")
@pytest.mark.parametrize("ending", BEFORE)
@driven
async def test_a_resent_request_was_sent_when_it_was_sent_last(stack: Stack, ending: str) -> None:
    """What lies between the two sends is known, to be no lag of the client's."""
    reads: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(response(b"1"))
            reads.append((await peer.request()).ended)
            await asyncio.sleep(0.02)
            getattr(peer, ending)()
        else:
            await peer.send(response(b"2"))

    async with stack.talking(script, clock=time.monotonic_ns) as (_, transport):
        await ask(transport)
        began = time.monotonic_ns()
        exchange, _ = await ask(transport, POST)
        assert exchange.resent == 1
        assert exchange.sent is not None
        assert exchange.connect
        assert exchange.sent > reads[0] + 15_000_000
        assert exchange.resend_delay >= 15_000_000
        assert began + exchange.resend_delay + exchange.connect <= exchange.sent


@pytest.mark.usefixtures("_slow_machine")
@driven
async def test_a_request_that_finds_no_second_connection_was_sent_once(stack: Stack) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"1"))
        await peer.request()
        server._server.close()
        peer.reset()

    async with stack.talking(script) as (server, transport):
        await ask(transport)
        failure, exchange, _ = await refused(transport, POST)
        assert failure.kind == "connect"
        assert (exchange.resent, exchange.resend_delay) == (0, 0)
        assert exchange.sent is not None


def test_a_close_is_a_race_within_a_round_trip_and_a_slack() -> None:
    race = common.KEEP_ALIVE_RACE
    assert common.is_keep_alive_race(100, 100 + race, 0)
    assert not common.is_keep_alive_race(100, 101 + race, 0)
    assert common.is_keep_alive_race(100, 150 + race, 50)
    assert common.is_keep_alive_race(None, 10**12, 0)
    assert race < 5_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_the_round_trip_is_the_kernels() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, socket.create_connection(listening.getsockname()) as sock:
        assert 0 <= common.shortest_round_trip(sock.fileno()) < 100_000_000
        assert sock.getpeername() == listening.getsockname()
    one, other = socket.socketpair()
    with one, other:
        assert common.shortest_round_trip(one.fileno()) == 0
    assert common.shortest_round_trip(-1) == 0


@driven
async def test_closed_right_after_accept(stack: Stack) -> None:
    async def script(peer: Peer) -> None:
        peer.close()

    async with stack.talking(script) as (server, transport):
        failure, exchange, _ = await refused(transport, POST)
        assert failure.kind == "connect"
        assert failure.message in BEFORE.values()
        assert (server.connections, exchange.resent) == (1, 0)


CUT = {
    "in the status line": (b"HTTP/1.", None, b""),
    "in the head": (b"HTTP/1.1 200 OK\r\nContent-", None, b""),
    "after an interim head": (b"HTTP/1.1 100 Continue\r\n\r\n", None, b""),
    "after the head": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, b""),
    "in the length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 200, b"ab"),
    "before a chunk": (CHUNKED, 200, b""),
    "in a chunk size": (CHUNKED + b"1", 200, b""),
    "in a chunk": (CHUNKED + b"5\r\nab", 200, b"ab"),
    "after a chunk": (CHUNKED + chunk(b"ab"), 200, b"ab"),
    "in the last chunk": (CHUNKED + chunk(b"ab") + b"0\r\n", 200, b"ab"),
    "in the trailers": (CHUNKED + chunk(b"ab") + b"0\r\nX-Cost: 1\r\n", 200, b"ab"),
}


@pytest.mark.parametrize("ending", BEFORE)
@pytest.mark.parametrize("pooled", [False, True], ids=["fresh", "pooled"])
@pytest.mark.parametrize("where", CUT)
@driven
async def test_an_answer_cut_short_is_truncated(stack: Stack, where: str, pooled: bool, ending: str) -> None:
    raw, status, body = CUT[where]

    async def script(peer: Peer) -> None:
        if pooled:
            await peer.request()
            await peer.send(response(b"ok"))
        await peer.request()
        await peer.send(raw)
        await turns(5)
        getattr(peer, ending)()

    async with stack.talking(script) as (server, transport):
        if pooled:
            await ask(transport)
        failure, exchange, taken = await refused(transport, POST)
        assert failure.kind == "truncated"
        assert {"close": "closed", "reset": "reset"}[ending] in failure.message
        assert (exchange.status, taken.body, exchange.resent) == (status, body, 0)
        assert (exchange.first_byte is None) == (status is None)
        assert server.connections == 1


@driven
async def test_a_reset_does_not_end_a_body_without_length(stack: Stack) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await turns(5)
        peer.reset()

    async with stack.talking(script) as (_, transport):
        failure, exchange, taken = await refused(transport)
        assert (failure.kind, exchange.status, taken.body) == ("truncated", 200, b"half")


@driven
async def test_a_reset_right_behind_the_data_is_noticed(stack: Stack) -> None:
    """Data and reset are there when the client looks: what is left of the answer may be lost, its end may not."""

    async def script(peer: Peer) -> None:
        await peer.request()
        raw = peer.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.write(raw.fileno(), CHUNKED + chunk(b"ab"))
        peer.writer.transport.abort()

    async with stack.talking(script) as (_, transport):
        for _ in range(20):
            failure, _, _ = await refused(transport)
            assert failure.kind in ("connect", "truncated")
            assert "reset" in failure.message


NOT_HTTP = {
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", None),
    "zeros": (bytes(20), None),
    "tls alert": (b"\x15\x03\x03\x00\x02\x02\x16", None),
    "http 2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80", None),
    "status word": (b"HTTP/1.1 OK\r\n\r\n", None),
    "status letters": (b"HTTP/1.1 2xx OK\r\n\r\n", None),
    "length letters": (b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nabcde", None),
    "length negative": (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", None),
    "length twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", None),
    "header name": (b"HTTP/1.1 200 OK\r\nbad header: 1\r\n\r\n", None),
    "chunk size": (CHUNKED + b"zz\r\nab\r\n", 200),
    "chunk end": (CHUNKED + b"2\r\nabXX0\r\n\r\n", 200),
    "later chunk size": (CHUNKED + chunk(b"ab") + b"!\r\n", 200),
}


@pytest.mark.parametrize("splitting", [False, True], ids=["whole", "split"])
@pytest.mark.parametrize("what", NOT_HTTP)
@driven
async def test_what_is_not_http_is_a_protocol_failure(stack: Stack, what: str, splitting: bool) -> None:
    """The server leaves the connection open: only the client can end this."""
    raw, status = NOT_HTTP[what]
    head = raw.find(b"\r\n\r\n") + 4 if status else len(raw) // 2

    async def script(peer: Peer) -> None:
        await peer.request()
        await (peer.send(raw[:head], raw[head:]) if splitting else peer.send(raw))
        await peer.gone()

    async with stack.talking(script) as (_, transport):
        failure, exchange, _ = await refused(transport)
        assert failure.kind == "protocol"
        assert failure.message.startswith("the answer is not HTTP/1.1")
        assert "\n" not in failure.message
        assert exchange.status == (status if splitting else exchange.status)


# --- connections that do not come about --------------------------------------------------------------------------


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def opening_fails(stack: Stack, target: Target, patience: float = 5.0) -> Failure:
    """The failure of one exchange with a target that cannot be connected to."""
    failures: list[Failure] = []

    async def main() -> None:
        transport = stack.open(target, Options(stack.clock, patience, arrival_clock=stack.arrivals))
        failure, exchange, _ = await refused(transport, POST)
        assert (exchange.connect, exchange.sent, exchange.status, exchange.resent) == (None, None, None, 0)
        failures.append(failure)
        await transport.close()

    stack.run(main())
    return failures[0]


def test_refused(stack: Stack) -> None:
    port = unused_port()
    assert opening_fails(stack, Target("127.0.0.1", port)) == Failure(
        "connect", f"127.0.0.1:{port}: connection refused"
    )


def test_a_name_that_does_not_resolve(stack: Stack) -> None:
    host = ".".join(["x" * 63] * 4 + ["invalid"])  # too long for any name server to be asked
    failure = opening_fails(stack, Target(host, 80))
    assert failure.kind == "connect"
    assert failure.message.startswith(f"the host name {host} does not resolve: ")


def test_unreachable(stack: Stack) -> None:
    failure = opening_fails(stack, Target("255.255.255.255", 80))
    assert failure.kind == "connect"
    assert failure.message.startswith("255.255.255.255:80: ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets in asyncio")
def test_no_such_unix_socket(stack: Stack, tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    assert opening_fails(stack, Target("localhost", 80, unix=path)) == Failure("connect", f"{path}: no such socket")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog refuses")
def test_nobody_accepts(stack: Stack) -> None:
    with socket.socket() as deaf, socket.socket() as one, socket.socket() as two:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            assert filler.connect_ex(deaf.getsockname()) == errno.EINPROGRESS
        failure = opening_fails(stack, Target("127.0.0.1", deaf.getsockname()[1]), patience=0.1)
        assert failure == Failure("timeout", "no connection after 0.1 s (--connect-timeout)")


@driven
async def test_nobody_answers_the_tls_handshake(stack: Stack) -> None:
    async with stack.talking(silent, patience=0.1, secure=True) as (server, transport):
        failure, exchange, _ = await refused(transport)
        assert failure == Failure("timeout", "no connection after 0.1 s (--connect-timeout)")
        assert (exchange.connect, exchange.sent, server.connections) == (None, None, 1)


@driven
async def test_the_connect_timeout_ends_with_the_connection(stack: Stack) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.1)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await asyncio.sleep(0.1)
        await peer.send(b"ok")

    async with stack.talking(script, patience=0.05) as (_, transport):
        _, taken = await ask(transport)
        assert taken.body == b"ok"


# --- TLS ---------------------------------------------------------------------------------------------------------


class Certificates(NamedTuple):
    """A server for 127.0.0.1 and localhost, one for another name, a client that trusts both, one that trusts all."""

    server: ssl.SSLContext
    other: ssl.SSLContext
    trusting: ssl.SSLContext
    insecure: ssl.SSLContext


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    authority = trustme.CA()
    here, other = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(here)
    authority.issue_cert("other.test").configure_cert(other)
    trusting, insecure = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    insecure.check_hostname = False
    insecure.verify_mode = ssl.CERT_NONE
    return Certificates(here, other, trusting, insecure)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@driven
async def test_tls_with_a_trusted_certificate(stack: Stack, certificates: Certificates, host: str) -> None:
    script = answering(CHUNKED, chunk(LARGE[:100_000]), chunk(b""))
    talking = stack.talking(script, certificates.trusting, tls=certificates.server, host=host)
    async with talking as (server, transport):
        for fresh in (True, False):
            exchange, taken = await ask(transport, REQUESTS["large"])
            assert taken.body == LARGE[:100_000]
            assert exchange.reads == len(set(taken.stamps))
            assert bool(exchange.connect) == fresh
        assert server.connections == 1


@driven
async def test_tls_without_verification(stack: Stack, certificates: Certificates) -> None:
    talking = stack.talking(answering(response(b"ok")), certificates.insecure, tls=certificates.other)
    async with talking as (_, transport):
        assert (await ask(transport))[1].body == b"ok"


@pytest.mark.parametrize(
    ("server", "trust"),
    [("server", None), ("other", "trusting"), ("other", None)],
    ids=["unknown authority", "other host", "both"],
)
@driven
async def test_a_certificate_that_is_not_trusted(
    stack: Stack, certificates: Certificates, server: str, trust: str | None
) -> None:
    trusted = getattr(certificates, trust) if trust else None
    talking = stack.talking(silent, trusted, tls=getattr(certificates, server))
    async with talking as (serving, transport):
        failure, exchange, _ = await refused(transport, POST)
        assert failure.kind == "tls"
        assert failure.message.startswith(f"TLS with 127.0.0.1:{serving.port} failed: ")
        assert failure.message.endswith(" (--ca-file FILE trusts a certificate, --insecure trusts all)")
        assert (exchange.connect, exchange.sent) == (None, None)


async def plain(peer: Peer) -> None:
    """What a plain HTTP server makes of a ClientHello."""
    await peer.reader.read(1)
    await peer.send(response(b"", "400 Bad Request"))


async def hanging_up(peer: Peer) -> None:
    await peer.reader.read(1)
    peer.close()


async def resetting(peer: Peer) -> None:
    await peer.reader.read(1)
    peer.reset()


@pytest.mark.parametrize("script", [plain, hanging_up, resetting])
@driven
async def test_a_handshake_that_fails(stack: Stack, script: Script) -> None:
    async with stack.talking(script, secure=True) as (server, transport):
        failure, exchange, _ = await refused(transport)
        assert failure.kind == "tls"
        assert failure.message.startswith(f"TLS with 127.0.0.1:{server.port} failed: ")
        assert ("plain http://" in failure.message) == (script is plain)
        assert (exchange.connect, exchange.sent) == (None, None)


@pytest.mark.parametrize("ending", BEFORE)
@driven
async def test_tls_connections_that_go_away(stack: Stack, certificates: Certificates, ending: str) -> None:
    """Stale, then cut short: as without TLS. The connection of a retry need not be kept."""

    async def script(peer: Peer) -> None:
        if peer.number < 3:
            await peer.request()
            await peer.send(response(b"%d" % peer.number))
        await peer.request()
        if peer.number > 1:
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
            await turns(5)
        getattr(peer, ending)()

    async with stack.talking(script, certificates.trusting, tls=certificates.server) as (server, transport):
        await ask(transport)
        exchange, taken = await ask(transport)
        assert (exchange.resent, taken.body, server.connections) == (1, b"2", 2)
        failure, exchange, taken = await refused(transport)
        assert (failure.kind, taken.body) == ("truncated", b"ab")


# --- cancelling --------------------------------------------------------------------------------------------------


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200", CHUNKED, CHUNKED + chunk(b"ab") + b"5\r\nx"])
@pytest.mark.parametrize("pooled", [False, True], ids=["fresh", "pooled"])
@driven
async def test_cancelling_closes_the_connection(stack: Stack, raw: bytes, pooled: bool) -> None:
    waiting, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        if pooled or peer.number == 2:
            await peer.request()
            await peer.send(response(b"%d" % peer.number))
        await peer.request()
        await peer.send(raw)
        waiting.set()
        await peer.gone()
        gone.set()

    async with stack.talking(script) as (server, transport):
        if pooled:
            await ask(transport)
        task = asyncio.create_task(ask(transport))
        await waiting.wait()
        await cancelled(task)
        await gone.wait()
        exchange, taken = await ask(transport)
        assert (taken.body, exchange.resent, server.connections) == (b"2", 0, 2)
        assert exchange.connect


@driven
async def test_cancelling_while_the_body_is_being_sent(stack: Stack) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        if peer.number == 2:
            await peer.request()
            await peer.send(response(b"ok"))
            return
        await peer.reader.readuntil(b"\r\n\r\n")
        begun.set()
        await gone.wait()

    async with stack.talking(script) as (server, transport):
        task = asyncio.create_task(ask(transport, Request("POST", "/", (), LARGE * 4)))
        await begun.wait()
        await cancelled(task)
        _, taken = await ask(transport)
        assert (taken.body, server.connections) == (b"ok", 2)
        gone.set()


@driven
async def test_cancelling_while_connecting(stack: Stack, certificates: Certificates) -> None:
    """In the middle of a TLS handshake; the next exchange is let through to a server that answers."""
    waiting, gone = asyncio.Event(), asyncio.Event()
    async with Server(answering(response(b"ok")), tls=certificates.server) as behind:

        async def script(peer: Peer) -> None:
            if peer.number == 2:
                await relay(peer, behind.port)
            waiting.set()
            await peer.gone()
            gone.set()

        async with stack.talking(script, certificates.trusting, secure=True) as (_, transport):
            task = asyncio.create_task(ask(transport))
            await waiting.wait()
            await cancelled(task)
            await gone.wait()
            _, taken = await ask(transport)
            assert taken.body == b"ok"


@driven
async def test_cancelling_at_any_moment_leaves_nothing_behind(stack: Stack) -> None:
    """After each possible number of rounds of the event loop; the exchange may have been complete by then."""
    async with stack.talking(answering(CHUNKED + chunk(b"ok"), chunk(b""))) as (_, transport):
        for rounds in range(40):
            task = asyncio.create_task(ask(transport, POST))
            await turns(rounds)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            _, taken = await ask(transport, POST)
            assert taken.body == b"ok"


@driven
async def test_cancelling_what_is_complete_leaves_the_next_user_of_the_connection_alone(stack: Stack) -> None:
    """The answer is there and its connection in use again, when the task that asked is cancelled before it wakes up."""
    later: list[asyncio.Task[tuple[Exchange, Taken]]] = []

    def sink(_data: bytes, _at: int) -> None:
        later.append(asyncio.create_task(ask(transport)))
        asyncio.get_running_loop().call_soon(task.cancel)

    async with stack.talking(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ok")) as (_, transport):
        task = asyncio.create_task(transport.exchange(POST, Exchange(sink)))
        with suppress(asyncio.CancelledError):
            await task
        exchange, taken = await later[0]
        assert (taken.body, exchange.resent) == (b"ok", 0)


@driven
async def test_closing_twice_and_closing_unused(stack: Stack) -> None:
    async with stack.talking(answering(response(b"ok"))) as (_, transport):
        await transport.close()
    async with stack.talking(answering(response(b"ok"))) as (_, transport):
        await ask(transport)
        await transport.close()


# --- proxies of the environment: aiohttp's own -------------------------------------------------------------------


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


def over_proxy(heard: list[Any], refusal: bytes = b"") -> Script:
    """A proxy: answers plain requests itself, and opens tunnels to local ports unless it refuses."""

    async def script(peer: Peer) -> None:
        while True:
            received = await peer.request()
            heard.append(received)
            if not received.line.startswith("CONNECT "):
                await peer.send(refusal or response(b"from the proxy"))
                continue
            await peer.send(refusal or b"HTTP/1.1 200 Connection established\r\n\r\n")
            if not refusal:
                await relay(peer, int(received.line.split()[1].rpartition(":")[2]))
                return

    return script


@pytest.mark.parametrize("login", ["", "user:secret@"])
def test_plain_requests_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    heard: list[Any] = []

    async def main() -> None:
        async with Server(over_proxy(heard)) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{login}127.0.0.1:{proxy.port}")
            async with closing(Aiohttp(Target("model.test", 8000), Options(proxy.clock))) as transport:
                for fresh in (True, False):
                    exchange, taken = await ask(transport, Request("POST", "/v1?a=%2F", (), b"{}"))
                    assert (taken.body, bool(exchange.connect)) == (b"from the proxy", fresh)

    run(main())
    for received in heard:
        assert received.line == "POST http://model.test:8000/v1?a=%2F HTTP/1.1"
        assert received.values("Host") == ["model.test:8000"]
        assert received.values("Proxy-Authorization") == (["Basic dXNlcjpzZWNyZXQ="] if login else [])
        assert received.values("Authorization") == []


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_tls_goes_through_a_tunnel(monkeypatch: pytest.MonkeyPatch, certificates: Certificates, loop: Loop) -> None:
    heard: list[Any] = []

    async def main() -> None:
        script = answering(CHUNKED, chunk(b"through "), chunk(b"the tunnel"), chunk(b""))
        async with Server(script, tls=certificates.server) as server, Server(over_proxy(heard)) as proxy:
            monkeypatch.setenv("https_proxy", f"127.0.0.1:{proxy.port}")
            options = Options(proxy.clock, tls=certificates.trusting)
            async with closing(Aiohttp(server.target(), options)) as transport:
                for fresh in (True, False):
                    exchange, taken = await ask(transport, POST)
                    assert (taken.body, bool(exchange.connect)) == (b"through the tunnel", fresh)
                    assert exchange.reads == len(set(taken.stamps))
        assert [received.line for received in heard] == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]

    run(main(), loop)


@pytest.mark.parametrize("unix", [False, True], ids=["no_proxy", "unix"])
def test_what_goes_past_the_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unix: bool) -> None:
    if unix and sys.platform == "win32":
        pytest.skip("Windows has no unix sockets in asyncio")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("no_proxy", "" if unix else "127.0.0.1")

    async def main() -> None:
        place = tmp_path / "socket" if unix else None
        async with Stack("aiohttp", "asyncio").talking(answering(response(b"ok")), unix=place) as (_, transport):
            assert (await ask(transport))[1].body == b"ok"

    run(main())


@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    port = unused_port()
    monkeypatch.setenv("https_proxy" if secure else "http_proxy", f"http://user:secret@127.0.0.1:{port}")

    async def main() -> None:
        async with closing(Aiohttp(Target("model.test", 443, secure), Options(ticking()))) as transport:
            failure, _, _ = await refused(transport)
            assert failure == Failure("connect", f"the proxy 127.0.0.1:{port}: connection refused")

    run(main())


def test_a_proxy_that_refuses_the_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Server(over_proxy([], response(b"", "407 Proxy Authentication Required"))) as proxy:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
            async with closing(Aiohttp(Target("model.test", 443, secure=True), Options(proxy.clock))) as transport:
                failure, _, _ = await refused(transport)
                says = "the proxy refused the tunnel: 407 Proxy Authentication Required"
                assert failure == Failure("connect", says)

    run(main())


def test_passwords_of_netrc_are_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    heard: list[Any] = []

    async def main() -> None:
        async with Stack("aiohttp", "asyncio").talking(recording(heard)) as (_, transport):
            await ask(transport)
            await ask(transport, Request("GET", "/", (("Authorization", "Bearer k"),)))

    run(main())
    assert [received.values("Authorization") for received in heard] == [[], ["Bearer k"]]


def test_what_aiohttp_cannot_do_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no TLS over a unix socket"):
        Aiohttp(Target("localhost", 443, secure=True, unix="/run/model"), Options(ticking()))
    monkeypatch.setenv("http_proxy", "socks5://user:secret@127.0.0.1:1080")
    with pytest.raises(UsageError, match=r"set HTTP_PROXY to an http:// address or unset it; a socks5 proxy") as caught:
        Aiohttp(Target("model.test", 80), Options(ticking()))
    assert "secret" not in str(caught.value)
