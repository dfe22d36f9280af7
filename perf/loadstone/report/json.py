"""JSON for people and programs: indented, as it is. summary.json is this; `results.load_summary` reads it back."""

from __future__ import annotations

from typing import Any

import msgspec

from loadstone.summary import Summary


def render(summary: Summary) -> str:
    return to_json(summary)


def to_json(value: Any) -> str:
    """Whatever msgspec can write."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
