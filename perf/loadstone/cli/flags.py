"""Add the flags of settings (config/flags.py) to an argument parser."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection
from typing import Any

from loadstone.config.flags import Setting, settings_of


def add_flags(
    parser: argparse.ArgumentParser, cls: type[Any], lists: bool = False, only: Collection[str] | None = None
) -> None:
    """Add a flag for each setting of a dataclass, in the order of its fields, under the headings of their groups.

    lists: flags take lists where points of a sweep can differ in them.
    only: names of the fields to add; None for all.
    """
    groups: dict[str, argparse._ActionsContainer] = {"": parser}
    for setting in settings_of(cls).values():
        if only is not None and setting.field not in only:
            continue
        if setting.group not in groups:
            groups[setting.group] = parser.add_argument_group(setting.group)
        _add_flag(groups[setting.group], setting, lists and setting.kind.lists and setting.flag.vary)


def _add_flag(group: argparse._ActionsContainer, setting: Setting, lists: bool) -> None:
    flag, options = setting.flag, dict[str, Any](dest=setting.field, help=setting.flag.help.replace("%", "%%"))
    if setting.type is bool:
        # A switch turns its default around.
        prefix, action = "--no-" if setting.default else "--", "store_false" if setting.default else "store_true"
        names = [f"{prefix}{name}" for name in (setting.name, *flag.aliases)]
        group.add_argument(*names, action=action, **options)
        return
    names = [*([flag.short] if flag.short else []), *(f"--{name}" for name in (setting.name, *flag.aliases))]
    if setting.kind.names and not lists:
        options["choices"] = setting.kind.names  # mistakes.py names the nearest of them
    else:
        options["type"] = _argument_type(setting, lists)
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


def _argument_type(setting: Setting, lists: bool) -> Callable[[str], Any]:
    """Return the function that parses the text of a setting's flag, for argparse."""

    def parse(text: str) -> Any:
        try:
            return setting.kind.parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(f"takes {setting.kind.takes}, not {text!r}") from exc

    def parse_list(text: str) -> Any:
        from loadstone.sweep import grid

        try:
            return grid.parse_list(text, setting.kind)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return parse_list if lists else parse
