"""Proxies of the environment, which only aiohttp uses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.records import Failure, FailureCause
from loadstone.transport import Options, Request, Target, factory
from loadstone.transport.aiohttp_client import Aiohttp, environment_proxy
from support.scripted_server import (
    CHUNKED,
    Loop,
    Peer,
    Script,
    Server,
    answering,
    ask,
    chunk,
    response,
    run,
    ticking,
)
from support.transports import LOOPS, POST, Certificates, Stack, closing, recording, refused, relay, unused_port


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
            assert failure == Failure(FailureCause.CONNECT, f"the proxy 127.0.0.1:{port}: connection refused")

    run(main())


def test_a_proxy_that_refuses_the_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Server(over_proxy([], response(b"", "407 Proxy Authentication Required"))) as proxy:
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
            async with closing(Aiohttp(Target("model.test", 443, secure=True), Options(proxy.clock))) as transport:
                failure, _, _ = await refused(transport)
                says = "the proxy refused the tunnel: 407 Proxy Authentication Required"
                assert failure == Failure(FailureCause.CONNECT, says)

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


@pytest.mark.parametrize(
    ("environment", "target", "name"),
    [
        ({"http_proxy": "http://p:1"}, Target("gpu7", 80), "http_proxy"),
        ({"HTTP_PROXY": "http://p:1"}, Target("gpu7", 80), "HTTP_PROXY"),
        ({"HTTPS_PROXY": "http://p:1"}, Target("gpu7", 443, secure=True), "HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://p:1"}, Target("gpu7", 80), None),
        ({"ALL_PROXY": "http://p:1"}, Target("gpu7", 80), "ALL_PROXY"),
        ({"http_proxy": "http://p:1", "no_proxy": "gpu7,other"}, Target("gpu7", 80), None),
        ({"http_proxy": "http://p:1"}, Target("127.0.0.1", 80), None),
        ({"http_proxy": "http://p:1"}, Target("localhost", 80), None),
        ({"http_proxy": "http://p:1"}, Target("localhost", 0, unix="/s"), None),
        ({"http_proxy": ""}, Target("gpu7", 80), None),
        ({}, Target("gpu7", 80), None),
    ],
)
def test_a_proxy_that_is_not_used_is_known(
    environment: dict[str, str], target: Target, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert factory.proxy_variable(target) == name


def test_aiohttp_takes_the_proxy_for_all_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "http://p.test:1")
    assert str(environment_proxy(Target("gpu7", 80))).startswith("http://p.test:1")
