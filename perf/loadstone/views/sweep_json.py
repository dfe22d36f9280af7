"""A sweep as JSON: what sweep.json holds, and the summary of every run."""

from __future__ import annotations

import msgspec

from loadstone.points import Sweep


def render(sweep: Sweep) -> str:
    return msgspec.json.format(msgspec.json.encode(sweep), indent=2).decode() + "\n"
