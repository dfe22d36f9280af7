"""The bodies the simulated server sends besides streams: errors, models. Pure.

Their shape is that of vLLM 0.32, key for key; only the names of server and fingerprint are our own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

FINGERPRINT = "loadstone-sim"
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
ENGINE_DEAD_MESSAGE = "EngineCore encountered an issue. See stack trace (above) for the root cause."

encode = msgspec.json.Encoder().encode


class Page(Struct, frozen=True):
    """A whole response: status, body, its type, and further header lines."""

    status: int
    body: bytes
    content_type: bytes | None = JSON
    headers: bytes = b""


def error(status: int, message: str, error_type: str = "BadRequestError", param: str | None = None) -> Page:
    """vLLM's error object."""
    return Page(status, encode({"error": {"message": message, "type": error_type, "param": param, "code": status}}))


def model_not_found(asked: str, model: str) -> Page:
    return error(404, f"The model `{asked}` does not exist. Valid aliases: {model}.", "NotFoundError", "model")


HEALTH = Page(200, b"", None)
NOT_FOUND = Page(404, b'{"detail":"Not Found"}')
UNAUTHORIZED = Page(401, b'{"error":"Unauthorized"}')
NOT_HTTP = Page(400, b"Invalid HTTP request received.", TEXT)
EMPTY_PROMPT = error(400, "The decoder prompt cannot be empty")
ENGINE_DEAD_PAGE = error(500, ENGINE_DEAD_MESSAGE, "InternalServerError")


def method_not_allowed(methods: bytes) -> Page:
    return Page(405, b'{"detail":"Method Not Allowed"}', headers=b"allow: " + methods + b"\r\n")


def fault_page(fault: str, model: str) -> Page | None:
    """The reply of a fault that is a status."""
    return {
        "400": error(400, "The request was refused by the simulated server."),
        "401": UNAUTHORIZED,
        "404": model_not_found("no-such-model", model),
        "429": Page(429, _TOO_MANY.body, headers=b"retry-after: 1\r\n"),
        "500": ENGINE_DEAD_PAGE,
        "503": error(503, "The server is overloaded, please try again later.", "ServiceUnavailableError"),
    }.get(fault)


_TOO_MANY = error(429, "Too many requests, please try again later.", "Too Many Requests")


def usage(prompt: int, completion: int, cached: int | None = None) -> dict[str, Any]:
    """vLLM's usage object; cached tokens only where the server tells them."""
    told = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion, **told}


def error_message(page: Page) -> str:
    """The message of vLLM's error object."""
    error = msgspec.json.decode(page.body)["error"]
    return str(error["message"] if isinstance(error, dict) else error)


def models(model: str, created: int, max_model_len: int) -> Page:
    """GET /v1/models."""
    rights = {
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
    }
    permission = {"id": "modelperm-loadstone", "object": "model_permission", "created": created, **rights}
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
