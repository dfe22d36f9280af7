"""Images of a row. URLs stay as they are; files become data: URLs, because servers do not read this machine's disk.

Paths are relative to the dataset. Files are read only to find their type; nothing is scaled or converted.
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
from loadstone.records import Prompt

FIELDS = ("image", "images", "image_files")
REMOTE = ("http://", "https://", "data:")
# Media types by the first bytes of a file.
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
    b"II*\0": "image/tiff",
    b"MM\0*": "image/tiff",
}


def attach_images(prompt: Prompt, row: Mapping[str, Any], position: RowPosition) -> Prompt:
    """Return the prompt with the images in the fields FIELDS of its row, after the text of its first user message."""
    columns = [row.get(name) for name in FIELDS]
    values = [value for column in columns for value in (column if isinstance(column, list) else [column])]
    values = [value for value in values if value is not None and value != ""]
    if not values:
        return prompt
    parts = [{"type": "image_url", "image_url": {"url": _image_url(value, position)}} for value in values]
    messages = prompt.messages or [{"role": "user", "content": prompt.text or ""}]
    index = next((index for index, message in enumerate(messages) if message["role"] == "user"), 0)
    content = messages[index].get("content")
    text = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    message = {**messages[index], "content": [*text, *parts]}
    return replace(prompt, text=None, messages=[*messages[:index], message, *messages[index + 1 :]])


def inline_images(messages: list[Any], position: RowPosition) -> list[Any]:
    """Return the messages with image files replaced by data: URLs."""
    inlined = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            inlined.append(message)
            continue
        parts = []
        for part in content:
            image = part.get("image_url") if isinstance(part, dict) else None
            if isinstance(image, str):
                parts.append({**part, "image_url": _image_url(image, position)})
            elif isinstance(image, dict) and isinstance(image.get("url"), str):
                parts.append({**part, "image_url": {**image, "url": _image_url(image["url"], position)}})
            else:
                parts.append(part)
        inlined.append({**message, "content": parts})
    return inlined


def _image_url(value: Any, position: RowPosition) -> str:
    """Return the URL of an image given as a URL, a path or bytes. Raises DataError."""
    match value:
        case {"image_url": inner} | {"url": inner}:
            return _image_url(inner, position)
        case {"bytes": bytes(data)}:
            try:
                return _data_url(data)
            except ValueError as exc:
                raise position.error(f"the bytes of its image are {exc}") from exc
        case str(text) | {"path": str(text)}:
            return text if text.lower().startswith(REMOTE) else _file_url(text, position)
    raise position.error(f"{str(value)[:40]!r} is neither the path nor the URL of an image")


def _file_url(text: str, position: RowPosition) -> str:
    """Return the data: URL of an image's file, given as a path or a file: URL."""
    path = url2pathname(unquote(urlsplit(text).path)) if text.lower().startswith("file:") else os.path.expanduser(text)
    try:
        return _read(position.source.folder / path)
    except OSError as exc:
        raise position.error(f"cannot read the image {text}: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a NUL byte, or no image
        raise position.error(f"cannot use the image {text!r}: {exc}") from exc


@lru_cache(maxsize=64)  # rows often share images
def _read(path: Path) -> str:
    return _data_url(path.read_bytes(), path.name)


def _data_url(data: bytes, name: str = "") -> str:
    """Return the data: URL of an image, its type by the first bytes or else by the file's name. Raises ValueError."""
    media_type = next((media_type for magic, media_type in _MAGIC.items() if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        media_type = "image/webp"
    media_type = media_type or mimetypes.guess_type(name)[0] or ""
    if not media_type.startswith("image/"):
        raise ValueError("not an image")
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
