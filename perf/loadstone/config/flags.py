"""Settings with their flags: a dataclass whose fields carry, beside their type, all that is said and checked of them.

    rate: Annotated[float | None, Flag("requests per second", metavar="R", above=0)] = None

The command line (cli/flags.py), files, checks, what is saved, the documents and the JSON schema follow from it.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from loadstone.config import kinds
from loadstone.config.kinds import Kind
from loadstone.errors import ConfigError

T = TypeVar("T")


class Flag(Struct, frozen=True):
    """The flag of a setting.

    help: its line in --help, with the default.
    kind: kind of its value; None for that of the setting's type.
    name: its name without dashes; None for the setting's name with `-` for `_`.
    short: a second name, such as `-n`.
    aliases: more names of its flag, of other tools.
    metavar: placeholder of the value in --help; None for that of the kind.
    least, above, most: bounds of a number. why: reason for them.
    needs: settings of which one has to be set with this one, and why.
    excludes: settings that exclude this one, and why.
    repeat: the flag may be given several times. many: it takes several values. join: makes one value of several.
    bare: value if the flag is given without one; None if it needs one.
    off: help of a second flag, `--no-NAME`, that sets False.
    vary: points of a sweep may differ in it.
    hide: hides the secrets of a value that is shown or saved.
    """

    help: str
    kind: Kind | None = None
    name: str | None = None
    short: str | None = None
    aliases: tuple[str, ...] = ()
    metavar: str | None = None
    least: float | None = None
    above: float | None = None
    most: float | None = None
    why: str = ""
    needs: tuple[tuple[str, ...], str] = ((), "")
    excludes: tuple[tuple[str, str], ...] = ()
    repeat: bool = False
    many: bool = False
    join: Callable[[list[Any]], Any] | None = None
    bare: str | None = None
    off: str = ""
    vary: bool = True
    hide: Callable[[Any], Any] | None = None

    def bounds(self) -> str:
        """Return the bounds in words, or an empty text."""
        why = f" ({self.why})" if self.why else ""
        if self.above is not None:
            up_to = "" if self.most is None else f", up to {self.most:g}"
            return f"a number above {self.above:g}{up_to}{why}"
        if self.most is not None:
            return f"{self.least or 0:g} to {self.most:g}{why}"
        return "" if self.least is None else f"{self.least:g} or more{why}"

    def allows(self, value: float) -> bool:
        """Return True if a number is within the bounds."""
        try:
            finite = math.isfinite(value)
        except OverflowError:  # an integer of hundreds of digits
            return False
        return finite and not (
            (self.least is not None and value < self.least)
            or (self.above is not None and value <= self.above)
            or (self.most is not None and value > self.most)
        )


class Setting(Struct, frozen=True):
    """A field of settings, resolved.

    field: its name. name: its flag's name without dashes.
    type: of its values. kind: of its texts. default: its value if nothing sets it.
    group: heading of its flag in --help.
    """

    field: str
    name: str
    flag: Flag
    type: Any
    kind: Kind
    default: Any
    group: str

    @property
    def switch(self) -> str:
        """Return the flag that sets it, with dashes: `--no-NAME` for what is on by default."""
        return f"--{'no-' if self.default is True and self.type is bool else ''}{self.name}"

    @property
    def takes_list(self) -> bool:
        """Return True if one value of the setting may be a list."""
        return any(get_origin(kind) is list for kind in union(self.type))


# Settings of each dataclass, resolved once.
_RESOLVED: dict[type[Any], dict[str, Setting]] = {}


def settings_of(cls: type[Any]) -> dict[str, Setting]:
    """Return the settings of a dataclass by field, in the order of its fields."""
    if cls in _RESOLVED:
        return _RESOLVED[cls]
    hints, plain = get_type_hints(cls, include_extras=True), get_type_hints(cls)
    settings: dict[str, Setting] = {}
    for field in dataclasses.fields(cls):
        flag = next((extra for extra in get_args(hints[field.name]) if isinstance(extra, Flag)), None)
        if flag is None:
            continue
        # The kind of value: the one named, else that of the type without None.
        types_ = [kind for kind in union(plain[field.name]) if kind is not type(None)]
        base = get_args(types_[0])[0] if get_origin(types_[0]) is list else types_[0]
        kind = kinds.choice(get_args(base)) if get_origin(base) is Literal else kinds.BY_TYPE.get(base)
        # A class without a heading changes a setting of another class.
        owners = [base for base in cls.__mro__ if field.name in inspect.get_annotations(base)]
        settings[field.name] = Setting(
            field=field.name,
            name=flag.name or field.name.replace("_", "-"),
            flag=flag,
            type=plain[field.name],
            kind=flag.kind or kind or kinds.OBJECT,
            default=field.default if field.default_factory is dataclasses.MISSING else field.default_factory(),
            group=next((owner.__dict__["GROUP"] for owner in owners if "GROUP" in owner.__dict__), ""),
        )
    _RESOLVED[cls] = settings
    return settings


def union(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the type alone."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def flag_name(cls: type[Any], field: str) -> str:
    """Return the flag of a field, without dashes."""
    setting = settings_of(cls).get(field)
    return setting.name if setting else field.replace("_", "-")


def given(config: Any) -> set[str]:
    """Return the fields that differ from their defaults."""
    return {name for name, setting in settings_of(type(config)).items() if getattr(config, name) != setting.default}


def check(config: Any) -> None:
    """Check types, bounds, and which settings exclude or need each other. Raises ConfigError that names the field."""
    settings = settings_of(type(config))
    for name, setting in settings.items():
        value = getattr(config, name)
        convert(setting, value)
        for number in value if isinstance(value, list) else [value]:
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if is_number and not setting.flag.allows(number):
                takes = setting.flag.bounds() or setting.kind.takes
                raise ConfigError(f"--{setting.name} takes {takes}, not {number}", field=name)
    present = given(config)
    for name in (name for name in settings if name in present):
        flag = settings[name].flag
        for other, why in flag.excludes:
            if other in present:
                clash = f"{settings[name].switch} and {settings[other].switch} exclude each other: {why}"
                raise ConfigError(clash, field=name)
        needed, why = flag.needs
        # A number may be on by default, such as the retries of an evaluation.
        numbers = (getattr(config, other) for other in needed if isinstance(settings[other].default, int | float))
        if needed and present.isdisjoint(needed) and not any(numbers):
            flags = " or ".join(settings[other].switch for other in needed)
            raise ConfigError(f"{settings[name].switch} needs {flags}: {why}", field=name)


def convert(setting: Setting, value: Any) -> Any:
    """Return a value of a file, a flag or a library user as the setting's type. Raises ConfigError."""
    if value == setting.default and type(value) is type(setting.default):
        return value
    shown = value
    try:
        if setting.flag.join and isinstance(value, str | list | dict):
            # A list in a file is what a repeated flag is on the command line.
            items = value if isinstance(value, list) else [value]
            value = setting.flag.join([setting.kind.parse(item) if isinstance(item, str) else item for item in items])
        elif isinstance(value, str) and setting.kind.text is not None:
            value = setting.kind.parse(value)
        elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            # Bytes that were not UTF-8 arrive as lone surrogates (PEP 383).
            raise ConfigError(f"--{setting.name} is not UTF-8: type it anew", field=setting.field)
        return msgspec.convert(value, setting.type)
    except (ValueError, msgspec.ValidationError, RecursionError) as exc:
        sentence = f"--{setting.name} takes {setting.kind.takes}, not {str(shown)[:60]!r}"
        raise ConfigError(sentence, field=setting.field) from exc


