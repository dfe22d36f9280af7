"""Load the settings of a run: the configuration file, overridden by the flags. `schema.py` checks them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadstone.config import files
from loadstone.config.providers import resolve
from loadstone.config.schema import Config, from_mapping

# Flags that are not settings of a run.
RUN_ONLY = ("command", "view", "quiet", "config", "summary", "junit", "repeat", "rest", "same_prompts")


def load_config(options: Mapping[str, Any]) -> Config:
    """Return the configuration of parsed flags: file, flags, and what a provider adds to them. Raises UsageError."""
    return make_config(merge_settings(options), options.get("config"))


def make_config(settings: Mapping[str, Any], file: str | None) -> Config:
    """Return the configuration with these settings, from `file` or the command line. Raises UsageError."""
    return resolve(from_mapping(settings, file or "the command line"), given=settings)


def merge_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the file, overridden by the flags, before they are checked."""
    flags = {name: value for name, value in options.items() if name not in RUN_ONLY}
    if "header" in flags:
        flags["header"] = dict(flags["header"])
    if len(flags.get("url", ())) == 1:
        flags["url"] = flags["url"][0]
    path = options.get("config")
    of_file = files.read(Path(path)) if path else {}
    return {**{name.replace("-", "_"): value for name, value in of_file.items()}, **flags}
