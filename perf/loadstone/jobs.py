"""Prompts made ready to send: each row of the dataset becomes one HTTP request, encoded before the run starts.

Pure; also reads the URL that the operator gave. Nothing here opens a socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from loadstone.apis import API, Settings
from loadstone.records import Prompt, UsageError
from loadstone.transport import Request, Target

_PORTS = {"http": 80, "https": 443}
Headers = tuple[tuple[str, str], ...]


class Job(Struct, frozen=True):
    """A request that can be sent any number of times. `asked`: output tokens it asks for, where it does."""

    prompt: str
    request: Request
    streamed: bool
    asked: int | None


def locate(url: str) -> tuple[Target, str]:
    """Target and path of `http://host[:port][/path]`, `https://...`, `unix:/path.sock` or `http+unix://%2Fpath.sock/v1`."""
    if url.startswith("unix:"):
        return Target("localhost", 0, unix="/" + url[5:].lstrip("/")), ""
    parts = urlsplit(url)
    if parts.scheme == "http+unix":
        return Target("localhost", 0, unix=unquote(parts.netloc)), parts.path.rstrip("/")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or parts.username is not None:
        raise UsageError(f"--url takes http://HOST:PORT, https://HOST or unix:/PATH, not {_safe(url)!r}")
    query = f"?{parts.query}" if parts.query else ""
    target = Target(parts.hostname, port or _PORTS[parts.scheme], secure=parts.scheme == "https")
    return target, parts.path.rstrip("/") + query


def path_at(base: str, path: str) -> str:
    """Where an API's path lies under the path of the URL: that may be empty, a prefix, end in /v1, or be the whole path."""
    base, mark, query = base.partition("?")
    if base.endswith(path):
        full = base
    elif base.endswith("/v1") and path.startswith("/v1/"):
        full = base + path.removeprefix("/v1")
    else:
        full = base + path
    return full + mark + query


def sibling(base: str, api_path: str, other: str) -> str:
    """The path of another service (`/v1/models`) beside the API's, under the same URL."""
    prefix, mark, query = base.partition("?")
    return path_at(prefix.removesuffix(api_path), other) + mark + query


def make(prompts: Sequence[Prompt], api: API, settings: Settings, path: str, headers: Headers) -> list[Job]:
    """One job for each prompt, in their order."""
    headers = (("Content-Type", "application/json"), ("Accept", "*/*"), *headers)
    return [_job(prompt, api.body(prompt, settings), path, headers) for prompt in prompts]


def _job(prompt: Prompt, body: dict[str, Any], path: str, headers: Headers) -> Job:
    asked = body.get("max_completion_tokens") or body.get("max_tokens")
    request = Request("POST", path, headers, msgspec.json.encode(body))
    return Job(prompt.id, request, bool(body.get("stream")), asked if isinstance(asked, int) else None)


def _safe(url: str) -> str:
    """Without user and password."""
    return url.partition("://")[0] + "://***@" + url.rpartition("@")[2] if "@" in url else url