def from_mapping(cls: type[T], fields: Mapping[str, Any], command: str) -> T:
    """Return the settings with these values; names are those of flags or fields, with `-` or `_`.

    command: command that they are for, for the hint at an unknown name.

    Raises ConfigError with the name as it was given in `field`.
    """
    settings = settings_of(cls)
    by_name = {
        name: setting for setting in settings.values() for name in (setting.field, setting.name.replace("-", "_"))
    }
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "$schema":  # says where an editor finds the schema of the file
            continue
        setting = by_name.get(name.replace("-", "_"))
        if setting is None:
            from loadstone.config.foreign_flags import suggest  # its tables are read only after a mistake

            plain = name.replace("_", "-")
            hint = suggest(command, plain, [each.name for each in settings.values()])
            sentence = f"`{command}` has no setting {plain!r}" + (f" ({hint})" if hint else "")
            raise ConfigError(f"{sentence}; see loadstone {command} --help", field=name)
        values[setting.field] = convert(setting, value)
    return cls(**values)


def redacted(config: Any) -> dict[str, Any]:
    """Return the settings by field for files and reports: keys, tokens and passwords are hidden."""
    fields: dict[str, Any] = msgspec.to_builtins(config)
    for name, setting in settings_of(type(config)).items():
        if setting.flag.hide:
            fields[name] = setting.flag.hide(getattr(config, name))
    return fields
