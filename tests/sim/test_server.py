"""The simulated server: its bodies against vLLM's captured ones, its truth, its faults; raw sockets, both loops."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from loadstone.errors import UsageError
from loadstone.host.timer import TimerAlarm
from loadstone.sim import FAULTS, Server, Settings, faults, serve
from loadstone.sim import settings as model
from support.paths import SHARED

CAPTURES = SHARED / "captures"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Hello there, say something."}]
posix = pytest.mark.skipif(os.name != "posix", reason="needs unix sockets and RST on close")

Test = Callable[[Server], Awaitable[Any]]


class Reply:
    """What came back; `ending` is complete, eof or reset."""

    def __init__(self, head: bytes, body: bytes, ending: str) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1]) if lines[0] else None
        pairs = [line.split(": ", 1) for line in lines[1:] if line]
        self.headers = {name.lower(): value for name, value in pairs}
        self.body, self.ending = body, ending

    @property
    def events(self) -> list[Any]:
        data = [event.removeprefix(b"data: ") for event in self.body.split(b"\n\n") if event]
        return [one.decode() if one == b"[DONE]" else json.loads(one) for one in data]

    @property
    def text(self) -> str:
        choices = [event["choices"] for event in self.events if event != "[DONE]"]
        return "".join(c[0].get("text") or c[0].get("delta", {}).get("content") or "" for c in choices if c)


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, url: str, tls: ssl.SSLContext | None = None) -> Client:
        if url.startswith("unix:"):
            return cls(*await asyncio.open_unix_connection(url.removeprefix("unix:")))
        host, _, port = url.partition("://")[2].rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), ssl=tls))

    def send(self, method: str, path: str, body: object = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: sim", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + data)

    async def receive(self) -> Reply:
        head = body = b""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            known = Reply(head[:-4], b"", "").headers
            if "content-length" in known:
                body = await self.reader.read(size) if (size := int(known["content-length"])) else b""
                while len(body) < size:
                    if not (more := await self.reader.read(size - len(body))):
                        return Reply(head[:-4], body, "eof")
                    body += more
                return Reply(head[:-4], body, "complete")
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readexactly(2)
            return Reply(head[:-4], body, "complete")
        except asyncio.IncompleteReadError:
            return Reply(head[:-4], body, "eof")
        except ConnectionResetError:
            return Reply(head[:-4], body, "reset")

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        self.send(method, path, body, **headers)
        return await self.receive()

    def close(self) -> None:
        self.writer.transport.abort()


def loops() -> Iterator[Any]:
    yield pytest.param(asyncio.new_event_loop, id="asyncio")
    try:
        import uvloop
    except ImportError:
        return
    yield pytest.param(uvloop.new_event_loop, id="uvloop")


@pytest.fixture(params=loops())
def live(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Runs a test against a server in the same loop; no exception may reach the loop's handler."""

    def run(test: Test, **settings: Any) -> Any:
        strays: list[Any] = []

        async def main() -> Any:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: strays.append(context))
            server = Server(Settings(**{"ttft": "2ms", "itl": "1ms"} | settings))
            await server.start()
            try:
                async with asyncio.timeout(20):
                    return await test(server)
            finally:
                await server.close()
                assert not server.connections

        with asyncio.Runner(loop_factory=request.param) as runner:
            result = runner.run(main())
        assert strays == []
        return result

    return run


def one(method: str, path: str, body: object = None, **headers: str) -> Test:
    """A single request on a connection of its own; gives the reply and the row of truth."""

    async def test(server: Server) -> tuple[Reply, Any]:
        client = await Client.to(server.url)
        reply = await client.ask(method, path, body, **headers)
        client.close()
        return reply, server.truth[-1] if server.truth else None

    return test


def chat(tokens: int | None = 8, **more: Any) -> dict[str, Any]:
    limit = {} if tokens is None else {"max_tokens": tokens}
    return {"model": "sim", "messages": HELLO, "stream": True, **limit, **more}


def capture(name: str) -> bytes:
    path = CAPTURES / name
    if not path.exists():
        pytest.skip(f"no captured replies at {CAPTURES}")
    return path.read_bytes()


VARYING = [
    (rb'"id":"(chatcmpl|cmpl)-[^"]*"', rb'"id":"\1"'),
    (rb'"(created|prompt_tokens|total_tokens)":\d+', rb'"\1":0'),
    (rb'"content":"(?:[^"\\]|\\.)+"', rb'"content":"x"'),
    (rb'"text":"(?:[^"\\]|\\.)*"', rb'"text":"x"'),
    (rb'"system_fingerprint":"[^"]*"', rb'"system_fingerprint":""'),
]


