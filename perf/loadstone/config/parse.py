"""Parse single values: times, fractions, numbers of requests or seconds, weighted models. Pure."""

from __future__ import annotations

import re

from loadstone.errors import ConfigError

# The arrivals recorded in a trace.
REPLAY = "replay"
# Arrival processes of an open loop (schedule/arrivals.py).
ARRIVALS = ("constant", "poisson", "gamma")
# Form of a number, and the units of time with their seconds.
DECIMAL = r"[0-9]+\.?[0-9]*|\.[0-9]+"
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_MIX = re.compile(r"[^,=]+=(\d+\.?\d*|\.\d+)(,[^,=]+=(\d+\.?\d*|\.\d+))+")


def parse_seconds(text: str) -> float:
    """Parse `30`, `30s`, `500ms`, `2m` or `1h` to seconds; a bare number is seconds. Raises ValueError."""
    match = re.fullmatch(rf"({DECIMAL})({'|'.join(SECONDS)}|)", text)
    if not match:
        raise ValueError(text)
    return float(match[1]) * (SECONDS[match[2]] if match[2] else 1.0)


def parse_fraction(text: str) -> float:
    """Parse `10%` or `0.1` to a fraction; the caller checks its bounds. Raises ValueError."""
    match = re.fullmatch(rf"({DECIMAL})\s*(%?)", text.strip())
    if not match:
        raise ValueError(text)
    return float(match[1]) / (100 if match[2] else 1)


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
