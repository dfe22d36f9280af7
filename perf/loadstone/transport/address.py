"""Parses URLs: the socket to connect to, and the path of an API below it."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from loadstone.errors import ConfigError
from loadstone.transport import Target

_VERSIONS = ("/v1", "/v1beta/openai")
_PORTS = {"http": 80, "https": 443}
# Characters that are not escaped in a path or query.
_PATH = "/%?:@!$&'()*+,;=-._~"


def parse_url(url: str) -> tuple[Target, str]:
    """Return target and path of a URL. Raises ConfigError.

    It is `http://host[:port][/path]`, `https://...`, `unix:/path.sock` or `http+unix://%2Fpath.sock/v1`.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in ("unix", "http+unix"):
            socket_path = parts.path if parts.scheme == "unix" else unquote(parts.netloc)
            if not socket_path.strip("/") or not socket_path.startswith("/"):
                raise ValueError(socket_path)
            target = Target("localhost", 0, unix=socket_path)
        else:
            if not parts.hostname or parts.port == 0 or "@" in parts.netloc or re.search(r"\s", parts.netloc):
                raise ValueError(parts.netloc)
            if parts.scheme not in _PORTS:
                raise ValueError(parts.scheme)
            target = Target(parts.hostname, parts.port or _PORTS[parts.scheme], secure=parts.scheme == "https")
    except ValueError as exc:
        shown = re.sub(r"[^/]*@", "***@", url)
        raise ConfigError(
            f"--url takes http://HOST:PORT, https://HOST or unix:/PATH, not {shown!r}", field="url"
        ) from exc
    path = "" if parts.scheme == "unix" else quote(parts.path.rstrip("/"), safe=_PATH)
    return target, path + (f"?{quote(parts.query, safe=_PATH)}" if parts.query else "")


def join_path(base: str, path: str) -> str:
    """Return the path of an API under the URL's path `base`.

    The latter may be empty, a prefix, end in /v1 (Gemini's in /v1beta/openai), or be the whole path.
    """
    base, mark, query = base.partition("?")
    if base.endswith(path):
        full = base
    elif base.endswith(_VERSIONS) and path.startswith("/v1/"):
        full = base + path.removeprefix("/v1")
    else:
        full = base + path
    return full + mark + query


def sibling_path(base: str, api_path: str, other: str) -> str:
    """Return the path of another service (`/v1/models`) beside that of the API, under the same URL."""
    prefix, mark, query = base.partition("?")
    return join_path(prefix.removesuffix(api_path), other) + mark + query