def plain(body: bytes) -> bytes:
    """The body without what differs from run to run."""
    for pattern, instead in VARYING:
        body = re.sub(pattern, instead, body)
    return body


USAGE = {"include_usage": True}
STREAMS = {
    "chat_stream_usage": (CHAT, chat(8, stream_options=USAGE)),
    "chat_stream_nousage": (CHAT, chat(8)),
    "chat_stream_ignore_eos_min": (CHAT, chat(16, min_tokens=16, ignore_eos=True, stream_options=USAGE)),
    "chat_stream_continuous_usage": (CHAT, chat(4, stream_options=USAGE | {"continuous_usage_stats": True})),
    "completions_stream_usage": (
        TEXT,
        {"prompt": "import os", "max_tokens": 8, "stream": True, "stream_options": USAGE},
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_vllms_byte_for_byte(live: Any, name: str) -> None:
    path, body = STREAMS[name]
    reply, _ = live(one("POST", path, body | {"model": "tiny"}), model="tiny")
    assert plain(reply.body) == plain(capture(f"vllm/{name}.sse"))
    meta = json.loads(capture(f"vllm/{name}.meta.json"))
    theirs = {name.lower() for name in meta["headers"]} - {"vary", "connection"}
    assert (reply.status, set(reply.headers)) == (meta["status"], theirs)
    assert reply.headers["content-type"] == meta["headers"]["Content-Type"]


def test_a_stream_of_two_choices_has_vllms_events(live: Any) -> None:
    body = chat(3, n=2, stream_options=USAGE, model="tiny")
    reply, row = live(one("POST", CHAT, body), model="tiny")
    theirs = capture("vllm/chat_stream_n2.sse").replace(b'{"content":""}', b'{"content":"x"}')
    assert set(plain(reply.body).split(b"\n\n")) == set(plain(theirs).split(b"\n\n"))
    assert reply.events[-2]["usage"] == {"prompt_tokens": 4, "total_tokens": 10, "completion_tokens": 6}
    assert (len(row["planned"]), len(row["sent"]), row["tokens"]) == (6, 6, 6)


@pytest.mark.parametrize(
    ("name", "path", "body"),
    [
        ("chat_nostream", CHAT, {"messages": HELLO, "max_tokens": 8}),
        ("completions_token_ids_prompt", TEXT, {"prompt": [10, 20, 30], "max_tokens": 2}),
        ("completions_batch_prompts", TEXT, {"prompt": ["import os", "def f"], "max_tokens": 2}),
    ],
)
def test_a_whole_answer_is_vllms_byte_for_byte(live: Any, name: str, path: str, body: dict[str, Any]) -> None:
    reply, row = live(one("POST", path, body | {"model": "tiny"}), model="tiny")
    assert plain(reply.body) == plain(capture(f"vllm/{name}.json"))
    assert reply.headers["content-type"] == "application/json"
    assert (len(row["planned"]), len(row["sent"])) == (1, 1)


LONG = [{"role": "user", "content": "word " * 9000}]
ERRORS: dict[str, tuple[str, str, object]] = {
    "err_bad_json": ("POST", CHAT, b'{"model": '),
    "err_unknown_model": (
        "POST",
        CHAT,
        {"model": "no-such-model", "messages": HELLO, "max_tokens": 2},
    ),
    "err_missing_messages": ("POST", CHAT, {"model": "tiny", "max_tokens": 2}),
    "err_messages_type": ("POST", CHAT, {"model": "tiny", "messages": "hi", "max_tokens": 2}),
    "err_bad_temperature": ("POST", CHAT, {"messages": HELLO, "temperature": -1, "max_tokens": 2}),
    "err_max_tokens_negative": ("POST", CHAT, {"messages": HELLO, "max_tokens": -5}),
    "err_max_tokens_too_big": ("POST", CHAT, {"messages": HELLO, "max_tokens": 10**6}),
    "err_too_long_prompt": ("POST", CHAT, {"messages": LONG, "max_tokens": 2}),
    "err_too_long_prompt_stream": ("POST", CHAT, {"messages": LONG, "max_tokens": 2, "stream": True}),
    "err_stream_options_without_stream": ("POST", CHAT, {"messages": HELLO, "stream_options": USAGE}),
    "err_404_path": ("POST", "/v1/nope", {}),
    "err_405_method": ("GET", CHAT, None),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_vllms_exactly(live: Any, name: str) -> None:
    reply, _ = live(one(*ERRORS[name]), model="tiny", max_model_len=2048)
    meta = json.loads(capture(f"vllm/{name}.meta.json"))
    assert (reply.status, reply.body) == (meta["status"], capture(f"vllm/{name}.json"))
    assert reply.headers.get("allow") == meta["headers"].get("Allow")


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b'{"model": "\xff"}', "error parsing the body"),
        (b"[]", "model_attributes_type"),
        (b"[" * 100_000, "error parsing the body"),
        (chat(tokens=None, max_tokens="many"), "int_parsing"),
        (chat(tokens=None, max_tokens=1.5), "int_from_float"),
        (chat(tokens=None, max_tokens=[1]), "int_type"),
        (chat(stream="maybe"), "bool_parsing"),
        (chat(n=0), "n must be at least 1, got 0."),
        (chat(messages=["hi"]), "body.messages.0"),
        (chat(2047), "you requested 2047 output tokens and your prompt contains 4 input tokens, for a total of 2051"),
    ],
)
def test_other_bad_requests(live: Any, body: object, part: str) -> None:
    reply, row = live(one("POST", CHAT, body), max_model_len=2048)
    assert reply.status == 400
    assert part in json.loads(reply.body)["error"]["message"]
    assert (row["planned"], row["sent"], row["tokens"]) == ([], [], 0)


