"""Parses URLs: the socket to connect to, and the path of an API below it."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from loadstone.errors import ConfigError
from loadstone.transport import Target

# Ends of a base that stand for the version of an API: /v1, /api/v3, /api/paas/v4, /v1beta/openai, Azure's deployments.
_VERSIONED = re.compile(r"/v\d+(?:(?:alpha|beta)\d*)?(?:/openai)?$|/openai/deployments/[^/]+$")
_VERSION = "/v1"
# Paths of APIs below the version, the longer before the shorter ones that they end with.
_KNOWN = ("/chat/completions", "/completions", "/responses", "/messages", "/embeddings")
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
            host = parts.hostname.encode("idna").decode()  # as it stands in the Host header and in certificates
            target = Target(host, parts.port or _PORTS[parts.scheme], secure=parts.scheme == "https")
        quote(parts.path + parts.query)  # what is no UTF-8 cannot be sent
    except ValueError as exc:
        shown = re.sub(r"\?.*", "?***", re.sub(r"[^/]*@", "***@", url))
        raise ConfigError(
            f"--url takes http://HOST:PORT, https://HOST or unix:/PATH, not {shown!r}", field="url"
        ) from exc
    path = "" if parts.scheme == "unix" else escape(parts.path.rstrip("/"))
    return target, path + (f"?{escape(parts.query)}" if parts.query else "")


def escape(path: str) -> str:
    """Return a path or query as it stands in a request: with escapes for spaces, line ends and what is not ASCII."""
    return quote(path, safe=_PATH)


def join_path(base: str, path: str) -> str:
    """Return the path of an API under the URL's path `base`.

    The latter may be empty, a prefix, end in a version such as /v1 or /api/v3, or be the whole path, wherever that is.
    Raises ConfigError if it is the whole path of another API.
    """
    base, mark, query = base.partition("?")
    if base.endswith("/models") and path:
        raise ConfigError("--url ends in /models, the list of models: leave that out", field="url")
    below = path.removeprefix(_VERSION)
    known = next((tail for tail in _KNOWN if base.endswith(tail)), None)
    if below in _KNOWN and known not in (None, below):
        raise ConfigError(
            f"--url ends in {known}, and --api sends to {below}: leave out {known}, or give the --api of that path",
            field="url",
        )
    if below and base.endswith((path, below)):
        full = base
    elif path.startswith(f"{_VERSION}/") and _VERSIONED.search(base):
        full = base + below
    else:
        full = base + path
    return full + mark + query


def sibling_path(base: str, api_path: str, other: str) -> str:
    """Return the path of another service (`/v1/models`) beside that of the API, under the same URL."""
    prefix, mark, query = base.partition("?")
    below = api_path.removeprefix(_VERSION)
    root = prefix.removesuffix(api_path)
    if root == prefix and below and prefix.endswith(below):
        # The API is right below the root, so its sibling is too.
        root = prefix.removesuffix(below)
        return root + other.removeprefix(_VERSION) + mark + query
    return join_path(root, other) + mark + query


def full_url(target: Target, path: str) -> str:
    """Return the URL of a path on a target. Secrets in the path stay."""
    if target.unix is not None:
        return f"http+unix://{quote(target.unix, safe='')}{path}"
    scheme = "https" if target.secure else "http"
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if target.port == _PORTS[scheme] else f":{target.port}"
    return f"{scheme}://{host}{port}{path}"
