"""Loads plugins by name: a built-in, an entry point of another distribution, or `path/to/file.py:Name`.

This is the only place that imports third-party code. Whatever that import raises becomes a ConfigError.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from loadstone.errors import ConfigError, UsageError


def load_instance(
    group: str, name: str, built_in: Mapping[str, str], flag: str, other_names: Mapping[str, str] | None = None
) -> Any:
    """Load the object called `name`; of a class, return an instance. Arguments and errors as `load_object`."""
    loaded = load_object(group, name, built_in, flag, other_names)
    try:
        return loaded() if isinstance(loaded, type) else loaded
    except UsageError:
        raise
    except Exception as exc:  # third-party code may raise anything
        raise _load_error(flag, name, exc) from exc


def load_object(
    group: str, name: str, built_in: Mapping[str, str], flag: str, other_names: Mapping[str, str] | None = None
) -> Any:
    """Load the object called `name`, and return it as it is, also a class.

    group: entry-point group in which other distributions offer such objects.
    name: name of a built-in or entry point, or `path/to/file.py:Name`.
    built_in: `module:attribute` of the built-ins, by name.
    flag: flag that the name was given to, for errors.
    other_names: what other tools call the built-ins, for errors.

    Raises UsageError; for an unknown name it lists the known ones.
    """
    try:
        if ".py:" in name:
            file, _, attribute = name.rpartition(":")
            return getattr(_load_file(Path(file).expanduser()), attribute)
        if name in built_in:
            module, _, attribute = built_in[name].partition(":")
            return getattr(import_module(module), attribute)
        installed = installed_plugins(group)  # searches all distributions, so only for names that are not built in
        if name in installed:
            return installed[name].load()
    except UsageError:
        raise
    except Exception as exc:  # third-party code may raise anything
        raise _load_error(flag, name, exc) from exc
    known = [*built_in, *installed]
    other = (other_names or {}).get(name.lower())
    similar = [other] if other else difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {similar[0]}?)" if similar else ""
    raise ConfigError(f"{flag} takes {', '.join(known)} or FILE.py:NAME, not {name!r}{hint}")


def installed_plugins(group: str) -> dict[str, EntryPoint]:
    """Return what other distributions offer in an entry-point group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def _load_error(flag: str, name: str, exc: Exception) -> UsageError:
    return ConfigError(f"{flag}: cannot load {name}: {type(exc).__name__}: {exc}")


def _load_file(path: Path) -> Any:
    """Import a Python file and return its module."""
    if not path.is_file():
        raise ConfigError(f"no file {str(path)!r}; a part of your own is given as path/to/file.py:Name")
    spec = importlib.util.spec_from_file_location(f"loadstone_own_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
