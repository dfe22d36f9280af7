"""Read keys from the environment, put them into the headers, and keep them out of all that is shown or written.

Servers quote keys in their error messages, whole or cut short. `Config.redacted` decides which settings are secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from loadstone.config.providers import carries_key, key_header
from loadstone.config.redact import HEADER_NAME, HEADER_VALUE, HIDDEN, hide_in_url
from loadstone.config.schema import Config
from loadstone.errors import ConfigError

# Headers that say where a message ends and what becomes of its connection.
FRAMING = ("content-length", "transfer-encoding", "connection", "expect", "te", "trailer", "upgrade", "keep-alive")
# Names and values of headers, as the transports take them.
Headers = tuple[tuple[str, str], ...]
# Environment variable of the key where none is named.
DEFAULT_KEY = "OPENAI_API_KEY"
# Characters of a secret at least: anything shorter occurs in ordinary sentences.
LEAST = 4
# Characters by which a secret that was cut short is recognized.
BEGINNING = 8
# Words in front of a key, which are not secret.
_SCHEMES = ("bearer", "basic", "digest", "token")


def request_headers(config: Config) -> Headers:
    """Return the configured headers, with the key from the environment unless one of them carries a key.

    Raises UsageError for a header or key that is not fit for HTTP.
    """
    headers = dict(config.header)
    for name, value in headers.items():
        if name.lower() in FRAMING:
            raise ConfigError(f"--header {name}: the client writes that header itself: leave it out", field="header")
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise ConfigError(f"--header takes 'NAME: VALUE' on one line of ASCII; {name!r} is not fit for HTTP")
    variable = config.api_key_env or DEFAULT_KEY
    key = require_key(variable) if config.api_key_env else os.environ.get(variable)
    if key and not HEADER_VALUE.fullmatch(key):
        raise ConfigError(
            f"the key in {variable} is not one line of ASCII; say export {variable}=... with the key alone"
        )
    if key and not any(map(carries_key, headers)):
        headers |= [key_header(variable, key)]
    return tuple(headers.items())


def require_key(variable: str) -> str:
    """Return the key in an environment variable. Raises UsageError if it is not set."""
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"the key is to be in {variable}, but it is not set; say export {variable}=...")
    return key


def key_hint(config: Config) -> str:
    """Return what to do when the server refuses the key."""
    variable = config.api_key_env or DEFAULT_KEY
    if header := next(filter(carries_key, config.header), None):
        return f"the {header} given with --header is not the right one"
    if os.environ.get(variable):
        return f"the key in {variable} is not the right one"
    return f"put the server's key into the environment as {variable}"


def find_secrets(config: Config) -> list[str]:
    """Return the texts that must not be shown or written, longest first."""
    shown = config.redacted()
    headers = dict(request_headers(config))
    templates: list[Any] = [None, None]
    with contextlib.suppress(msgspec.DecodeError):  # a body template may be a file's name
        templates = [msgspec.json.decode(text or "null") for text in (config.body_template, shown["body_template"])]
    values = [
        *_hidden(headers, dict.fromkeys(headers, HIDDEN) | shown["header"]),
        *_hidden(config.extra_body, shown["extra_body"]),
        *_hidden(config.metadata, shown["metadata"]),
        *_hidden(config.chat_template_kwargs, shown["chat_template_kwargs"]),
        *_hidden(*templates),
        *(
            text
            for url in (*config.urls, *config.scrape_urls)
            for text in _hidden(*(dict(parse_qsl(urlsplit(shown).query)) for shown in (url, hide_in_url(url))))
        ),
    ]
    words = {word for value in values for text in (value, quote(value)) for word in re.split(r"[\s;,=]+", text)}
    return sorted(
        (word for word in words if len(word) >= LEAST and word.lower() not in _SCHEMES), key=len, reverse=True
    )


def redacted_settings(config: Config) -> dict[str, Any]:
    """Return the settings for files, with the keys of the environment hidden in --metadata, which is any text."""
    settings = config.redacted()
    keys = find_secrets(config) if settings["metadata"] else []
    settings["metadata"] = {name: hide_secrets(value, keys) for name, value in settings["metadata"].items()}
    return settings


def hide_secrets(text: str, secrets: list[str]) -> str:
    """Return the text with all secrets hidden, and the beginnings of those that were cut short."""
    for secret in secrets:
        if secret[:BEGINNING] in text:
            for length in range(len(secret), min(len(secret), BEGINNING) - 1, -1):
                text = text.replace(secret[:length], HIDDEN)
    return text


def scrubber(secrets: list[str]) -> Callable[[bytes], bytes] | None:
    """Return a function that hides secrets in JSON or CSV that is about to be written; None if there are none.

    A server can put a key that it was sent into any text. Only texts that look like keys are hidden, as an answer may
    hold the word `EMPTY`: those of 8 characters or more that are not all letters, and those of 16 or more.
    """
    likely = [secret for secret in secrets if len(secret) >= 16 or (len(secret) >= 8 and not secret.isalpha())]
    forms = {form for secret in likely for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))}
    encoded = sorted((form.encode() for form in forms), key=len, reverse=True)
    if not encoded:
        return None

    def scrub(data: bytes) -> bytes:
        for secret in encoded:
            if secret in data:
                data = data.replace(secret, HIDDEN.encode())
        return data

    return scrub


def _hidden(value: Any, shown: Any) -> Iterator[str]:
    """Yield the texts of `value` that `shown`, otherwise the same, hides."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _hidden(item, shown[name])
    elif isinstance(value, list):
        for item, shown_item in zip(value, shown, strict=True):
            yield from _hidden(item, shown_item)
    elif isinstance(value, str) and shown == HIDDEN:
        yield value
