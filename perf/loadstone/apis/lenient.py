"""Decodes what a strict decoder refused: a field of another type costs that field and not the request.

Servers and gateways send counts as `10.0` or `"10"`, an `index` or `role` of null, and objects where others send text.
A field that no figure needs becomes its default. Only the fields that hold output must have a readable type.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct

from loadstone.apis.base import BadEventError
from loadstone.apis.usage import MAX_COUNT
from loadstone.text import encode_json, parse_json_leniently

# Fields that hold output. An event in which one of them cannot be read is an error: its text would be missing.
_OUTPUT_FIELDS = frozenset(("choices", "delta", "message", "content", "text", "output", "generated_text", "token"))


class UnreadableError(Exception):
    """Output has a type that cannot be read; the text says where."""


def decode_leniently(form: Any, data: bytes) -> Any:
    """Decode JSON into a type, with the default for each field of the wrong type.

    Raises BadEventError if the data is not JSON or if its output has an unknown form, and UnicodeDecodeError.
    """
    try:
        return _convert(form, parse_json_leniently(data.decode()))
    except (ValueError, RecursionError, UnreadableError) as exc:
        raise BadEventError(str(exc)) from exc


def read_count(value: Any) -> int | None:
    """Return a count that a server sent as an integer, a whole float or text, or None if it cannot be read."""
    if isinstance(value, str):
        try:
            value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_COUNT:
        return None
    return int(value) if int(value) == value else None


def _convert(form: Any, value: Any) -> Any:
    """Return the value as an object of a type. Raises UnreadableError if it cannot be."""
    options = typing.get_args(form) if _is_union(form) else (form,)
    if Any in options:
        return value
    for option in options:
        structs = isinstance(option, type) and issubclass(option, Struct)
        if structs and isinstance(value, dict):
            return _struct(option, value)
        if typing.get_origin(option) is list and isinstance(value, list):
            (item,) = typing.get_args(option)
            return [_convert(item, element) for element in value if element is not None]
    if int in options and (count := read_count(value)) is not None:
        return count
    if msgspec.Raw in options:
        return msgspec.Raw(encode_json(value))
    try:
        return msgspec.convert(value, form)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise UnreadableError(f"no {getattr(form, '__name__', form)}: {value!r:.80}") from exc


def _struct(form: type[Struct], value: dict[str, Any]) -> Struct:
    fields = {}
    for name, kind, required in _fields(form):
        if name not in value:
            continue
        try:
            fields[name] = _convert(kind, value[name])
        except UnreadableError as exc:
            if value[name] is not None and (name in _OUTPUT_FIELDS or required):
                raise UnreadableError(f"{name}: {exc}") from exc
    return form(**fields)


@cache
def _fields(form: type[Struct]) -> list[tuple[str, Any, bool]]:
    """Return name and type of each field, and whether it has no default."""
    return [
        (field.name, field.type, field.default is NODEFAULT and field.default_factory is NODEFAULT)
        for field in msgspec.structs.fields(form)
    ]


def _is_union(form: Any) -> bool:
    return typing.get_origin(form) in (typing.Union, types.UnionType)
