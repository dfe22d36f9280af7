"""Read files of settings as plain mappings: TOML, YAML or JSON by their ending. The only file that imports PyYAML."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadstone.errors import ConfigError

YAML = (".yaml", ".yml")
# Bytes of a file of settings at most.
MAX_SIZE = 16 * 2**20


def read(path: Path, flag: str = "--config") -> dict[str, Any]:
    """Read the mapping in a file; TOML where the ending is of nothing else. Raises ConfigError."""
    ending = path.suffix.lower()
    name, parse = _PARSERS.get(ending, ("TOML", tomllib.loads))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise ConfigError(
                f"{flag} {path} is larger than {MAX_SIZE >> 20} MiB: give a file of settings", file=str(path)
            )
        content = parse(data.decode())
    except RecursionError as exc:
        raise ConfigError(f"{flag} {path} is nested too deeply to be settings", file=str(path)) from exc
    except OSError as exc:
        raise ConfigError(f"cannot read {flag} {path}: {exc.strerror}", file=str(path)) from exc
    except ValueError as exc:  # all three parsers raise one
        raise ConfigError(f"{flag} {path} is not {name}: {exc}", file=str(path)) from exc
    if ending in YAML:
        content = content or {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"{flag} {path} holds no settings: write NAME: VALUE on each line", file=str(path))
    return content


def yaml(text: str) -> Any:
    """Parse a YAML text. Raises ValueError."""
    from yaml import YAMLError, safe_load

    try:
        return safe_load(text)
    except YAMLError as exc:
        raise ValueError(" ".join(str(exc).split())) from exc


def find_line(path: Path, key: str) -> int | None:
    """Return the line of a file that sets a key, from 1; None if none does. A key has - or _."""
    name = re.sub(r"[-_]", "[-_]", re.escape(key).replace(r"\-", "-"))
    pattern = re.compile(rf"""(?:^|[{{,])\s*(["']?){name}\1\s*[:=]""")
    lines = path.read_text("utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if pattern.search(line)), None)


# By the ending of a file: name of the format, and parser.
_PARSERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    ".json": ("JSON", json.loads),
    **dict.fromkeys(YAML, ("YAML", yaml)),
}
