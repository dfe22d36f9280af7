"""Load settings from a file and the flags, which take precedence. A saved run (run.json) is such a file too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from loadstone.config import files
from loadstone.config.flags import flag_name, from_mapping, settings_of
from loadstone.config.providers import resolve
from loadstone.config.redact import HIDDEN
from loadstone.config.schema import Config
from loadstone.errors import ConfigError

# Settings of a saved run that the next one does not share.
_OF_ONE_RUN = ("output",)


if TYPE_CHECKING:

    class Checked(Protocol):
        """Settings that check themselves."""

        def check(self) -> object:
            """Check the settings. Raises ConfigError."""


T = TypeVar("T", bound="Checked")


def load_config(options: Mapping[str, Any]) -> Config:
    """Return the checked configuration of parsed flags: file, flags, and what a provider adds. Raises ConfigError."""
    return make_config(merge_settings(Config, options), options.get("config"))


def make_config(settings: Mapping[str, Any], file: str | None) -> Config:
    """Return the checked configuration with these settings, some of them from `file`. Raises ConfigError."""
    with located(file):
        return resolve(from_mapping(Config, settings, "run")).check()


def merge_settings(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the file named by `config`, overridden by the flags, before they are checked.

    cls: the settings that the command has; other options are not settings.
    """
    flags = {name: value for name, value in options.items() if name in settings_of(cls)}
    path = options.get("config")
    if not path:
        return flags
    content = files.read(Path(path))
    if isinstance(content.get("config"), dict) and "format" in content:
        return _saved_settings(cls, content["config"], flags, path) | flags
    # Names of the file become those of fields where they are known.
    fields = {
        known.replace("_", "-"): name for name, setting in settings_of(cls).items() for known in (name, setting.name)
    }
    named = {fields.get(key.replace("_", "-"), key): value for key, value in content.items()}
    return named | flags


def _saved_settings(cls: type[Any], saved: dict[str, Any], flags: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the settings of a saved run that differ from the defaults, but not those of that run alone."""
    settings = settings_of(cls)
    changed = {
        name: value
        for name, value in saved.items()
        if name in settings and name not in _OF_ONE_RUN and value != settings[name].default
    }
    if saved.get("simulated"):
        del changed["url"]
    for name, value in changed.items():
        if HIDDEN in repr(value) and name not in flags:
            raise ConfigError(
                f"{path} hides a key in {settings[name].name}: give --{settings[name].name} again",
                field=name,
                file=path,
            )
    return changed


def load_settings(cls: type[T], options: Mapping[str, Any]) -> T:
    """Return the checked settings of a command: those of its file and its flags. Raises ConfigError.

    options: parsed flags, with the name of the command in `command`.
    """
    with located(options.get("config"), cls):
        settings = from_mapping(cls, merge_settings(cls, options), options["command"])
        settings.check()
    return settings


@contextlib.contextmanager
def located(path: str | None, cls: type[Any] = Config) -> Iterator[None]:
    """Add file and line to a ConfigError of the context about a setting of a dataclass that the file has."""
    try:
        yield
    except ConfigError as exc:
        names = [exc.field, flag_name(cls, exc.field)] if exc.field else []
        lines = (files.find_line(Path(path), name) for name in names) if path else iter(())
        line = next((line for line in lines if line), None)
        if line is None or exc.file:
            raise
        raise ConfigError(f"{path}, line {line}: {exc}", field=exc.field, file=path, line=line) from exc
