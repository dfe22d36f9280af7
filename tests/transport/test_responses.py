"""What every transport makes of a response, on asyncio's own loop and on uvloop.

Order in time is asserted on a clock that counts its readings (see loopback.py), never on durations.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadstone.transport import Request, TransportError
from support.scripted_server import (
    CHUNKED,
    Peer,
    Received,
    Script,
    Taken,
    answering,
    ask,
    chunk,
    response,
)
from support.transports import LARGE, POST, Stack, driven


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