@pytest.mark.parametrize("prompt", [None, "", [], 7, {}, [1, "a"]])
def test_bad_prompts(live: Any, prompt: object) -> None:
    reply, _ = live(one("POST", TEXT, {"prompt": prompt}))
    assert reply.status == 400


def test_lenient_numbers_and_none(live: Any) -> None:
    reply, _ = live(one("POST", CHAT, chat(tokens=None, max_tokens="3", n=None, stream_options=None)))
    assert len(reply.text.split()) == 3


def test_max_completion_tokens_and_default(live: Any) -> None:
    reply, _ = live(one("POST", CHAT, chat(9, max_completion_tokens=3)))
    assert reply.events[-2]["choices"][0]["finish_reason"] == "length"
    assert len(reply.text.split()) == 3
    reply, _ = live(one("POST", CHAT, chat(None)), default_tokens=5)
    assert reply.events[-2]["choices"][0]["finish_reason"] == "stop"
    assert len(reply.text.split()) == 5


def test_prompt_tokens_are_words(live: Any) -> None:
    parts = [{"type": "text", "text": "a b"}, {"type": "image_url"}, {"type": "text", "text": "c"}]
    messages = [{"role": "system", "content": "x y"}, {"role": "user", "content": parts}, {"content": None}]
    reply, _ = live(one("POST", CHAT, chat(1, messages=messages, stream_options=USAGE)))
    assert reply.events[-2]["usage"]["prompt_tokens"] == 5


def test_texts_depend_on_seed_and_number_only(live: Any) -> None:
    async def texts(server: Server) -> list[str]:
        client = await Client.to(server.url)
        found = [(await client.ask("POST", CHAT, chat(6))).text for _ in range(2)]
        client.close()
        return found

    first = live(texts, seed=3)
    assert first == live(texts, seed=3)
    assert first[0] != first[1]
    assert first != live(texts, seed=4)


def test_several_tokens_a_chunk(live: Any) -> None:
    reply, row = live(one("POST", CHAT, chat(10, stream_options=USAGE)), tokens_per_chunk=4)
    sizes = [len(e["choices"][0]["delta"]["content"].split()) for e in reply.events[1:-2]]
    assert sizes == [1, 4, 4, 1]  # as vLLM's --stream-interval 4
    offsets = [at - row["received"] for at in row["planned"]]
    assert offsets == [2_000_000, 6_000_000, 10_000_000, 11_000_000]
    assert reply.events[-2]["usage"]["completion_tokens"] == row["tokens"] == 10


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


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it never happened")


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
        task = asyncio.create_task(serve(Settings(), urls.put_nowait, stop))
        url = await urls.get()
        client = await Client.to(url)
        assert (await client.ask("GET", "/health")).status == 200
        stop.set()
        await task
        assert await client.reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await Client.to(url)
        client.close()
        task = asyncio.create_task(serve(Settings(), urls.put_nowait))
        await urls.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# faults: what a client sees of each, streamed (8 tokens) and not


