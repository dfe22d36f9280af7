"""Finding a part by its name: a built-in, an entry point of another distribution, or `path/to/file.py:Name`."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from loadstone.records import UsageError


def find(group: str, name: str, built_in: Mapping[str, str], flag: str) -> Any:
    """The part called `name`, made if it is a class. Raises UsageError listing what there is."""
    if ".py:" in name:
        path, _, attribute = name.rpartition(":")
        part = _attribute(_from_file(Path(path), flag), attribute, flag)
    elif name in built_in:
        module, _, attribute = built_in[name].partition(":")
        part = getattr(import_module(module), attribute)
    else:
        part = _entry_point(group, name, built_in, flag)
    return part() if isinstance(part, type) else part


def _entry_point(group: str, name: str, built_in: Mapping[str, str], flag: str) -> Any:
    others = {point.name: point for point in entry_points(group=group)}
    if name in others:
        return others[name].load()
    known = [*built_in, *others]
    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise UsageError(f"{flag} takes {', '.join(known)} or FILE.py:NAME, not {name!r}{hint}")


def _from_file(path: Path, flag: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"{flag} names {path}, which is not a file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, name: str, flag: str) -> Any:
    if not hasattr(module, name):
        raise UsageError(f"{flag}: {module.__file__} has no {name!r}")
    return getattr(module, name)
