"""The bodies that all protocols share: errors, models, usage. Pure.

Their form is that of vLLM 0.32, key for key; only the names of the owner and the fingerprint are our own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

# `system_fingerprint` of OpenAI's bodies.
FINGERPRINT = "loadstone-sim"
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
# vLLM's message after a crash of its engine.
ENGINE_DEAD_MESSAGE = "EngineCore encountered an issue. See stack trace (above) for the root cause."

encode = msgspec.json.Encoder().encode


class Page(Struct, frozen=True):
    """A whole HTTP response.

    content_type: None for no such header.
    headers: further header lines, each with its line end.
    """

    status: int
    body: bytes
    content_type: bytes | None = JSON
    headers: bytes = b""


def error(status: int, message: str, error_type: str = "BadRequestError", param: str | None = None) -> Page:
    """Return a page with vLLM's error object."""
    return Page(status, encode({"error": {"message": message, "type": error_type, "param": param, "code": status}}))


def model_not_found(requested: str, model: str) -> Page:
    """Return the error for a request to another model than the server's."""
    return error(404, f"The model `{requested}` does not exist. Valid aliases: {model}.", "NotFoundError", "model")


HEALTH = Page(200, b"", None)
NOT_FOUND = Page(404, b'{"detail":"Not Found"}')
UNAUTHORIZED = Page(401, b'{"error":"Unauthorized"}')
NOT_HTTP = Page(400, b"Invalid HTTP request received.", TEXT)
EMPTY_PROMPT = error(400, "The decoder prompt cannot be empty")
ENGINE_DEAD_PAGE = error(500, ENGINE_DEAD_MESSAGE, "InternalServerError")


def method_not_allowed(methods: bytes) -> Page:
    """Return the error for a path that has only these methods."""
    return Page(405, b'{"detail":"Method Not Allowed"}', headers=b"allow: " + methods + b"\r\n")


def fault_page(fault: str, model: str) -> Page | None:
    """Return the error page of a fault that is a status, None for other faults."""
    too_many = error(429, "Too many requests, please try again later.", "Too Many Requests")
    return {
        "400": error(400, "The request was refused by the simulated server."),
        "401": UNAUTHORIZED,
        "404": model_not_found("no-such-model", model),
        "429": Page(429, too_many.body, headers=b"retry-after: 1\r\n"),
        "500": ENGINE_DEAD_PAGE,
        "503": error(503, "The server is overloaded, please try again later.", "ServiceUnavailableError"),
    }.get(fault)


def usage(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    """Return vLLM's usage object. `cached`: cached prompt tokens, None if the server does not report them."""
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion, **details}


def error_message(page: Page) -> str:
    """Return the message of a page with vLLM's error object."""
    error = msgspec.json.decode(page.body)["error"]
    return str(error["message"] if isinstance(error, dict) else error)


def models(model: str, created: int, max_model_len: int) -> Page:
    """Return GET /v1/models. `created`: Unix time, s."""
    permissions = {
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
    }
    permission = {"id": "modelperm-loadstone", "object": "model_permission", "created": created, **permissions}
    card = {
        "id": model,
        "object": "model",
        "created": created,
        "owned_by": "loadstone",
        "root": model,
        "parent": None,
        "max_model_len": max_model_len,
        "permission": [permission | {"organization": "*", "group": None, "is_blocking": False}],
    }
    return Page(200, encode({"object": "list", "data": [card]}))
