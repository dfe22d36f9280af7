"""The most that one client process of a machine can take, as data, and what share of it a run has used.

Pure. How it is found: climb.py and selftest.py; where it is kept: machine.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from loadstone.summary import Summary

FORMAT = 1


class Identity(Struct, frozen=True, kw_only=True):
    """Where and with what a ceiling was found: it holds for nothing else."""

    host: str
    cpu: str
    cores: int
    loadstone: str
    python: str
    event_loop: str
    transport: str
    clock: str


class Bound(Struct, frozen=True):
    """A figure reached by one process, and what kept it from more; `lower` unless that was the client itself."""

    value: float
    limit: str
    lower: bool
    client_share: float | None = None
    server_share: float | None = None


class Errors(Struct, frozen=True):
    """Shown minus true, in seconds: of the means and of the p99; None where the samples were too few. `requests` and
    `gaps` say how many there were."""

    requests: int = 0
    gaps: int = 0
    ttft_mean: float | None = None
    ttft_p99: float | None = None
    gap_mean: float | None = None
    gap_p99: float | None = None


class Level(Struct, frozen=True, kw_only=True):
    """A run at a share of the ceiling: what it came to, how wrong it was, how the client fared."""

    share: float
    streams: int
    events: float
    errors: Errors
    client_share: float | None
    lag_p99: float | None
    status: str | None = None
    doubts: list[str] = []


class Ceiling(Struct, frozen=True, kw_only=True):
    """events: output events a second, `beside` so many requests a second that brought them. requests: one-token answers
    a second. streams: open at the same time."""

    identity: Identity
    measured_at: str
    quick: bool
    server: str
    events: Bound
    beside: float
    requests: Bound | None
    streams: Bound | None
    levels: list[Level]
    format: int = FORMAT

    def figures(self) -> dict[str, Any]:
        """What a run keeps of it, in run.json."""
        return {
            "events_per_second": self.events.value,
            "requests_beside": self.beside,
            "requests_per_second": self.requests.value if self.requests else None,
            "lower_bound": self.events.lower or bool(self.requests and self.requests.lower),
            "measured_at": self.measured_at,
        }


def fraction_used(figures: Mapping[str, Any], events: float, requests: float, workers: int = 1) -> float | None:
    """Share of the ceiling that `events` and `requests` a second use, dealt out evenly to `workers` processes.

    The two add up, as both are time of the same core. Two ceilings give two costs: a request with its first event takes
    1/requests_per_second of the core; the events beyond the first take what the requests of that measurement left.
    None where the figures are none.
    """
    most, beside = _number(figures.get("events_per_second")), _number(figures.get("requests_beside")) or 0.0
    if most is None or most <= beside or events < 0 or requests < 0:
        return None
    alone = _number(figures.get("requests_per_second"))
    request = 1 / alone if alone and alone > beside else 1 / most
    event = (1 - beside * request) / (most - beside)
    return (requests * request + max(0.0, events - requests) * event) / max(1, workers)


def ceiling_used(summary: Summary) -> dict[str, Any] | None:
    """The ceiling saved when the run began, with the `share` of it that the busiest stretch of the run used; None where
    none was saved. With a lower bound the share is the most that it can have been, and None where the run did more."""
    figures = summary.run.get("ceiling")
    if not isinstance(figures, Mapping):
        return None
    rates, told = peak_rates(summary), summary.run.get("workers")
    workers = len(told) if isinstance(told, list) else 1  # each of several says how it fared
    used = fraction_used(figures, *rates, workers=workers) if rates else None
    beyond = used is not None and used > 1 and figures.get("lower_bound")
    return {**figures, "share": None if beyond else used}


def peak_rates(summary: Summary) -> tuple[float, float] | None:
    """Output events and requests a second: of the steady window or of the whole run, whichever had more events."""
    windows = [summary.rates, summary.steady.rates if summary.steady else {}]
    per_token = _events_per_token(summary)
    found = [
        ((window.get("output_throughput") or 0.0) * per_token, window.get("request_rate") or 0.0) for window in windows
    ]
    return max(found, default=None) if any(sum(rates) for rates in found) else None


def _events_per_token(summary: Summary) -> float:
    """Rates are booked in tokens; the client's work is in events."""
    packets, tokens = summary.metrics.get("packets"), summary.metrics.get("output_tokens")
    if packets is None or tokens is None or not packets.mean or not tokens.mean:
        return 1.0
    return packets.mean / tokens.mean


def _number(value: object) -> float | None:
    """A positive number, or None: files of others may hold anything."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if fits else None  # type: ignore[arg-type]
