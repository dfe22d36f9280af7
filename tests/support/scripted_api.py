"""A scripted server with a list of models, in a thread of its own: what it does with each request, a function says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from support.scripted_server import CHUNKED, Peer, Received, Server, chunk, response

# Answers a request for output. The number counts such requests from 0.
Handler = Callable[[Peer, Received, int], Awaitable[None]]
MODELS = response(json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}).encode())
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(**fields: Any) -> bytes:
    """An event of a chat stream: a delta, or `finish` and `usage`."""
    finish, usage = fields.pop("finish", None), fields.pop("usage", None)
    content: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    content["choices"] = [{"index": 0, "delta": fields, "finish_reason": finish}] if fields or finish else []
    if usage is not None:
        content["usage"] = usage
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def usage(completion: Any, prompt: Any = 7) -> dict[str, Any]:
    total = completion + prompt if isinstance(completion, int) and isinstance(prompt, int) else None
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def tokens(count: int = 8, field: str = "content") -> list[bytes]:
    """Events with a word each, as a server sends them."""
    return [event(**{field: f" word{number}"}) for number in range(count)]


def answer(count: int = 8) -> list[bytes]:
    """A whole stream: role, words, finish reason, usage and [DONE]."""
    return [
        event(role="assistant", content=""),
        *tokens(count),
        event(finish="stop"),
        event(usage=usage(count)),
        DONE,
    ]


async def stream(peer: Peer, events: list[bytes], pause: float = 0.002, end: bytes = LAST_CHUNK) -> None:
    """Send events as chunks, each in a packet of its own after a pause."""
    await peer.send(CHUNKED)
    for part in events:
        await asyncio.sleep(pause)
        await peer.send(chunk(part))
    await peer.send(end)


@contextlib.contextmanager
def serving(handler: Handler, *, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run the server and yield its address. Requests other than POST get the list of models."""
    numbers = iter(range(10**9))

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.line.startswith("GET /v1/models"):
                await peer.send(MODELS)
            elif request.line.startswith("GET"):
                await peer.send(response(b"", "404 Not Found"))
            else:
                await handler(peer, request, next(numbers))

    with serving_script(script, port=port, tls=tls) as address:
        yield address


@contextlib.contextmanager
def serving_script(
    script: Callable[[Peer], Awaitable[None]], *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Run a script for each connection in a thread, and yield the server's address."""
    ready, addresses = threading.Event(), list[str]()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            async with Server(script, tls=tls, port=port) as server:
                addresses.append(f"http{'s' if tls else ''}://127.0.0.1:{server.port}")
                ready.set()
                await stop.wait()
                raise asyncio.CancelledError  # so that it does not wait for the clients

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="scripted API", daemon=True)
    thread.start()
    assert ready.wait(5), "the scripted server did not start"
    try:
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()
