"""Whether the Hugging Face Hub can be reached, found out before a library tries for half a minute."""

from __future__ import annotations

import os
import socket
import threading
from functools import cache
from urllib.parse import urlsplit

from loadstone.transport.common import PROXIES

# Seconds for an answer of the name server and of the Hub.
PATIENCE = 1.5
# Seconds of each attempt of the library; its own default is 10.
LIBRARY_TIMEOUT = "5"
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def why_unreachable() -> str | None:
    """Return why nothing can be loaded from the Hub, or None. Asked once for each address."""
    for name in _OFFLINE:
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            return f"{name} is set"
    if any(os.environ.get(name) for name in PROXIES):
        return None  # the proxy reaches it, or the library says why not
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", LIBRARY_TIMEOUT)
    os.environ.setdefault("HF_HUB_DOWNLOAD_TIMEOUT", LIBRARY_TIMEOUT)
    return _connect(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")


@cache
def _connect(endpoint: str) -> str | None:
    """Return why a server cannot be reached. In a thread, as name servers may take long to answer."""
    parts = urlsplit(endpoint)
    host = parts.hostname or endpoint
    reasons: list[str | None] = []

    def connect() -> None:
        try:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            socket.create_connection((host, port), timeout=PATIENCE).close()
            reasons.append(None)
        except (OSError, ValueError) as exc:
            reasons.append(getattr(exc, "strerror", None) or str(exc) or type(exc).__name__)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    reason = reasons[0] if reasons else f"no answer within {PATIENCE:g} s"
    return None if reason is None else f"{host} cannot be reached: {reason}"
