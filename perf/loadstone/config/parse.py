"""Parse single values: times, fractions, numbers of requests or seconds, weighted models. Pure."""

from __future__ import annotations

import re

from loadstone.config.kinds import parse_seconds
from loadstone.errors import ConfigError

# The arrivals recorded in a trace.
REPLAY = "replay"
# Arrival processes of an open loop (schedule/arrivals.py).
ARRIVALS = ("constant", "poisson", "gamma")
_MIX = re.compile(r"[^,=]+=(\d+\.?\d*|\.\d+)(,[^,=]+=(\d+\.?\d*|\.\d+))+")


def parse_models(text: str) -> list[tuple[str | None, float]]:
    """Parse `a=3,b=1` to models with their weights; anything else is the name of one model. Raises UsageError."""
    if not _MIX.fullmatch(text):
        return [(text, 1.0)]
    pairs = [word.rpartition("=") for word in text.split(",")]
    if not all(float(weight) > 0 for _, _, weight in pairs):
        raise ConfigError(f"--model takes shares above 0, not {text!r}")
    return [(name, float(weight)) for name, _, weight in pairs]


def parse_count_or_time(flag: str, value: int | str) -> tuple[int, float]:
    """Parse a number of requests (`20`) or a time (`10s`) to (requests, seconds), one of them 0. Raises UsageError."""
    if isinstance(value, int) or value.isdigit():
        return int(value), 0.0
    try:
        return 0, parse_seconds(value)
    except ValueError as exc:
        raise ConfigError(f"--{flag} takes a number of requests or a time such as 10s, not {value!r}") from exc
