"""Connections that are lost: stale ones, resets, truncated responses, and what is not HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
import time

import pytest

from loadstone.records import Failure, FailureCause
from loadstone.transport import Request, common
from support.scripted_server import (
    CHUNKED,
    Peer,
    ask,
    chunk,
    response,
    turns,
)
from support.transports import BEFORE, POST, REQUESTS, Stack, driven, refused


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
        assert failure == Failure(FailureCause.CONNECT, BEFORE[ending])
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
        assert (failure, exchange.resent) == (Failure(FailureCause.CONNECT, BEFORE[ending]), 1)
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
        assert failure == Failure(FailureCause.CONNECT, BEFORE[ending])
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
