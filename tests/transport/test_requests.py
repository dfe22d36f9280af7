"""What every transport sends, and what it keeps in its pool of connections."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from loadstone.transport import Request, Target
from loadstone.transport.common import host_header
from loadstone.version import __version__
from support.scripted_server import (
    Peer,
    answering,
    ask,
    response,
    turns,
)
from support.transports import LARGE, POST, Stack, driven, recording


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
