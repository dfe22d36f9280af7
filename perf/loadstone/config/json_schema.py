"""The JSON schema of a file of settings, for editors and for checks of files that other programs write. Pure."""

from __future__ import annotations

from types import NoneType
from typing import Any, Literal, get_args, get_origin

from loadstone.config.flags import Setting, settings_of, union

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Schemas of plain types.
_PLAIN: dict[Any, dict[str, Any]] = {
    NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    Any: {},
}


def schema(cls: type[Any], title: str, lists: bool = False) -> dict[str, Any]:
    """Return the schema of a file with the settings of a dataclass.

    A setting has the name of its flag or of its field (`from`, `trace_from`), with `-` or `_`.

    title: title of the schema.
    lists: a setting in which the points of a sweep can differ may have a list of values.
    """
    # What a saved configuration has beside its settings.
    properties: dict[str, Any] = {"$schema": {"type": "string"}, "simulated": {"type": "boolean"}}
    for setting in settings_of(cls).values():
        value = _value(setting)
        if lists and setting.kind.lists and setting.flag.vary:
            # A text is a list as it is typed: 1,2,4 or 1..64x2.
            text = {"type": "string", "pattern": r"[,;]|\.\."}
            value = {"anyOf": [value, {"type": "array", "items": value, "minItems": 1}, text]}
        described = {"description": setting.flag.help, **value}
        for name in (setting.name, setting.name.replace("-", "_"), setting.field):
            properties[name] = described
    return {"$schema": DRAFT, "title": title, "type": "object", "properties": properties, "additionalProperties": False}


def _value(setting: Setting) -> dict[str, Any]:
    """Return the schema of one value of a setting."""
    forms = [_bounded(_of_type(kind), setting) for kind in union(setting.type)]
    if setting.kind.text is not None and {"type": "string"} not in forms:
        forms.append({"type": "string", "pattern": setting.kind.text})
    if setting.flag.join and {"type": "string"} not in forms:
        # What a repeated flag takes: one text, or several.
        forms += [{"type": "string"}, {"type": "array", "items": {}}]
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _of_type(kind: Any) -> dict[str, Any]:
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if get_origin(kind) is list:
        return {"type": "array", "items": _of_type(get_args(kind)[0])}
    if get_origin(kind) is dict:
        return {"type": "object", "additionalProperties": _of_type(get_args(kind)[1])}
    return dict(_PLAIN[kind])


def _bounded(form: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """Return a form with the bounds of the setting, if it is a number."""
    if form.get("type") not in ("integer", "number"):
        return form
    flag = setting.flag
    bounds = {"minimum": flag.least, "exclusiveMinimum": flag.above, "maximum": flag.most}
    return form | {name: bound for name, bound in bounds.items() if bound is not None}