def faulty(fault: str, **body: Any) -> Test:
    """Request 0 has the fault and request 1, on a new connection, must be well again."""

    async def test(server: Server) -> tuple[Reply, Any]:
        client = await Client.to(server.url)
        reply = await client.ask("POST", CHAT, chat(**body))
        client.close()
        row = server.truth[0]
        assert (row["number"], row["fault"]) == (0, fault)
        if fault != "refuse":
            again = await Client.to(server.url)
            assert (await again.ask("POST", CHAT, chat(2))).ending == "complete"
            again.close()
            assert server.truth[1]["fault"] is None
        assert server.state.counters.running == 0
        assert server.state.counters.generated == sum(row["tokens"] for row in server.truth)
        return reply, row

    return test


STATUSES = ["400", "401", "404", "429", "500", "503"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", STATUSES)
def test_fault_statuses(live: Any, status: str, stream: bool) -> None:
    reply, row = live(faulty(status, stream=stream), faults=(f"{status}@0",))
    assert (reply.status, reply.ending) == (int(status), "complete")
    error = json.loads(reply.body)["error"]
    assert error == "Unauthorized" if status == "401" else error["code"] == int(status)
    assert reply.headers.get("retry-after") == ("1" if status == "429" else None)
    assert row["end"] is not None


def test_fault_500_is_a_dead_engines(live: Any) -> None:
    reply, _ = live(faulty("500"), faults=("500@0",))
    assert reply.body == capture("vllm_engine_death/chat_stream_nousage.json")


@posix
@pytest.mark.parametrize("stream", [True, False])
def test_fault_reset(live: Any, stream: bool) -> None:
    reply, row = live(faulty("reset", stream=stream), faults=("reset@0",))
    assert (reply.status, reply.body, reply.ending) == (None, b"", "reset")
    assert (row["planned"], row["sent"], row["end"]) == ([], [], None)


def words(reply: Reply) -> int:
    return reply.body.count(b'"content":" ')


CUT = {"reset-mid": "reset", "truncate": "eof"}


@posix
@pytest.mark.parametrize("fault", CUT)
def test_fault_cut_in_mid_stream(live: Any, fault: str) -> None:
    reply, row = live(faulty(fault), faults=(f"{fault}@0",))
    assert (reply.status, words(reply), reply.ending) == (200, 4, CUT[fault])
    assert b"[DONE]" not in reply.body
    assert (len(row["planned"]), len(row["sent"]), row["tokens"], row["end"]) == (8, 4, 4, None)
    reply, _ = live(faulty(fault, tokens=1), faults=(f"{fault}@0",))
    assert (reply.status, words(reply), reply.ending) == (200, 0, CUT[fault])
    assert b'"role":"assistant"' in reply.body


@posix
@pytest.mark.parametrize("fault", CUT)
def test_fault_cut_in_a_whole_answer(live: Any, fault: str) -> None:
    reply, row = live(faulty(fault, stream=False), faults=(f"{fault}@0",))
    assert (reply.status, reply.ending) == (200, CUT[fault])
    if fault == "truncate":
        assert 0 < len(reply.body) < int(reply.headers["content-length"])
    assert (row["sent"], row["tokens"], row["end"]) == ([], 0, None)


@pytest.mark.parametrize("stream", [True, False])
def test_fault_stall(live: Any, stream: bool) -> None:
    async def test(server: Server) -> None:
        client = await Client.to(server.url)
        client.send("POST", CHAT, chat(8, stream=stream))
        await until(lambda: bool(server.truth))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.receive(), 0.05)
        assert len(server.connections) == 1
        assert (server.truth[0]["tokens"], server.truth[0]["end"]) == (4 if stream else 0, None)
        client.close()

    live(test, faults=("stall@0",))


def test_fault_truncate_clean(live: Any) -> None:
    reply, row = live(faulty("truncate-clean"), faults=("truncate-clean@0",))
    assert (words(reply), reply.ending) == (4, "complete")
    assert b"[DONE]" not in reply.body
    assert b'"finish_reason":"' not in reply.body
    assert row["end"] is not None
    reply, _ = live(faulty("truncate-clean", stream=False), faults=("truncate-clean@0",))
    assert (reply.status, reply.ending) == (200, "complete")
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


