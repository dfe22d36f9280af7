"""Finding a part by its name: a built-in, an entry point of another distribution, or `path/to/file.py:Name`.

The one place where third-party code is imported; whatever its import raises becomes a UsageError.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from loadstone.errors import UsageError


def load_instance(group: str, name: str, built_in: Mapping[str, str], flag: str) -> Any:
    """The part called `name`, made if it is a class. Raises UsageError; for an unknown name it lists what there is."""
    found = load_object(group, name, built_in, flag)
    try:
        return found() if isinstance(found, type) else found
    except UsageError:
        raise
    except Exception as exc:  # somebody else's code may raise anything
        raise _broken(flag, name, exc) from exc


def load_object(group: str, name: str, built_in: Mapping[str, str], flag: str) -> Any:
    """The same, where a class is not made."""
    known = [*built_in, *installed_plugins(group)]
    if ".py:" not in name and name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise UsageError(f"{flag} takes {', '.join(known)} or FILE.py:NAME, not {name!r}{hint}")
    try:
        return _load(group, name, built_in)
    except UsageError:
        raise
    except Exception as exc:  # somebody else's code may raise anything
        raise _broken(flag, name, exc) from exc


def _broken(flag: str, name: str, exc: Exception) -> UsageError:
    return UsageError(f"{flag}: cannot load {name}: {type(exc).__name__}: {exc}")


def installed_plugins(group: str) -> dict[str, EntryPoint]:
    """What other distributions offer in an entry point group."""
    return {point.name: point for point in entry_points(group=group)}


def _load(group: str, name: str, built_in: Mapping[str, str]) -> Any:
    if ".py:" in name:
        file, _, attribute = name.rpartition(":")
        return getattr(_module(Path(file).expanduser()), attribute)
    if name not in built_in:
        return installed_plugins(group)[name].load()
    module, _, attribute = built_in[name].partition(":")
    return getattr(import_module(module), attribute)


def _module(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"no file {str(path)!r}; a part of your own is given as path/to/file.py:Name")
    spec = importlib.util.spec_from_file_location(f"loadstone_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
