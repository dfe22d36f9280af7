"""Check the servers before a run: do they answer, do they accept the key, which models do they list.

Uses the run's own transport. A problem becomes one sentence, which names the address that was asked. A server that does
not list its models is not a problem if one is named.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from loadstone.apis import API
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.server_errors import error_body_message
from loadstone.config import refusals
from loadstone.config.redact import hide_in_url
from loadstone.config.schema import Config
from loadstone.engine.requests import PreparedRequest
from loadstone.engine.sender import Endpoint
from loadstone.errors import ConfigError, Notice, ServerError
from loadstone.records import FailureCause
from loadstone.summary import ServerInfo
from loadstone.text import MAX_LABEL, clean, parse_json_leniently, to_utf8
from loadstone.transport import Exchange, Request, TransportError

# Seconds for the list of models.
TIMEOUT = 30.0
# Seconds between two attempts while a server starts, and after which a notice says what is waited for.
WAIT_EVERY = 1.0
NOTICE_AFTER = 10.0
# Characters of a model's name; longer ones name no model. Each record holds the name.
MAX_MODEL_NAME = 1000
# Bytes of an answer that are kept.
MAX_BODY = 2**24
# Models that a message names.
_NAMED = 5
# Names of the length of a context: vLLM and SGLang, LM Studio, OpenRouter and Together, Groq, llama.cpp.
_CONTEXT_FIELDS = ("max_model_len", "max_context_length", "context_length", "context_window", "n_ctx", "n_ctx_train")
# Statuses of a server that is up, but busy.
_BUSY = (429, 503)
# Statuses of a server that is starting, or of the gateway in front of it.
_STARTING = (502, 503, 504)


class RefusedError(ServerError):
    """A server that refuses the first request. words: what it says."""

    def __init__(self, message: str, words: str = "", **place: Any) -> None:
        super().__init__(message, **place)
        self.words = words


class NotReadyError(ServerError):
    """A server that does not answer, or says that it is not ready: it may be starting."""


async def query_server(
    endpoint: Endpoint, headers: tuple[tuple[str, str], ...], key_hint: str, wait: float | None, notice: Notice
) -> ServerInfo:
    """Get the list of models.

    wait: seconds to wait for a server that is starting; None: it is to be up.

    Raises ServerError when the server does not answer or refuses the key.
    """
    request = Request("GET", endpoint.models_path, headers)
    asked = endpoint.asked("GET", request.path)

    async def query() -> tuple[int, bytes, Exchange]:
        answer = await send_request(endpoint, request)
        if wait is not None and answer[0] in _STARTING:
            raise NotReadyError(f"{asked}: HTTP {answer[0]}: {error_body_message(answer[1])}")
        return answer

    status, body, exchange = await _until_ready(query, wait, notice)
    if status in (401, 403):
        raise ServerError(f"{asked} refuses the request (HTTP {status}: {error_body_message(body)}); {key_hint}")
    models, rows, problem = _read_models(status, body, exchange)
    owner = next((row["owned_by"] for row in rows if isinstance(row.get("owned_by"), str)), "")
    contexts = (context for row in rows for context in _contexts(row))
    software = exchange.header(b"server")
    name = clean(software.decode("latin-1"), MAX_LABEL) if software else None
    return ServerInfo(models, name, problem, clean(owner, MAX_LABEL) or None, next(contexts, None))


def choose_model(
    server: ServerInfo, requested: str | None, endpoint: Endpoint, needed: bool = True
) -> tuple[str, bool]:
    """Return the model to request, and whether the server lists it.

    needed: True if a request has to name its model. Raises ConfigError then when no model is known.
    """
    models = server.models or ([] if needed else [""])
    if requested is not None:
        return requested, requested in models
    if not models:
        problem = server.problem or "an empty list"
        asked = endpoint.asked("GET", endpoint.models_path)
        raise ConfigError(f"no list of models ({asked}: {problem}): name one with --model", field="model")
    return models[0], True


async def probe(
    endpoint: Endpoint, prepared: PreparedRequest, api: API, models: list[str] | None, config: Config, notice: Notice
) -> None:
    """Send one real request, for a model that the server does not list or an API whose response form is a guess.

    models: those that the server lists. Raises ServerError when the request is refused or the response is unreadable.
    """
    asked = endpoint.asked("POST", prepared.request.path)

    async def ask() -> tuple[int, bytes, Exchange]:
        answer = await send_request(endpoint, prepared.request, config.first_timeout, notice)
        if config.wait is not None and answer[0] in _STARTING:
            raise NotReadyError(f"{asked}: HTTP {answer[0]}: {error_body_message(answer[1])}")
        return answer

    status, body, exchange = await _until_ready(ask, config.wait, notice)
    if status in _BUSY:
        return
    if 300 <= status < 400 and (location := exchange.header(b"location")) is not None:
        to = hide_in_url(clean(location.decode("latin-1"), MAX_LABEL))
        raise ServerError(f"{asked} redirects to {to} (HTTP {status}), which is not followed: give it as --url")
    if not 200 <= status < 300:
        words = error_body_message(body)
        hint = _hint(status, words, api, models)
        raise RefusedError(f"{asked} refuses the first request (HTTP {status}: {words}){hint}", words)
    response = ResponseParser(api, stream=prepared.streamed)
    response.start(status, exchange.header(b"content-type"), exchange.header(b"content-encoding"))
    response.feed(body, 0)
    failure = response.finish()
    if failure is not None and failure.kind == FailureCause.PROTOCOL:
        raise ServerError(f"{asked} answers, but not as --api expects: {failure.message}")


async def send_request(
    endpoint: Endpoint, request: Request, seconds: float = TIMEOUT, notice: Notice | None = None
) -> tuple[int, bytes, Exchange]:
    """Send one request. Return the status, the body and the exchange.

    seconds: to wait for the whole answer. notice: called if it takes long.

    Raises NotReadyError when there is no answer.
    """
    body = bytearray()

    def keep(data: bytes, _: int) -> bool | None:
        body.extend(data[: MAX_BODY - len(body)])
        return len(body) >= MAX_BODY or None

    exchange = Exchange(keep)
    asked = endpoint.asked(request.method, request.path)
    waiting = f"waiting for the answer to {asked}, up to {seconds:.4g} s (--first-timeout)"
    hint = "is the server up, and --url right? --wait 10m waits for one that is starting"
    try:
        async with asyncio.timeout(seconds), _notice_later(waiting, notice):
            await endpoint.transport.exchange(request, exchange)
    except TransportError as exc:
        raise NotReadyError(f"no answer from {endpoint.url}: {exc.failure.message}; {hint}") from exc
    except TimeoutError as exc:
        if exchange.status is not None:  # it is answering, only slowly
            return exchange.status, bytes(body), exchange
        limit = "; --first-timeout allows more" if notice is not None else f"; {hint}"
        raise NotReadyError(f"no answer to {asked} within {seconds:.4g} s{limit}") from exc
    return exchange.status or 0, bytes(body), exchange


async def _until_ready(query: Any, wait: float | None, notice: Notice) -> tuple[int, bytes, Exchange]:
    """Return the answer of `query()`, which is asked again for `wait` seconds while it raises NotReadyError."""
    loop = asyncio.get_running_loop()
    until = loop.time() + (wait or 0.0)
    told = None
    while True:
        try:
            answer: tuple[int, bytes, Exchange] = await query()
        except NotReadyError as exc:
            left = until - loop.time()
            if wait is None:
                raise
            problem = str(exc).partition(";")[0]
            if left <= 0:
                raise ServerError(f"not ready after {wait:.4g} s (--wait): {problem}") from exc
            if problem != told:
                notice(f"waiting for the server, up to {left:.0f} s more: {problem}")
                told = problem
            await asyncio.sleep(min(WAIT_EVERY, left))
        else:
            return answer


@contextlib.asynccontextmanager
async def _notice_later(text: str, notice: Notice | None) -> AsyncIterator[None]:
    """Call `notice` with a text if the block takes long."""
    timer = None if notice is None else asyncio.get_running_loop().call_later(NOTICE_AFTER, notice, text)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()


def _read_models(
    status: int, body: bytes, exchange: Exchange
) -> tuple[list[str] | None, list[dict[str, Any]], str | None]:
    """Return the models of a list, its rows, and what is wrong with it. None: there is no list, or nothing is wrong."""
    if status != 200:
        location = exchange.header(b"location")
        to = f", redirects to {hide_in_url(clean(location.decode('latin-1'), MAX_LABEL))}" if location else ""
        return None, [], f"HTTP {status}: {error_body_message(body)}{to}"
    try:
        value: Any = parse_json_leniently(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None, [], f"not JSON, but {clean(' '.join(body[:300].decode('utf-8', 'replace').split()), 80)!r}"
    # OpenAI's form; some servers send the list alone, or call it `models`.
    rows = value.get("data", value.get("models")) if isinstance(value, dict) else value
    if not isinstance(rows, list):
        return None, [], "JSON without a list of models"
    found = [{"id": row} if isinstance(row, str) else row for row in rows if isinstance(row, dict | str)]
    names = [row.get("id", row.get("name")) for row in found]
    models = [to_utf8(name) for name in names if isinstance(name, str) and 0 < len(name) <= MAX_MODEL_NAME]
    return models, found, None if models else "an empty list"


def _contexts(row: dict[str, Any]) -> Iterator[int]:
    """Yield the length of a model's context by its row in a list, under the names that servers give it."""
    meta = row.get("meta")
    for fields in (row, meta if isinstance(meta, dict) else {}):
        for name in _CONTEXT_FIELDS:
            if type(fields.get(name)) is int and 0 < fields[name] < 2**40:
                yield fields[name]


def _hint(status: int, words: str, api: API, models: list[str] | None) -> str:
    """Return what to look at when the first request is refused."""
    advice = refusals.advise(words) if status in (400, 422) else None
    if advice is not None:
        return f"; {advice}"
    hints = []
    if models:
        more = f" and {len(models) - _NAMED:,} more" if len(models) > _NAMED else ""
        hints.append(f"it lists {', '.join(clean(model, MAX_LABEL) for model in models[:_NAMED])}{more}")
    if status in (404, 405):
        name = type(api).__name__.lower()
        hints.append(f"if the path is wrong, see --api (this is {name}), --path and the path of --url")
    return "".join(f"; {hint}" for hint in hints)
