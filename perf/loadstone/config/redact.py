"""Hide keys, tokens and passwords in what is written to files."""

from __future__ import annotations

import re
from typing import Any

import msgspec

# Names and values of headers (RFC 9110, 5.6.2 and 5.5, of ASCII only).
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
# Replaces a secret.
HIDDEN = "***"
# Names of secrets, and values that are secrets under any name.
_SECRET = re.compile(r"auth|key|token|secret|cookie|passw|credential|signature|^sig$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\s*(bearer|basic|digest|token)\s|sk-", re.IGNORECASE)


def hide(value: Any, secret: bool = False) -> Any:
    """Return a JSON value with all texts under secret-sounding names hidden (`max_tokens` and the like are numbers)."""
    if isinstance(value, dict):
        return {name: hide(item, secret or is_secret(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [hide(item, secret) for item in value]
    return HIDDEN if secret and isinstance(value, str) else value


def hide_in_template(template: str | None) -> str | None:
    """Return a JSON text with its secrets hidden; anything else unchanged."""
    try:
        return template and msgspec.json.encode(hide(msgspec.json.decode(template))).decode()
    except (msgspec.DecodeError, RecursionError):  # a file's name, or something that is refused later
        return template


def is_secret(name: str) -> bool:
    """Return True if a header or field of this name sounds like a secret."""
    return bool(_SECRET.search(name))


def hide_header(name: str, value: str) -> str:
    """Return the value of a header, hidden if it looks like a secret."""
    return HIDDEN if is_secret(name) or _SECRET_VALUE.match(value) else value


def hide_in_url(url: str) -> str:
    """Return a URL with its passwords and keys hidden."""
    without_password = re.sub(r"(?<=//)[^/?#]*@", f"{HIDDEN}@", url)
    return re.sub(
        r"(?<=[?&])([^=&]+)=[^&#]*",
        lambda match: f"{match[1]}={HIDDEN}" if is_secret(match[1]) else match[0],
        without_password,
    )
