"""Prompts made ready to send: each row of the dataset becomes one HTTP request, encoded before the run starts.

Pure; also reads the URL that the operator gave. Nothing here opens a socket.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec
from msgspec import Struct

from loadstone.apis import API, Settings
from loadstone.records import Prompt, UsageError
from loadstone.transport import Request, Target

_PORTS = {"http": 80, "https": 443}
_PATH = "/%?:@!$&'()*+,;=-._~"
"""Characters that stay as they are in a path or query."""
Headers = tuple[tuple[str, str], ...]


class Job(Struct, frozen=True):
    """A request that can be sent any number of times. `asked`: output tokens it asks for, where it does."""

    prompt: str
    request: Request
    streamed: bool
    asked: int | None


def locate(url: str) -> tuple[Target, str]:
    """Target and path of `http://host[:port][/path]`, `https://...`, `unix:/path.sock` or `http+unix://%2Fpath.sock/v1`."""
    try:
        parts = urlsplit(url)
        target = _unix(parts) if parts.scheme in ("unix", "http+unix") else _tcp(parts)
    except ValueError as exc:
        shown = re.sub(r"[^/]*@", "***@", url)
        raise UsageError(f"--url takes http://HOST:PORT, https://HOST or unix:/PATH, not {shown!r}") from exc
    path = "" if parts.scheme == "unix" else quote(parts.path.rstrip("/"), safe=_PATH)
    return target, path + (f"?{quote(parts.query, safe=_PATH)}" if parts.query else "")


def _unix(parts: SplitResult) -> Target:
    path = parts.path if parts.scheme == "unix" else unquote(parts.netloc)
    if not path.strip("/") or not path.startswith("/"):
        raise ValueError(path)
    return Target("localhost", 0, unix=path)


def _tcp(parts: SplitResult) -> Target:
    if not parts.hostname or parts.port == 0 or "@" in parts.netloc or re.search(r"\s", parts.netloc):
        raise ValueError(parts.netloc)
    if parts.scheme not in _PORTS:
        raise ValueError(parts.scheme)
    return Target(parts.hostname, parts.port or _PORTS[parts.scheme], secure=parts.scheme == "https")


def path_at(base: str, path: str) -> str:
    """Where an API's path lies under the URL's: that may be empty, a prefix, end in /v1, or be the whole path."""
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