@pytest.mark.parametrize("tokens", [8, 1])
def test_fault_bad_json(live: Any, tokens: int) -> None:
    reply, _ = live(faulty("bad-json", tokens=tokens), faults=("bad-json@0",))
    assert (words(reply), reply.ending) == (tokens, "complete")
    events = [event.removeprefix(b"data: ") for event in reply.body.split(b"\n\n") if event]
    bad = [n for n, event in enumerate(events[:-1]) if not event.endswith(b"}")]
    assert bad == [1 + tokens // 2]
    assert events[-1] == b"[DONE]"
    reply, _ = live(faulty("bad-json", stream=False), faults=("bad-json@0",))
    with pytest.raises(json.JSONDecodeError):
        json.loads(reply.body)


@pytest.mark.parametrize("stream", [True, False])
def test_fault_bad_utf8(live: Any, stream: bool) -> None:
    reply, _ = live(faulty("bad-utf8", stream=stream), faults=("bad-utf8@0",))
    assert reply.ending == "complete"
    with pytest.raises(UnicodeDecodeError):
        reply.body.decode()
    assert json.loads(reply.body.decode(errors="replace").partition("\n\n")[0].removeprefix("data: "))


def test_fault_no_done(live: Any) -> None:
    reply, row = live(faulty("no-done", stream_options=USAGE), faults=("no-done@0",))
    assert reply.ending == "complete"
    assert reply.events[-1]["usage"]["completion_tokens"] == row["tokens"] == 8
    assert b"[DONE]" not in reply.body


@pytest.mark.parametrize(("stream", "kind"), [(True, "text/event-stream; charset=utf-8"), (False, "application/json")])
def test_fault_empty(live: Any, stream: bool, kind: str) -> None:
    reply, row = live(faulty("empty", stream=stream), faults=("empty@0",))
    assert (reply.status, reply.body, reply.ending) == (200, b"", "complete")
    assert (reply.headers["content-type"], row["tokens"]) == (kind, 0)


def test_fault_error_event(live: Any) -> None:
    reply, row = live(faulty("error-event"), faults=("error-event@0",))
    assert (words(reply), row["tokens"], reply.ending) == (4, 4, "complete")
    assert reply.body.endswith(capture("vllm_engine_death/chat_stream_usage.sse"))
    reply, _ = live(faulty("error-event", stream=False), faults=("error-event@0",))
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (500, "InternalServerError")


@pytest.mark.parametrize("stream", [True, False])
def test_fault_slow_head(live: Any, stream: bool) -> None:
    reply, row = live(faulty("slow-head", stream=stream), faults=("slow-head@0",), slow="30ms")
    assert (reply.ending, row["tokens"]) == ("complete", 8)
    assert row["planned"][0] - row["received"] == (32 if stream else 39) * 10**6
    assert row["sent"][0] >= row["planned"][0]


@posix
@pytest.mark.parametrize("unix", [False, True])
def test_fault_refuse(live: Any, tmp_path: Path, unix: bool) -> None:
    async def test(server: Server) -> None:
        reply, _ = await faulty("refuse")(server)
        assert reply.ending in ({"eof", "reset"} if unix else {"reset"})
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):  # asyncio removes the socket since Python 3.13
            await Client.to(server.url)
        for _ in range(100):
            await asyncio.sleep(0.02)
            try:
                client = await Client.to(server.url)
            except OSError:
                continue
            assert (await client.ask("POST", CHAT, chat(2))).ending == "complete"
            client.close()
            return
        pytest.fail("the listener did not come back")

    live(test, faults=("refuse@0",), unix=str(tmp_path / "s") if unix else None)


def test_a_storm_of_all_faults_leaves_nothing_behind(live: Any) -> None:
    async def visit(server: Server, rng: Random) -> None:
        client = await Client.to(server.url)
        for _ in range(6):
            client.send("POST", CHAT, chat(rng.randrange(1, 9), stream=rng.random() < 0.8, n=rng.choice((1, 1, 2))))
            try:
                reply = await asyncio.wait_for(client.receive(), rng.choice((0.001, 0.005, 0.1)))
            except TimeoutError:
                break
            if reply.ending != "complete":
                break
        client.close()

    async def test(server: Server) -> None:
        await asyncio.gather(*(visit(server, Random(n)) for n in range(60)))
        await until(lambda: not server.connections)
        assert server.state.counters.running == 0
        assert server.state.counters.generated == sum(row["tokens"] for row in server.truth)
        numbers = [row["number"] for row in server.truth]
        assert sorted(numbers) == list(range(len(numbers)))
        assert len({row["fault"] for row in server.truth}) > 10

    live(test, faults=tuple(f"{name}:0.04" for name in FAULTS if name != "refuse"), slow="5ms")


