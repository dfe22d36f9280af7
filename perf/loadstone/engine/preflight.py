"""Before a run: is there a server, does it take the key, which models has it, and does it know the one asked for.

Uses the run's own transport. What is wrong becomes one sentence; a server that does not list models is not wrong.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis import API
from loadstone.apis.response_parser import ResponseParser, error_body_message
from loadstone.engine.requests import PreparedRequest
from loadstone.errors import UsageError
from loadstone.text import MAX_LABEL, clean, replace_surrogate_escapes
from loadstone.transport import Exchange, Request, Transport, TransportError

TIMEOUT = 30.0
_BUSY = (429, 503)
MAX_MODEL_NAME = 1000
"""Characters of a model's name: each record holds it."""


class Server(Struct, frozen=True):
    """What a server says of itself: the models it lists, and the `Server` header. None: it does not list any."""

    models: list[str] | None = None
    software: str | None = None


async def query_server(
    transport: Transport, url: str, path: str, headers: tuple[tuple[str, str], ...], key_hint: str
) -> Server:
    """Ask for the list of models. Raises UsageError when nobody answers or the key is refused."""
    status, body, exchange = await send_request(transport, Request("GET", path, headers), url)
    if status in (401, 403):
        raise UsageError(f"{url} refuses the request (HTTP {status}: {error_body_message(body)}); {key_hint}")
    software = exchange.header(b"server")
    return Server(
        _models(body) if status == 200 else None, clean(software.decode("latin-1"), MAX_LABEL) if software else None
    )


def choose_model(server: Server, asked: str | None, url: str, needed: bool = True) -> tuple[str, bool]:
    """The model to ask for, and whether the server lists it. Raises UsageError when there is no way to know, and
    requests have to say it (`needed`)."""
    models = server.models or ([] if needed else [""])
    if asked is not None:
        return asked, asked in models
    if not models:
        raise UsageError(f"{url} does not list its models; name one with --model")
    return models[0], True


async def probe(transport: Transport, job: PreparedRequest, api: API, url: str, models: list[str] | None) -> None:
    """Send one real request: for a model that the server does not list, or to see whether the answer is one of this
    API. Raises UsageError when it is refused, or cannot be read."""
    status, body, exchange = await send_request(transport, job.request, url)
    if status in _BUSY:
        return
    if not 200 <= status < 300:
        known = f"; it lists {', '.join(clean(model, MAX_LABEL) for model in models[:5])}" if models else ""
        raise UsageError(f"{url} refuses the first request (HTTP {status}: {error_body_message(body)}){known}")
    reply = ResponseParser(api, stream=job.streamed)
    reply.start(status, exchange.header(b"content-type"))
    reply.feed(body, 0)
    failure = reply.finish()
    if failure is not None and failure.kind == "protocol":
        raise UsageError(f"{url} answers, but not as --api expects: {failure.message}")


async def send_request(transport: Transport, request: Request, url: str) -> tuple[int, bytes, Exchange]:
    """Status, body and the rest of one answer. Raises UsageError when nobody answers."""
    body = bytearray()
    exchange = Exchange(lambda data, _: body.extend(data))
    try:
        async with asyncio.timeout(TIMEOUT):
            await transport.exchange(request, exchange)
    except TransportError as exc:
        raise UsageError(f"no answer from {url}: {exc.failure.message}; is the server up, and --url right?") from exc
    except TimeoutError as exc:
        if exchange.status is not None:  # it is answering, only slowly
            return exchange.status, bytes(body), exchange
        asked = f"no answer from {url} to {request.method} {request.path} within {TIMEOUT:g} s"
        raise UsageError(f"{asked}; is the server up, and --url right?") from exc
    return exchange.status or 0, bytes(body), exchange


def _models(body: bytes) -> list[str] | None:
    """The ids of a list of models, as they have to be sent. One that is longer than LONGEST names no model."""
    try:
        rows: Any = msgspec.json.decode(replace_surrogate_escapes(body))["data"]
        return [row["id"] for row in rows if isinstance(row["id"], str) and len(row["id"]) <= MAX_MODEL_NAME]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
        return None
