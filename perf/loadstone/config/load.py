"""The settings as they are given: the configuration file, overlaid by the flags.

Whether they make sense is config.py's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadstone.config import files
from loadstone.config.parse import parse_slo
from loadstone.config.providers import resolve
from loadstone.config.schema import Config, from_mapping

# Flags that are no settings of a run.
RUN_ONLY = ("command", "view", "quiet", "config", "summary", "junit", "repeat", "rest", "same_prompts")


def load_config(options: Mapping[str, Any]) -> Config:
    """Settings of the configuration file, overlaid by the flags, and what a provider adds to them."""
    return make_config(merge_settings(options), options.get("config"))


def make_config(settings: Mapping[str, Any], file: str | None) -> Config:
    """The configuration that has these settings, of `file` or the command line."""
    return resolve(from_mapping(settings, file or "the command line"), given=settings)


def merge_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same, before anybody has looked whether they make sense."""
    given = {name: value for name, value in options.items() if name not in RUN_ONLY}
    for name in ("header", "goodput"):
        if name in given:
            given[name] = dict(given[name])
    if len(given.get("url", ())) == 1:
        given["url"] = given["url"][0]
    path = options.get("config")
    return {**(_read(Path(path)) if path else {}), **given}


def _read(path: Path) -> dict[str, Any]:
    named = {name.replace("-", "_"): value for name, value in files.read(path).items()}
    if isinstance(named.get("goodput"), list):
        named["goodput"] = dict(parse_slo(str(item)) for item in named["goodput"])
    return named
