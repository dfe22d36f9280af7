"""Indented JSON for people and programs. summary.json is the view; `results.load_summary` reads it back."""

from __future__ import annotations

from typing import Any

import msgspec

from loadstone.summary import Summary


def render(summary: Summary) -> str:
    return to_json(summary)


def to_json(value: Any) -> str:
    """Encode any value that msgspec can write."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
