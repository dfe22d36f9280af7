"""Check the servers before a run: do they answer, do they accept the key, which models do they list.

Uses the run's own transport. A problem becomes one sentence. A server that does not list models is not a problem.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec

from loadstone.apis import API
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.server_errors import error_body_message
from loadstone.engine.requests import PreparedRequest
from loadstone.errors import ConfigError, ServerError
from loadstone.records import FailureCause
from loadstone.summary import ServerInfo
from loadstone.text import MAX_LABEL, clean, replace_surrogate_escapes
from loadstone.transport import Exchange, Request, Transport, TransportError

# Seconds for an answer.
TIMEOUT = 30.0
# Characters of a model's name; longer ones name no model. Each record holds the name.
MAX_MODEL_NAME = 1000
# Statuses of a server that is up, but busy.
_BUSY = (429, 503)


async def query_server(
    transport: Transport, url: str, path: str, headers: tuple[tuple[str, str], ...], key_hint: str
) -> ServerInfo:
    """Get the list of models. Raises UsageError when the server does not answer or refuses the key."""
    status, body, exchange = await send_request(transport, Request("GET", path, headers), url)
    if status in (401, 403):
        raise ServerError(f"{url} refuses the request (HTTP {status}: {error_body_message(body)}); {key_hint}")
    models = None
    if status == 200:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, RecursionError):
            rows: Any = msgspec.json.decode(replace_surrogate_escapes(body))["data"]
            models = [row["id"] for row in rows if isinstance(row["id"], str) and len(row["id"]) <= MAX_MODEL_NAME]
    software = exchange.header(b"server")
    return ServerInfo(models, clean(software.decode("latin-1"), MAX_LABEL) if software else None)


def choose_model(server: ServerInfo, requested: str | None, url: str, needed: bool = True) -> tuple[str, bool]:
    """Return the model to request, and whether the server lists it.

    needed: True if a request has to name its model. Raises UsageError then when no model is known.
    """
    models = server.models or ([] if needed else [""])
    if requested is not None:
        return requested, requested in models
    if not models:
        raise ConfigError(f"{url} does not list its models; name one with --model", field="model")
    return models[0], True


async def probe(transport: Transport, prepared: PreparedRequest, api: API, url: str, models: list[str] | None) -> None:
    """Send one real request, for a model that the server does not list or an API whose response form is a guess.

    models: those that the server lists. Raises UsageError when the request is refused or the response is unreadable.
    """
    status, body, exchange = await send_request(transport, prepared.request, url)
    if status in _BUSY:
        return
    if not 200 <= status < 300:
        known = f"; it lists {', '.join(clean(model, MAX_LABEL) for model in models[:5])}" if models else ""
        raise ServerError(f"{url} refuses the first request (HTTP {status}: {error_body_message(body)}){known}")
    response = ResponseParser(api, stream=prepared.streamed)
    response.start(status, exchange.header(b"content-type"))
    response.feed(body, 0)
    failure = response.finish()
    if failure is not None and failure.kind == FailureCause.PROTOCOL:
        raise ServerError(f"{url} answers, but not as --api expects: {failure.message}")


async def send_request(transport: Transport, request: Request, url: str) -> tuple[int, bytes, Exchange]:
    """Send one request. Return the status, the body and the exchange. Raises UsageError when there is no answer."""
    body = bytearray()
    exchange = Exchange(lambda data, _: body.extend(data))
    try:
        async with asyncio.timeout(TIMEOUT):
            await transport.exchange(request, exchange)
    except TransportError as exc:
        raise ServerError(f"no answer from {url}: {exc.failure.message}; is the server up, and --url right?") from exc
    except TimeoutError as exc:
        if exchange.status is not None:  # it is answering, only slowly
            return exchange.status, bytes(body), exchange
        problem = f"no answer from {url} to {request.method} {request.path} within {TIMEOUT:g} s"
        raise ServerError(f"{problem}; is the server up, and --url right?") from exc
    return exchange.status or 0, bytes(body), exchange
