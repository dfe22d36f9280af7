"""What the servers of tests/bench/faults.py do wrong: handlers for support/scripted_api.py."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any

from support.scripted_api import DONE, Handler, answer, event, stream, tokens, usage
from support.scripted_server import CHUNKED, Peer, Received, chunk, response

# One request in so many has the fault.
EVERY = 3
JSON = b"Content-Type: application/json"


async def good(peer: Peer, _: Received, __: int) -> None:
    await stream(peer, answer())


def sometimes(bad: Handler, every: int = EVERY) -> Handler:
    """Good answers, and one bad one in `every`."""

    async def handler(peer: Peer, request: Received, number: int) -> None:
        await (bad if number % every == every - 1 else good)(peer, request, number)

    return handler


def events(parts: Sequence[bytes], pause: float = 0.002) -> Handler:
    """A stream of these events, with a proper end of the body."""

    async def handler(peer: Peer, _: Received, __: int) -> None:
        await stream(peer, list(parts), pause)

    return handler


def raw(*parts: bytes, close: bool = False, reset: bool = False) -> Handler:
    """These bytes in place of a response."""

    async def handler(peer: Peer, _: Received, __: int) -> None:
        await peer.send(*parts)
        if reset:
            await asyncio.sleep(0.02)
            peer.reset()
        elif close:
            peer.close()

    return handler


def refuses(status: str, body: Any, *headers: bytes) -> Handler:
    """A response with an error, as JSON or as text."""
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return raw(response(content, status, *headers))


def counted(completion: Any, prompt: Any = 7, count: int = 8) -> Handler:
    """A proper stream of `count` tokens whose usage says something else."""
    parts = [event(role="assistant", content=""), *tokens(count), event(finish="stop")]
    return events([*parts, event(usage=usage(completion, prompt)), DONE])


def vanishes(after: float) -> Handler:
    """The connection is closed without a byte, `after` seconds after the request."""

    async def handler(peer: Peer, _: Received, __: int) -> None:
        await asyncio.sleep(after)
        peer.close()

    return handler


async def stalls(peer: Peer, _: Received, __: int) -> None:
    await peer.send(CHUNKED, *map(chunk, tokens(3)))
    await asyncio.sleep(30)


async def cut(peer: Peer, _: Received, __: int) -> None:
    await peer.send(CHUNKED, *map(chunk, tokens(3)))
    peer.close()


async def resets(peer: Peer, _: Received, __: int) -> None:
    await peer.send(CHUNKED, *map(chunk, tokens(3)))
    await asyncio.sleep(0.02)
    peer.reset()


async def closes_on_reuse(peer: Peer, request: Received, number: int) -> None:
    """Answers, and closes the idle connection when the next request comes."""
    await good(peer, request, number)
    await peer.reader.readexactly(1)
    peer.close()


async def stale(peer: Peer, request: Received, number: int) -> None:
    """A second answer behind the first, which nobody asked for."""
    await good(peer, request, number)
    await asyncio.sleep(0.01)
    other = b"".join([event(content="stale"), event(finish="stop"), event(usage=usage(1)), DONE])
    await peer.send(CHUNKED + chunk(other) + b"0\r\n\r\n")


async def endless(peer: Peer, _: Received, __: int) -> None:
    await peer.send(CHUNKED, *map(chunk, answer()))


async def bundled(peer: Peer, _: Received, __: int) -> None:
    """The whole stream at once, as behind a proxy that buffers."""
    await asyncio.sleep(0.05)
    await peer.send(CHUNKED + chunk(b"".join(answer())) + b"0\r\n\r\n")


async def hidden(peer: Peer, _: Received, __: int) -> None:
    """100 tokens of reasoning that no event shows, then 8 words 10 ms apart."""
    await asyncio.sleep(0.1)
    count = usage(108) | {"completion_tokens_details": {"reasoning_tokens": 100}}
    await stream(peer, [event(role="assistant"), *tokens(8), event(finish="stop"), event(usage=count), DONE], 0.01)


async def echoes(peer: Peer, request: Received, _: int) -> None:
    """Everything that a server can say holds the key."""
    (key,) = request.values("Authorization")
    said = {"error": {"message": f"bad key {key}", "type": key, "code": key}}
    await peer.send(response(json.dumps(said).encode(), "403 Forbidden", JSON, b"X-Key: " + key.encode()))


async def context(peer: Peer, request: Received, number: int) -> None:
    words = "This model's maximum context length is 2048 tokens. However, you requested 5000 tokens."
    await refuses("400 Bad Request", {"error": {"message": words, "code": 400}})(peer, request, number)


async def wants_new_field(peer: Peer, request: Received, number: int) -> None:
    """Refuses `max_tokens`, as OpenAI's newer models do."""
    if "max_tokens" in json.loads(request.body):
        words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
        said = {"error": {"message": words, "param": "max_tokens", "code": "unsupported_parameter"}}
        await refuses("400 Bad Request", said)(peer, request, number)
    else:
        await good(peer, request, number)


async def slow_start(peer: Peer, request: Received, number: int) -> None:
    """The first 40 requests wait, as while a server compiles."""
    await asyncio.sleep(0.6 if number < 40 else 0.03 + number * 7 % 11 / 1e3)
    await good(peer, request, number)


SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
WHOLE = b"".join(answer())
ZIPPED = gzip.compress(WHOLE)
SIGN_IN = "<!DOCTYPE html><html><body>Please sign in to continue</body></html>"
HTML = response(SIGN_IN.encode(), "200 OK", b"Content-Type: text/html; charset=utf-8")
GZIP = response(ZIPPED, "200 OK", b"Content-Type: text/event-stream", b"Content-Encoding: gzip")
HUGE_HEAD = b"HTTP/1.1 200 OK\r\n" + b"X-Filler: %b\r\n" % (b"a" * 2_000_000) + b"Content-Length: 0\r\n\r\n"
WRONG_CHUNKS = CHUNKED + b"7\r\n" + WHOLE + b"\r\n0\r\n\r\n"
TWO_LENGTHS = SSE + b"Content-Length: %d\r\nContent-Length: 5\r\n\r\n%b" % (len(WHOLE), WHOLE)
SGLANG_ABORT = {
    "text": " a",
    "meta_info": {
        "id": "1",
        "prompt_tokens": 7,
        "completion_tokens": 1,
        "finish_reason": {"type": "abort", "message": "KV cache full", "status_code": 500},
    },
}
REASONING_ONLY = [
    event(role="assistant"),
    *tokens(8, "reasoning_content"),
    event(finish="length"),
    event(usage=usage(8)),
    DONE,
]
