"""Answers without an end, bytes that nobody asked for, and heads and bodies without limit."""

from __future__ import annotations

import asyncio
import os

import pytest

from loadstone.records import FailureCause
from loadstone.transport import Exchange, Request, common, connection
from loadstone.transport import aiohttp_client as other_client
from support.scripted_server import CHUNKED, Peer, Taken, ask, chunk, response, turns
from support.transports import Stack, driven, refused

LAST = b"data: [DONE]\n\n"
OPEN_ENDED = b"HTTP/1.1 200 OK\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
HEADS = {"chunked": CHUNKED, "sized": SIZED, "until the close": OPEN_ENDED}


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (common, connection, other_client):
        monkeypatch.setattr(module, "LINGER", 0.02)


class Satisfied(Taken):
    """A sink that needs nothing after the last event."""

    def __call__(self, data: bytes, at: int) -> bool | None:
        super().__call__(data, at)
        return self.body.endswith(LAST) or None


def piece(head: bytes, data: bytes) -> bytes:
    return chunk(data) if head is CHUNKED else data


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@driven
async def test_an_exchange_ends_when_its_sink_is_satisfied_and_the_body_does_not_end(stack: Stack, head: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head, piece(head, b"data: 1\n\n"), piece(head, LAST))
        if peer.number > 1:
            peer.close()

    async with stack.talking(script) as (server, transport):
        exchange, taken = await ask(transport, taken=Satisfied())
        assert taken.body == b"data: 1\n\n" + LAST
        assert exchange.unterminated
        assert exchange.end == taken.stamps[-1]  # the wait is no part of the answer's time

        # The connection is not used again; a close after the last event is no failure.
        exchange, taken = await ask(transport, taken=Satisfied())
        assert server.connections == 2
        assert exchange.unterminated == (head is not OPEN_ENDED)
        assert exchange.end is not None


@pytest.mark.parametrize("together", [True, False])
@driven
async def test_an_end_that_comes_after_the_last_event_is_awaited(stack: Stack, together: bool) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            if together:
                await peer.send(CHUNKED, chunk(LAST) + chunk(b""))
            else:
                await peer.send(CHUNKED, chunk(LAST), chunk(b""))

    async with stack.talking(script) as (server, transport):
        for _ in range(3):
            exchange, taken = await ask(transport, taken=Satisfied())
            assert not exchange.unterminated
            assert taken.body == LAST
        await asyncio.sleep(0.05)  # a timer that was left over would close the connection now
        await ask(transport, taken=Satisfied())
        assert server.connections == 1


@driven
async def test_a_sink_that_is_not_satisfied_waits_for_the_end(stack: Stack) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED, chunk(LAST))
        await asyncio.sleep(0.06)
        peer.close()

    async with stack.talking(script) as (_, transport):
        failure, exchange, _ = await refused(transport)
        assert failure.kind == FailureCause.TRUNCATED
        assert not exchange.unterminated


@pytest.mark.parametrize("evil", [response(b"evil"), response(b"evil")[:20], b"\0", b"HTTP/1.1 200 OK\r\n"])
@pytest.mark.parametrize("seen", [False, True])
@driven
async def test_bytes_that_nobody_asked_for_answer_no_request(stack: Stack, evil: bytes, seen: bool) -> None:
    """They lie in the socket before the next request is sent, whether the event loop has read them or not."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(response(b"%d" % peer.number))

    async with stack.talking(script) as (server, transport):
        await ask(transport)
        os.write(server.peers[0].writer.get_extra_info("socket").fileno(), evil)
        if seen:
            await turns(5)
        exchange, taken = await ask(transport)
        assert (taken.body, server.connections, exchange.resent) == (b"2", 2, 0)


@pytest.mark.parametrize("filler", [b"X-Filler: %b\r\n" % (b"x" * 1000), b"X: y\r\n"], ids=["large", "many"])
@driven
async def test_a_head_without_limit_is_a_failure(stack: Stack, filler: bytes) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        block = filler * (100_000 // len(filler))
        while True:
            await peer.send(block)
            sent += len(block)

    async with stack.talking(script) as (_, transport):
        failure, _, _ = await refused(transport)
        assert failure.kind == FailureCause.PROTOCOL
        assert sent < 20 * common.MAX_HEAD


@driven
async def test_a_head_of_ordinary_size_is_none(stack: Stack) -> None:
    fields = [b"X-Filler-%d: %b" % (number, b"x" * 4000) for number in range(12)]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(response(b"ok", "200 OK", *fields))

    async with stack.talking(script) as (_, transport):
        exchange, taken = await ask(transport)
        assert taken.body == b"ok"
        assert exchange.header(b"x-filler-11") == b"x" * 4000


@driven
async def test_an_error_body_without_limit_ends_with_what_was_needed(stack: Stack) -> None:
    class Bounded(Taken):
        def __call__(self, data: bytes, at: int) -> bool | None:
            if self.size < 100_000:
                super().__call__(data, at)
            return self.size >= 100_000 or None

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED.replace(b"200 OK", b"500 Oops"))
        while True:
            await peer.send(chunk(b"x" * 50_000))

    async with stack.talking(script) as (_, transport):
        exchange = Exchange(Bounded())
        await transport.exchange(Request("GET", "/"), exchange)
        assert exchange.status == 500
        assert exchange.unterminated


@driven
async def test_a_large_body_that_comes_at_once_is_no_large_head(stack: Stack) -> None:
    body = b"x" * (8 * common.MAX_HEAD)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(response(body))

    async with stack.talking(script) as (server, transport):
        for _ in range(3):
            exchange, taken = await ask(transport)
            assert taken.size == len(body)
            assert exchange.status == 200
        assert server.connections == 1
