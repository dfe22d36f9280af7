"""Add the flags of settings (config/flags.py) to an argument parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import Any

from loadstone.config.flags import Setting, settings_of


class ValueList(tuple[Any, ...]):
    """Several values of a flag that takes one: a sweep runs with each of them."""


def add_flags(
    parser: argparse.ArgumentParser, cls: type[Any], lists: bool = False, only: Collection[str] | None = None
) -> None:
    """Add a flag for each setting of a dataclass, in the order of its fields, under the headings of their groups.

    lists: flags take lists where points of a sweep can differ in them.
    only: names of the fields to add; None for all.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    for setting in settings_of(cls).values():
        if only is not None and setting.field not in only:
            continue
        if setting.group not in groups:
            groups[setting.group] = parser.add_argument_group(setting.group or None)
        _add_flag(groups[setting.group], setting, lists and setting.kind.lists and setting.flag.vary)


def _add_flag(group: argparse._ArgumentGroup, setting: Setting, lists: bool) -> None:
    flag, options = setting.flag, dict[str, Any](dest=setting.field, help=setting.flag.help.replace("%", "%%"))
    if setting.type is bool:
        # A switch turns its default around.
        name, action = ("no-" if setting.default else "") + setting.name, str(not setting.default).lower()
        group.add_argument(f"--{name}", action=f"store_{action}", **options)
        return
    names = [*([flag.short] if flag.short else []), f"--{setting.name}"]
    parse = argument_type(setting)
    options["type"] = list_of(parse) if lists else parse
    options["metavar"] = flag.metavar or setting.kind.metavar
    if flag.repeat:
        options["action"] = "append"
    if flag.many:
        options["nargs"] = "+"
    if flag.bare is not None:
        options |= {"nargs": "?", "const": flag.bare}
    pair = group.add_mutually_exclusive_group() if flag.off else group
    pair.add_argument(*names, **options)
    if flag.off:
        pair.add_argument(f"--no-{setting.name}", dest=setting.field, action="store_false", help=flag.off)


def argument_type(setting: Setting) -> Callable[[str], Any]:
    """Return the function that parses the text of a setting's flag, for argparse."""

    def parse(text: str) -> Any:
        try:
            return setting.kind.parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(f"takes {setting.kind.takes}, not {text!r}") from exc

    return parse


def list_of(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a type that parses one value as `parse` does, and several values as a `ValueList`."""
    from loadstone.sweep import grid

    def parse_list(text: str) -> Any:
        try:
            values = grid.parse_values(text, parse)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return values[0] if len(values) == 1 else ValueList(values)

    return parse_list
