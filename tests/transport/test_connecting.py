"""Connections that cannot be opened, TLS, and cancelling."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from loadstone.records import Failure, FailureCause
from loadstone.transport import Exchange, Options, Request, Target
from support.scripted_server import (
    CHUNKED,
    Peer,
    Script,
    Server,
    Taken,
    answering,
    ask,
    chunk,
    response,
    turns,
)
from support.transports import (
    BEFORE,
    LARGE,
    POST,
    REQUESTS,
    Certificates,
    Stack,
    driven,
    refused,
    relay,
    silent,
    unused_port,
)


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
        FailureCause.CONNECT, f"127.0.0.1:{port}: connection refused"
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
    assert opening_fails(stack, Target("localhost", 80, unix=path)) == Failure(
        FailureCause.CONNECT, f"{path}: no such socket"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog refuses")
def test_nobody_accepts(stack: Stack) -> None:
    with socket.socket() as deaf, socket.socket() as one, socket.socket() as two:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            assert filler.connect_ex(deaf.getsockname()) == errno.EINPROGRESS
        failure = opening_fails(stack, Target("127.0.0.1", deaf.getsockname()[1]), patience=0.1)
        assert failure == Failure(FailureCause.TIMEOUT, "no connection after 0.1 s (--connect-timeout)")


@driven
async def test_nobody_answers_the_tls_handshake(stack: Stack) -> None:
    async with stack.talking(silent, patience=0.1, secure=True) as (server, transport):
        failure, exchange, _ = await refused(transport)
        assert failure == Failure(FailureCause.TIMEOUT, "no connection after 0.1 s (--connect-timeout)")
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
