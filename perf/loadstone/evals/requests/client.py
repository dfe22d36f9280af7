"""A line to the server beside the run: single requests over the run's own transport, with its headers.

For what has to be known before the run begins (probe.py, tokenising.py). Nothing here is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis import base
from loadstone.apis.response_parser import ResponseParser, error_body_message
from loadstone.config import secrets
from loadstone.config.schema import Config
from loadstone.engine import preflight, prepare
from loadstone.engine.prepare import EndpointSpec
from loadstone.errors import UsageError
from loadstone.transport import Headers, Request

BUSY = (429, 503)
# Seconds to wait where the server is busy, before it is given up.
PAUSES = (1.0, 2.0, 4.0)
MODELS = "/v1/models"


class ClientResponse(Struct, frozen=True):
    """What came back: the HTTP status and the body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def error(self) -> str:
        """The server's words in a refusal, with the status."""
        return f"HTTP {self.status}: {error_body_message(self.body)}"

    def json(self) -> Any:
        """The body, None where it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def parse(self, api: base.API) -> ResponseParser:
        """The answer, read as an API does it."""
        reply = ResponseParser(api, stream=False, keep_text=True)
        reply.start(self.status, b"application/json")
        reply.feed(self.body, 0)
        reply.finish()
        return reply


class EvalClient:
    """Asks one server for one model."""

    def __init__(self, endpoint: EndpointSpec, headers: Headers, model: str) -> None:
        self._at = endpoint
        self._headers: Headers = (("Content-Type", "application/json"), ("Accept", "*/*"), *headers)
        self.model = model
        self.url = endpoint.url

    async def get(self, path: str) -> ClientResponse:
        """An answer to GET, of a path such as `/v1/models`."""
        return await self._send(Request("GET", self._path(path), self._headers))

    async def post(self, path: str, fields: dict[str, Any]) -> ClientResponse:
        """An answer to POST, of the fields with the model's name."""
        body = msgspec.json.encode({"model": self.model, **fields})
        return await self._send(Request("POST", self._path(path), self._headers, body))

    def _path(self, path: str) -> str:
        return self._at.models_path.replace(MODELS, path, 1)

    async def _send(self, request: Request) -> ClientResponse:
        for pause in (*PAUSES, None):
            status, body, _ = await preflight.send_request(self._at.endpoint.transport, request, self.url)
            if status not in BUSY or pause is None:
                break
            await asyncio.sleep(pause)
        if status in BUSY:
            raise UsageError(f"{self.url} is too busy to be asked what it can do (HTTP {status}); try again later")
        return ClientResponse(status, body)


@contextlib.asynccontextmanager
async def open_clients(config: Config) -> AsyncIterator[list[EvalClient]]:
    """A line to each server of a run, for as long as they are needed. Raises UsageError when nobody answers, the key is
    refused, or there is no way to know the model."""
    headers, hint = secrets.request_headers(config), secrets.key_hint(config)
    async with prepare.open_endpoints(config, prepare.find_api(config)) as ways:
        try:
            yield [await _line(config, at, headers, hint) for at in ways]
        except UsageError as exc:
            raise UsageError(secrets.hide_secrets(str(exc), secrets.find_secrets(config))) from exc


async def _line(config: Config, at: EndpointSpec, headers: Headers, hint: str) -> EvalClient:
    server = await preflight.query_server(at.endpoint.transport, at.url, at.models_path, headers, hint)
    asked = config.models[0][0] if config.models else None
    return EvalClient(at, headers, preflight.choose_model(server, asked, at.url)[0])
