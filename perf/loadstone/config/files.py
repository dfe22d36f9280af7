"""Files of settings, TOML, YAML or JSON by their ending, as plain mappings. The only file that imports PyYAML.

What a setting means is for those who asked.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadstone.errors import UsageError

YAML = (".yaml", ".yml")


def read(path: Path, flag: str = "--config") -> dict[str, Any]:
    """The mapping in a file; TOML where the ending says nothing else. Raises UsageError."""
    name, parse = _parser(path.suffix.lower())
    try:
        found = parse(path.read_text("utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read {flag} {path}: {exc.strerror}") from exc
    except ValueError as exc:  # all three kinds of mistakes are made so
        raise UsageError(f"{flag} {path} is not {name}: {exc}") from exc
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UsageError(f"{flag} {path} holds no settings: write NAME: VALUE on each line")
    return found


def _parser(ending: str) -> tuple[str, Callable[[str], Any]]:
    if ending in YAML:
        return "YAML", lambda text: yaml(text) or {}
    return ("JSON", json.loads) if ending == ".json" else ("TOML", tomllib.loads)


def yaml(text: str) -> Any:
    """What a YAML text says. Raises ValueError."""
    from yaml import YAMLError, safe_load

    try:
        return safe_load(text)
    except YAMLError as exc:
        raise ValueError(" ".join(str(exc).split())) from exc
