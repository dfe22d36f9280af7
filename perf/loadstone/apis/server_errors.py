"""Finds what a server says about an error, in any of the forms in which servers, frameworks and gateways say it.

OpenAI and vLLM send `{"error": {"message"}}`, SGLang and older vLLM `{"object": "error", "message"}`, FastAPI
`{"detail"}` (a text, or a list of places and messages), Anthropic `{"type": "error", "error"}`, Spring and .NET
`{"errors": [...]}`, MiniMax `{"base_resp": {"status_code", "status_msg"}}`; others plain text.
"""

from __future__ import annotations

import json
import re
from typing import Any

from loadstone.text import clean, parse_json_leniently

# Characters of the server's message in an error response that are kept.
MAX_ERROR_MESSAGE = 500
# Bytes of an error response that are kept.
MAX_ERROR_BODY = 65_536
# Finish reasons that mean that the server gave up: vLLM's and SGLang's `abort`, OpenRouter's and Mistral's `error`, the
# `failed` of responses, Zhipu's `network_error`, DeepSeek's `insufficient_system_resource`.
FAILED_FINISH = re.compile(
    r"abort\w*|\w*error\w*|fail\w*|cancell?ed|incomplete|insufficient_system_resource|timeout", re.IGNORECASE
)
# Fields that hold an error, whatever else an object has.
_ERROR_FIELDS = ("error", "errors", "error_message", "error_msg", "exception")
# Fields that hold the message of an error, the best first.
_MESSAGE_FIELDS = (
    *("message", "detail", "error_message", "error_msg", "status_msg", "msg", "reason", "title", "error_description"),
    *("error", "errors", "description", "exception", "type", "code"),
)
# Values of `object`, `type` or `status` that mark an error.
_ERROR_MARKS = ("error", "failed", "failure")
# Values of `code` beside a message that is no error; None: there is none.
_GOOD_CODES = (None, 0, 200, "0", "200", "", "ok", "OK", "success")
# What the bytes of an event with an error contain, if they are JSON.
_SUSPECT = re.compile(rb'"(?:error\w*|detail|message|msg|exception|base_resp|success|status)"\s*:')
# An event of several words that is no torn piece of JSON.
_SENTENCE = re.compile(r"\[?[A-Za-z][^{}\"\x00-\x08]*\s[^{}\"\x00-\x08]+")
# The beginning of an error in plain text, as in `[ERROR] out of memory` or `Error: worker lost`.
_PLAIN = re.compile(
    r"[^\w\"{]{0,3}(?:\w+ ){0,3}(?:\w*error|\w*exception|traceback|fatal|failed|failure)\b", re.IGNORECASE
)
# How deep an error may be nested: beyond it, the rest is shown as JSON.
_MAX_DEPTH = 6


def error_body_message(body: bytes) -> str:
    """Return the server's message in an error response."""
    text = body.decode("utf-8", "replace").strip()
    try:
        value = parse_json_leniently(text)
    except (ValueError, RecursionError):
        return clean(text, MAX_ERROR_MESSAGE) or "no explanation"
    return clean(_words(value), MAX_ERROR_MESSAGE) or "no explanation"


def error_message(error: Any) -> str:
    """Return the message of a server's error, which may be an object, a list or a text."""
    return clean(_words(error)) or "the server gave no reason"


def find_error(data: bytes) -> str | None:
    """Return the server's message if an event without any output is an error, else None.

    data: of an event that its protocol did not recognise.
    """
    if not _SUSPECT.search(data):
        return None
    try:
        value = parse_json_leniently(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not _is_error(value):
        return None
    return error_message(next((value[name] for name in _ERROR_FIELDS if _is_message(value.get(name))), value))


def plain_error(data: bytes, in_stream: bool) -> str | None:
    """Return the text of an event that is not JSON but says that it is an error, else None.

    in_stream: whether it came as an event, where any sentence is one.
    """
    text = data.decode("utf-8", "replace").strip()
    return clean(text, MAX_ERROR_MESSAGE) if _PLAIN.match(text) or (in_stream and _SENTENCE.fullmatch(text)) else None


def _is_error(value: dict[str, Any]) -> bool:
    if any(_is_message(value.get(name)) or value.get(name) is True for name in _ERROR_FIELDS):
        return True
    if any(value.get(name) in _ERROR_MARKS for name in ("object", "type", "status")) or value.get("success") is False:
        return True
    if value.get("choices") or value.get("delta"):
        return False
    base = value.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return True
    if value.get("detail"):
        return True
    # `{"code": 0, "message": "ok"}` is none, and a message alone is one.
    told = any(isinstance(value.get(name), str) and value[name] for name in ("message", "msg"))
    return told and (len(value) == 1 or value.get("code") not in _GOOD_CODES)


def _is_message(value: Any) -> bool:
    """Return True if a value can be an error: a text, an object or a list that is not empty."""
    return isinstance(value, str | dict | list) and bool(value)


def _words(value: Any, depth: int = 0) -> str:
    """Return the message in an error of any form."""
    if isinstance(value, str):
        return value
    if depth == _MAX_DEPTH or not isinstance(value, dict | list):
        return "" if value is None else _as_json(value)
    if isinstance(value, list):
        return "; ".join(words for item in value if (words := _words(item, depth + 1)))
    base = value.get("base_resp")
    fields = {**value, **base} if isinstance(base, dict) else value
    found = next((fields[name] for name in _MESSAGE_FIELDS if fields.get(name)), None)
    if found is None or found is True:
        return _as_json(value)
    message = _words(found, depth + 1)
    # FastAPI names the place of each mistake: ["body", "temperature"].
    place = value.get("loc")
    if isinstance(place, list) and place:
        message = f"{'.'.join(str(step) for step in place)}: {message}"
    return message


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return type(value).__name__
