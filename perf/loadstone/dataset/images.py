"""Images of a row: URLs stay as they are; files become data: URLs, as servers do not read this machine's disk.

Paths are relative to the dataset. Files are looked at only to tell what they are; nothing is scaled or converted.
"""

from __future__ import annotations

import base64
import mimetypes
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from msgspec.structs import replace

from loadstone.dataset.source import RowPosition
from loadstone.errors import UsageError
from loadstone.records import Prompt

FIELDS = ("image", "images", "image_files")
REMOTE = ("http://", "https://", "data:")
_KINDS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}

Message = dict[str, Any]


def attach_images(prompt: Prompt, row: Mapping[str, Any], where: RowPosition) -> Prompt:
    """The prompt with the images that lie beside it in the row, after the text of its first question."""
    values = [value for name in FIELDS for value in _listed(row.get(name))]
    if not values:
        return prompt
    parts = [{"type": "image_url", "image_url": {"url": _url(value, where)}} for value in values]
    messages = prompt.messages or [{"role": "user", "content": prompt.text or ""}]
    at = next((at for at, message in enumerate(messages) if message["role"] == "user"), 0)
    content = messages[at].get("content")
    text = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    asked = {**messages[at], "content": [*text, *parts]}
    return replace(prompt, text=None, messages=[*messages[:at], asked, *messages[at + 1 :]])


def inline_images(messages: list[Any], where: RowPosition) -> list[Any]:
    """The messages with the files among their images put in."""
    return [_message(message, where) for message in messages]


def _message(message: Any, where: RowPosition) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    return {**message, "content": [_part(part, where) for part in content]}


def _part(part: Any, where: RowPosition) -> Any:
    image = part.get("image_url") if isinstance(part, dict) else None
    if isinstance(image, str):
        return {**part, "image_url": _url(image, where)}
    if isinstance(image, dict) and isinstance(image.get("url"), str):
        return {**part, "image_url": {**image, "url": _url(image["url"], where)}}
    return part


def _listed(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [value for value in values if value is not None and value != ""]


def _url(value: Any, where: RowPosition) -> str:
    match value:
        case {"image_url": inner} | {"url": inner}:
            return _url(inner, where)
        case {"bytes": bytes(data)}:
            return _bytes(data, where)
        case str(text) | {"path": str(text)}:
            return text if text.lower().startswith(REMOTE) else _file(text, where)
    raise UsageError(f"{where}: {str(value)[:40]!r} is neither the path nor the URL of an image")


def _file(text: str, where: RowPosition) -> str:
    path = url2pathname(unquote(urlsplit(text).path)) if text.lower().startswith("file:") else os.path.expanduser(text)
    try:
        return _read(where.source.folder / path)
    except OSError as exc:
        raise UsageError(f"{where}: cannot read the image {text}: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a NUL byte, or no image
        raise UsageError(f"{where}: cannot use the image {text!r}: {exc}") from exc


def _bytes(data: bytes, where: RowPosition) -> str:
    try:
        return _data_url(data)
    except ValueError as exc:
        raise UsageError(f"{where}: the bytes of its image are {exc}") from exc


@lru_cache(maxsize=64)
def _read(path: Path) -> str:
    return _data_url(path.read_bytes(), path.name)


def _data_url(data: bytes, name: str = "") -> str:
    """Raises ValueError."""
    kind = next((kind for begin, kind in _KINDS.items() if data.startswith(begin)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "image/webp"
    kind = kind or mimetypes.guess_type(name)[0] or ""
    if not kind.startswith("image/"):
        raise ValueError("not an image")
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
