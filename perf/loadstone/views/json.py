"""summary.json: the summary as it is, indented. `results.load_summary` reads it back."""

from __future__ import annotations

import msgspec

from loadstone.records import Summary


def render(summary: Summary) -> str:
    return msgspec.json.format(msgspec.json.encode(summary), indent=2).decode() + "\n"
