"""The simulated server on raw sockets: truth, metrics, keys, connections, unix sockets and TLS."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.host.timer import TimerAlarm
from loadstone.sim.server import Server, serve
from loadstone.sim.settings import Settings
from support.sim_client import CHAT, TEXT, Client, capture, chat, one, posix, until


def test_truth(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        for number in range(3):
            reply = await client.ask("POST", CHAT, chat(5), X_Request_Id=f"mine-{number}")
            assert reply.events[0]["id"] == f"chatcmpl-mine-{number}"
        told = await client.ask("GET", "/truth")
        rows = [json.loads(line) for line in told.body.splitlines()]
        assert rows == server.truth
        for number, row in enumerate(rows):
            mine = f"mine-{number}"
            assert (row["number"], row["request_id"], row["id"]) == (number, mine, f"chatcmpl-{mine}")
            assert [at - row["received"] for at in row["planned"]] == [2e6, 3e6, 4e6, 5e6, 6e6]
            assert all(sent >= due for sent, due in zip(row["sent"], row["planned"], strict=True))
            assert row["sent"] == sorted(row["sent"])
            assert (row["tokens"], row["fault"], row["end"]) == (5, None, row["sent"][-1])
        assert (await client.ask("DELETE", "/truth")).status == 200
        assert (await client.ask("GET", "/truth")).body == b""
        client.close()

    live(test)


def test_truth_is_bounded(live: Any) -> None:
    async def test(server: Server) -> list[int]:
        client = await Client.to(server.url)
        for _ in range(4):
            await client.ask("POST", CHAT, chat(1))
        client.close()
        return [row["number"] for row in server.truth]

    assert live(test, truth_limit=2, ttft="0") == [2, 3]


def test_never_early_under_every_law(live: Any) -> None:
    async def test(server: Server) -> None:
        clients = [await Client.to(server.url) for _ in range(20)]
        await asyncio.gather(*(client.ask("POST", CHAT, chat(20)) for client in clients))
        assert len(server.truth) == 20
        for row in server.truth:
            assert len(row["sent"]) == 20
            assert all(sent >= due for sent, due in zip(row["sent"], row["planned"], strict=True))
            assert row["planned"] == sorted(row["planned"])
        for client in clients:
            client.close()

    live(test, ttft="uniform(0,5ms)", itl="exp(500us)")
    live(test, ttft="0", itl="0")


def test_metrics_count_the_tokens_sent(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        await client.ask("POST", CHAT, chat(7))
        await client.ask("POST", TEXT, {"prompt": "a b c", "max_tokens": 3, "n": 2})
        await client.ask("POST", CHAT, chat(None))
        await client.ask("POST", CHAT, chat(-1))
        text = (await client.ask("GET", "/metrics")).body.decode()
        found = dict(re.findall(r"^vllm:(\w+(?:\{.*\})?) (\S+)$", text, re.M))
        label = 'engine="0",model_name="sim"'
        assert found[f"prompt_tokens_total{{{label}}}"] == "11.0"
        assert found[f"generation_tokens_total{{{label}}}"] == "17.0"
        assert sum(row["tokens"] for row in server.truth) == 17
        assert found[f"num_requests_running{{{label}}}"] == "0.0"
        assert found[f"num_requests_waiting{{{label}}}"] == "0.0"
        assert found['request_success_total{engine="0",finished_reason="length",model_name="sim"}'] == "2.0"
        assert found['request_success_total{engine="0",finished_reason="stop",model_name="sim"}'] == "1.0"
        client.close()

    live(test, default_tokens=4)


def test_models_and_health(live: Any) -> None:
    reply, _ = live(one("GET", "/v1/models"), model="tiny", max_model_len=2048)
    theirs = json.loads(capture("vllm/models.json"))
    ours = json.loads(reply.body)
    assert list(ours["data"][0]) == list(theirs["data"][0])
    assert list(ours["data"][0]["permission"][0]) == list(theirs["data"][0]["permission"][0])
    assert (ours["data"][0]["id"], ours["data"][0]["max_model_len"]) == ("tiny", 2048)
    reply, _ = live(one("GET", "/health"))
    assert (reply.status, reply.body) == (200, b"")


def test_a_key(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            reply = await client.ask("POST", CHAT, chat(1), **headers)
            assert (reply.status, reply.body) == (401, b'{"error":"Unauthorized"}')
        assert (await client.ask("GET", "/v1/models")).status == 401
        assert (await client.ask("GET", "/health")).status == 200
        assert (await client.ask("POST", CHAT, chat(1), Authorization="Bearer secret")).status == 200
        client.close()

    live(test, api_key="secret")


def test_keep_alive_and_close(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        for stream in (True, False, True):
            assert (await client.ask("POST", CHAT, chat(2, stream=stream))).ending == "complete"
        assert len(server.connections) == 1
        reply = await client.ask("POST", CHAT, chat(2), Connection="close")
        assert (reply.ending, reply.headers["connection"]) == ("complete", "close")
        assert await client.reader.read() == b""
        client.close()

    live(test)


def test_requests_sent_ahead_wait_their_turn(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        for tokens in (3, 1):
            client.send("POST", CHAT, chat(tokens))
        replies = [await client.receive() for _ in range(2)]
        assert [len(reply.text.split()) for reply in replies] == [3, 1]
        client.close()

    live(test)


def test_a_request_in_pieces_and_with_expect(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        body = json.dumps(chat(2)).encode()
        head = f"POST {CHAT}?x=1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
        client.writer.write(head.encode())
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in body:
            client.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert len((await client.receive()).text.split()) == 2
        client.close()

    live(test)


def test_not_http(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        client.writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        reply = await client.receive()
        assert (reply.status, reply.body) == (400, b"Invalid HTTP request received.")
        assert await client.reader.read() == b""
        client.close()
        client = await Client.to(server.url)
        client.writer.write(b"POST /health HTTP/1.1\r\nContent-Length: x\r\n\r\n")
        assert (await client.receive()).status == 400
        client.close()

    live(test)


def test_a_client_that_leaves_is_forgotten(live: Any) -> None:
    async def test(server: Server) -> None:
        for stream in (True, False):
            client = await Client.to(server.url)
            client.send("POST", CHAT, chat(1000, stream=stream))
            if stream:
                await client.reader.readuntil(b'"content":" ')
            else:
                await until(lambda: server.state.counters.running == 1)
            client.close()
            await until(lambda: not server.connections)
        assert [row["end"] for row in server.truth] == [None, None]
        assert 0 < server.truth[0]["tokens"] < 1000
        assert server.truth[1]["tokens"] == 0
        assert server.state.counters.running == 0
        assert server.state.counters.finished["abort"] == 2
        assert server.state.counters.generated == server.truth[0]["tokens"]

    live(test)


def test_a_client_that_does_not_read_is_waited_for(live: Any) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        client.send("POST", CHAT, chat(60_000))
        await until(lambda: any(connection.paused for connection in server.connections))
        connection = next(iter(server.connections))
        held = connection._transport.get_write_buffer_size()
        await asyncio.sleep(0.02)
        assert connection._transport.get_write_buffer_size() == held
        data = bytearray()
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += await client.reader.read(1 << 20)
        assert data.count(b'"content":" ') == server.truth[0]["tokens"] == 60_000
        client.close()

    live(test, ttft="0", itl="0")


@posix
def test_unix_socket(live: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    Path(path).touch()
    with pytest.raises(UsageError, match="cannot listen on"):
        live(one("GET", "/health"), unix=path)
    os.unlink(path)
    reply, row = live(one("POST", CHAT, chat(4)), unix=path)
    assert (len(reply.text.split()), row["tokens"]) == (4, 4)
    assert not os.path.exists(path)


def test_tls(live: Any, tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    paths = [str(tmp_path / name) for name in ("cert", "key")]
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(paths[1])
    for pem in issued.cert_chain_pems:
        pem.write_to_path(paths[0], append=True)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def test(server: Server) -> None:
        assert server.url.startswith("https://127.0.0.1:")
        client = await Client.to(server.url, context)
        reply = await client.ask("POST", CHAT, chat(4))
        assert (reply.ending, len(reply.text.split())) == ("complete", 4)
        client.close()
        await asyncio.sleep(0.01)

    live(test, certfile=paths[0], keyfile=paths[1])
    with pytest.raises(UsageError, match="for TLS"):
        Server(Settings(certfile=str(tmp_path / "none")))


def test_a_taken_port_is_the_operators_mistake(live: Any) -> None:
    async def test(server: Server) -> None:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{port}"):
            await Server(Settings(port=port)).start()

    live(test)


def test_serve() -> None:
    async def main() -> None:
        stop, urls = asyncio.Event(), asyncio.Queue[str]()
        task = asyncio.create_task(serve(Settings(port=0), urls.put_nowait, stop))
        url = await urls.get()
        client = await Client.to(url)
        assert (await client.ask("GET", "/health")).status == 200
        stop.set()
        await task
        assert await client.reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await Client.to(url)
        client.close()
        task = asyncio.create_task(serve(Settings(port=0), urls.put_nowait))
        await urls.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


@pytest.mark.parametrize("name", ["tokens_per_chunk", "default_tokens", "max_model_len"])
def test_counts_must_be_positive(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} takes 1 or more, not 0"):
        Server(Settings(**wrong))


def test_the_loops_own_timer_serves_where_there_is_no_timerfd(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["loadstone.sim.server"], "make_alarm", TimerAlarm)
    reply, row = live(one("POST", CHAT, chat(5)))
    assert len(reply.text.split()) == 5
    assert all(sent >= due for sent, due in zip(row["sent"], row["planned"], strict=True))


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(UsageError, match="--keyfile needs --certfile"):
        Server(Settings(keyfile="key.pem"))
