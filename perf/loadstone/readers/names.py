"""From what was typed to a reader and a path: formats, generators, bundled sets, entry points, own files.

Decides and imports; reads no prompt. Third-party readers are imported here and nowhere else, and what their
import raises is a UsageError.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from loadstone.records import UsageError

GROUP = "loadstone.readers"
BUNDLED_ENDINGS = {".jsonl", ".json", ".csv", ".txt"}
OWN = re.compile(r"(?P<reader>.+\.py:[^\W\d]\w*)(?::(?P<path>.+))?", re.DOTALL)

Known = Mapping[str, Callable[..., Any] | str]


def resolve(spec: str, known: Known) -> tuple[str | None, str | None]:
    """(reader, path) of a `--dataset` value; names go before files.

    No reader: the content decides. No path: a generator.
    """
    if own := OWN.fullmatch(spec):
        return own["reader"], _path(own["path"])
    if spec in known:
        return spec, None
    if spec == "-" or spec in bundled() or _exists(spec):
        return None, _path(spec)
    head, colon, rest = spec.partition(":")
    if colon and (head in known or head in plugins()):
        return head, _path(rest)
    if spec in plugins():
        return spec, None
    raise _unknown(spec, known)


def load(name: str, known: Known) -> Callable[..., Any]:
    """The reader of that name, imported. Raises UsageError when that fails or gives no callable."""
    try:
        reader = _load(name, known)
    except Exception as exc:  # third-party code may raise anything when it is imported
        if isinstance(exc, UsageError):
            raise
        raise UsageError(f"cannot load the reader {name}: {type(exc).__name__}: {exc}") from exc
    if not callable(reader):
        raise UsageError(f"the reader {name} is not callable; it must take (source, options) and yield prompts")
    found: Callable[..., Any] = reader
    return found


def _load(name: str, known: Known) -> Any:
    if ".py:" in name:
        file, _, attribute = name.rpartition(":")
        return getattr(_module(file), attribute)
    target = known[name] if name in known else plugins()[name].load()
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _module(file: str) -> Any:
    path = Path(os.path.expanduser(file))
    if not path.is_file():
        raise UsageError(f"no file {file!r}; a reader of your own is given as path/to/file.py:Name")
    spec = importlib.util.spec_from_file_location(f"loadstone_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plugins() -> dict[str, EntryPoint]:
    """Readers that installed packages offer in the entry point group `loadstone.readers`."""
    return {point.name: point for point in entry_points(group=GROUP)}


def bundled() -> dict[str, Path]:
    """The data sets that come with Loadstone: in the wheel, or beside the source in a checkout."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "bundled"
    if not folder.is_dir():
        folder = package.parents[1] / "datasets"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {file.stem: file for file in files if file.suffix in BUNDLED_ENDINGS}


def _path(text: str | None) -> str | None:
    if not text or text == "-":
        return text or None
    return str(bundled().get(text, text))


def _exists(spec: str) -> bool:
    try:
        return bool(spec) and os.path.exists(os.path.expanduser(spec))
    except ValueError:  # a NUL byte
        return False


def _unknown(spec: str, known: Known) -> UsageError:
    near = _near(spec, [*known, *plugins(), *bundled()])
    hint = f"did you mean {near}? " if near else ""
    return UsageError(
        f"no dataset {spec!r}: {hint}give a file, - for stdin, FORMAT:PATH, path/to/file.py:Name, or a name"
        f" (formats and generators: {', '.join([*known, *plugins()])};"
        f" bundled: {', '.join(bundled()) or 'none'})"
    )


def _near(spec: str, names: list[str]) -> str | None:
    """The name, or the file of the same folder, that was probably meant."""
    if name := difflib.get_close_matches(spec, names, 1):
        return name[0]
    folder = Path(spec).parent
    try:
        files = [file.name for file in folder.iterdir()]
    except (OSError, ValueError):
        return None
    file = difflib.get_close_matches(Path(spec).name, files, 1)
    return str(folder / file[0]) if file else None
