"""Sends single requests to the server of a run, over the run's own transport and with its headers.

For what has to be known before the run: capabilities.py probes the server, tokenize.py asks for token ids. Nothing
here is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.apis import base
from loadstone.apis.response_parser import ResponseParser
from loadstone.apis.server_errors import error_body_message
from loadstone.config import secrets
from loadstone.config.schema import Config
from loadstone.engine import preflight, prepare
from loadstone.engine.sender import Endpoint
from loadstone.errors import Notice, ServerError, UsageError
from loadstone.transport import Headers, Request

# HTTP statuses of a server that is too busy to answer now.
BUSY = (429, 503)
# HTTP statuses of a path that the server does not have.
ABSENT = (404, 405)
# Seconds to wait before each retry if the server is busy.
PAUSES = (1.0, 2.0, 4.0)
# The list of models. Other paths take the place of what Endpoint.models_path ends with.
MODELS = "/v1/models"
_MODELS_END = re.compile(r"(?:/v1)?/models(?=\?|$)")


class Refusal(enum.Enum):
    """Why a server refused a request, as far as its error text shows."""

    NO_CHAT_TEMPLATE = enum.auto()
    OTHER = enum.auto()


class ClientResponse(Struct, frozen=True):
    """An HTTP response: its status and body."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def error(self) -> str:
        """Return the server's error text, with the status."""
        return f"HTTP {self.status}: {error_body_message(self.body)}"

    @property
    def refusal(self) -> Refusal | None:
        """Return why the request was refused; None if it was answered. A missing template has no error code."""
        if self.ok:
            return None
        no_template = self.status not in ABSENT and "template" in self.error
        return Refusal.NO_CHAT_TEMPLATE if no_template else Refusal.OTHER

    def json(self) -> Any:
        """Decode the body. Returns None if it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    def parse(self, api: base.API) -> ResponseParser:
        """Parse the response as one of an API."""
        parser = ResponseParser(api, stream=False, keep_text=True)
        parser.start(self.status, b"application/json")
        parser.feed(self.body, 0)
        parser.finish()
        return parser


class EvalClient:
    """A client of one server and one of its models."""

    def __init__(self, endpoint: Endpoint, headers: Headers, model: str) -> None:
        self._endpoint = endpoint
        self._headers: Headers = (("Content-Type", "application/json"), ("Accept", "*/*"), *headers)
        self.model = model
        self.url = endpoint.url

    async def get(self, path: str) -> ClientResponse:
        """Send a GET request for a path such as `/v1/models`."""
        return await self._send("GET", path)

    async def post(self, path: str, fields: dict[str, Any]) -> ClientResponse:
        """Send a POST request with these fields and the name of the model."""
        return await self._send("POST", path, msgspec.json.encode({"model": self.model, **fields}))

    async def _send(self, method: str, path: str, body: bytes = b"") -> ClientResponse:
        target = _MODELS_END.sub(path, self._endpoint.models_path, count=1)
        request = Request(method, target, self._headers, body)
        for pause in (*PAUSES, None):
            status, answer, _ = await preflight.send_request(self._endpoint, request)
            if status not in BUSY or pause is None:
                break
            await asyncio.sleep(pause)
        if status in BUSY:
            raise ServerError(f"{self.url} is too busy to be asked what it can do (HTTP {status}); try again later")
        return ClientResponse(status, answer)


def _ignore(_: str) -> None:
    """Ignore a notice: it has been shown before."""


@contextlib.asynccontextmanager
async def open_clients(config: Config, notice: Notice = _ignore) -> AsyncIterator[list[EvalClient]]:
    """Open a client of each server of a run, and close them at the end of the context.

    Raises UsageError if a server does not answer, refuses the key, or the model cannot be determined.
    """
    headers, hint = secrets.request_headers(config), secrets.key_hint(config)
    requested = config.models[0][0] if config.models else None
    async with prepare.open_endpoints(config, prepare.find_api(config)) as endpoints:
        try:
            clients = []
            for endpoint in endpoints:
                server = await preflight.query_server(endpoint, headers, hint, config.wait, notice)
                clients.append(EvalClient(endpoint, headers, preflight.choose_model(server, requested, endpoint)[0]))
            yield clients
        except UsageError as exc:
            raise exc.with_message(secrets.hide_secrets(str(exc), secrets.find_secrets(config))) from exc