def test_a_fault_table_chooses_by_seed_and_number() -> None:
    shares = faults.parse(("reset:0.25", "500:0.25", "stall@3,4"), seed=7)
    drawn = [shares.choose(number) for number in range(4000)]
    assert drawn == [faults.parse(("reset:0.25", "500:0.25", "stall@3,4"), 7).choose(n) for n in range(4000)]
    assert drawn[3:5] == ["stall", "stall"]
    assert all(900 < drawn.count(name) < 1100 for name in ("reset", "500"))
    assert drawn != [faults.parse(("reset:0.25", "500:0.25"), 8).choose(n) for n in range(4000)]
    assert faults.parse((), 0).choose(0) is None
    assert {faults.parse(("400:1",), 0).choose(n) for n in range(100)} == {"400"}


@pytest.mark.parametrize(
    "specs", [("melt:0.1",), ("reset",), ("reset:2",), ("reset:x",), ("reset:-0.1",), ("reset:nan",), ("reset@",)]
)
def test_a_wrong_fault_is_one_sentence(specs: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="write ") as caught:
        faults.parse(specs, 0)
    assert "\n" not in str(caught.value)
    assert "@" in specs[0] or all(name in str(caught.value) for name in FAULTS)


def test_shares_of_more_than_all() -> None:
    with pytest.raises(UsageError, match=r"add up to 1\.2"):
        faults.parse(("reset:0.6", "stall:0.6"), 0)
    faults.parse(("reset:0.9", "stall:0.1"), 0)


# times


@pytest.mark.parametrize(
    ("text", "ns"),
    [("50ms", 50e6), ("0.05s", 50e6), ("200us", 200e3), ("1s", 1e9), ("2", 2e9), (".5", 5e8), ("0", 0), ("7ns", 7)],
)
def test_durations(text: str, ns: float) -> None:
    assert model.duration(text) == ns
    assert model.distribution(text) == model.Distribution("constant", (ns,))


@pytest.mark.parametrize(
    "text",
    ["", "fast", "-1s", "1h", "1 2", "uniform(1)", "uniform(2,1)", "normal(1,2,3)", "exp()", "exp(x)", "a(1)"],
)
def test_a_wrong_time_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"write a duration .* uniform\(a,b\), .* lognormal\(mean,sd\)"):
        model.distribution(text)


@pytest.mark.parametrize(
    ("text", "mean"),
    [("uniform(10ms,30ms)", 20e6), ("normal(20ms,2ms)", 20e6), ("exp(20ms)", 20e6), ("lognormal(20ms,20ms)", 20e6)],
)
def test_laws_have_the_mean_that_was_asked(text: str, mean: float) -> None:
    law, rng = model.distribution(text), Random(1)
    drawn = [law.draw(rng) for _ in range(20_000)]
    assert min(drawn) >= 0
    assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.05)


def test_zero_means() -> None:
    assert [model.distribution(text).draw(Random(1)) for text in ("exp(0)", "lognormal(0,1)", "normal(0,0)")] == [
        0,
        0,
        0,
    ]


def test_offsets_repeat_for_the_same_request_only() -> None:
    timing = model.timing(Settings(ttft="exp(50ms)", itl="exp(10ms)", seed=5))
    assert timing.offsets(0, 50) == timing.offsets(0, 50)
    assert timing.offsets(0, 50) != timing.offsets(1, 50)
    assert len(timing.offsets(0, 50)) == 50


@pytest.mark.parametrize(
    ("tokens", "per_chunk", "ends"),
    [(1, 1, [0]), (3, 1, [0, 1, 2]), (1, 4, [0]), (2, 4, [0, 1]), (5, 4, [0, 4]), (6, 4, [0, 4, 5])],
)
def test_chunks_cover_all_tokens(tokens: int, per_chunk: int, ends: list[int]) -> None:
    assert [min(end, tokens - 1) for end in model.chunk_ends(tokens, per_chunk)] == ends


@pytest.mark.parametrize("name", ["tokens_per_chunk", "default_tokens", "max_model_len"])
def test_counts_must_be_positive(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be at least 1"):
        Server(Settings(**wrong))


def test_the_loops_own_timer_serves_where_there_is_no_timerfd(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["loadstone.sim.server"], "make_alarm", TimerAlarm)
    reply, row = live(one("POST", CHAT, chat(5)))
    assert len(reply.text.split()) == 5
    assert all(sent >= due for sent, due in zip(row["sent"], row["planned"], strict=True))


def test_a_key_without_its_certificate_is_refused() -> None:
    with pytest.raises(UsageError, match="--certfile FILE"):
        Server(Settings(keyfile="key.pem"))
