"""Read files of settings as plain mappings: TOML, YAML or JSON by their ending. The only file that imports PyYAML."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadstone.errors import UsageError

YAML = (".yaml", ".yml")


def read(path: Path, flag: str = "--config") -> dict[str, Any]:
    """Read the mapping in a file; TOML where the ending is of nothing else. Raises UsageError."""
    ending = path.suffix.lower()
    name, parse = _PARSERS.get(ending, ("TOML", tomllib.loads))
    try:
        content = parse(path.read_text("utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read {flag} {path}: {exc.strerror}") from exc
    except ValueError as exc:  # all three parsers raise one
        raise UsageError(f"{flag} {path} is not {name}: {exc}") from exc
    if ending in YAML:
        content = content or {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{flag} {path} holds no settings: write NAME: VALUE on each line")
    return content


def yaml(text: str) -> Any:
    """Parse a YAML text. Raises ValueError."""
    from yaml import YAMLError, safe_load

    try:
        return safe_load(text)
    except YAMLError as exc:
        raise ValueError(" ".join(str(exc).split())) from exc


# By the ending of a file: name of the format, and parser.
_PARSERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    ".json": ("JSON", json.loads),
    **dict.fromkeys(YAML, ("YAML", yaml)),
}
