"""A raw HTTP client for tests of the simulated server, and the requests that they send."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from loadstone.sim.server import Server
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


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it never happened")
