"""Parse single values: times, SLOs, numbers of requests or seconds, weighted models. Pure."""

from __future__ import annotations

import re

from loadstone.config.kinds import parse_seconds
from loadstone.errors import ConfigError

# The arrivals recorded in a trace.
REPLAY = "replay"
# Arrival processes of an open loop (schedule/arrivals.py).
ARRIVALS = ("constant", "poisson", "gamma")
# Forms of numbers and units of time, in seconds; a bare number is ms in an SLO.
_DECIMAL = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_UNITS = {"": 1e-3, "ms": 1e-3, "us": 1e-6, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SLO_NAMES = {"e2el": "latency"}
SLOS = ("ttft", "ttft_scheduled", "ttfat", "latency", "latency_scheduled", "tpot", "packet_time")
SLO_FORM = f"METRIC:TIME such as ttft:200ms or latency:5s ({', '.join(SLOS)})"
_MIX = re.compile(r"[^,=]+=(\d+\.?\d*|\.\d+)(,[^,=]+=(\d+\.?\d*|\.\d+))+")


def parse_slo(text: str) -> tuple[str, float]:
    """Parse an SLO, `ttft:200ms` or `latency:5s`, to (metric, seconds). Raises UsageError.

    A bare number is ms, and `e2el` is latency, as in vLLM.
    """
    name, _, limit = text.partition(":")
    name = _SLO_NAMES.get(name, name)
    match = re.fullmatch(rf"({_DECIMAL})(us|ms|s|)", limit)
    if name not in SLOS or not match or not float(match[1]):
        raise ConfigError(f"--goodput takes {SLO_FORM}, not {text!r}")
    return name, float(match[1]) * _UNITS[match[2]]


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
