"""The ceiling: the most that one client process of a machine can take, and what fraction of it a run used.

Pure. `selftest/` measures it, `machine.py` stores it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from loadstone.summary import Summary

# Version of the stored file.
FORMAT = 1


class Identity(Struct, frozen=True, kw_only=True):
    """Where and with what a ceiling was measured: it holds for nothing else."""

    host: str
    cpu: str
    cores: int
    loadstone: str
    python: str
    event_loop: str
    transport: str
    clock: str


class Bound(Struct, frozen=True):
    """A figure that one process reached.

    limit: what kept it from more.
    lower: True if that was not the client itself, so that the figure is a lower bound.
    client_share, server_share: CPU, as fractions of a core.
    """

    value: float
    limit: str
    lower: bool
    client_share: float | None = None
    server_share: float | None = None


class Errors(Struct, frozen=True):
    """Reported minus true, in seconds, of the means and of the p99; None where there were too few samples.

    requests, gaps: number of samples.
    """

    requests: int = 0
    gaps: int = 0
    ttft_mean: float | None = None
    ttft_p99: float | None = None
    gap_mean: float | None = None
    gap_p99: float | None = None


class Level(Struct, frozen=True, kw_only=True):
    """A run at a fraction (`share`) of the ceiling.

    events: per second.
    client_share: CPU, as a fraction of a core.
    lag_p99: seconds.
    """

    share: float
    streams: int
    events: float
    errors: Errors
    client_share: float | None
    lag_p99: float | None
    status: str | None = None
    doubts: list[str] = []


class Ceiling(Struct, frozen=True, kw_only=True):
    """The ceiling of one machine.

    events: output events/s.
    beside: requests/s that brought these events.
    requests: one-token responses/s.
    streams: open at the same time.
    """

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
        """Return the figures that run.json has."""
        return {
            "events_per_second": self.events.value,
            "requests_beside": self.beside,
            "requests_per_second": self.requests.value if self.requests else None,
            "lower_bound": self.events.lower or bool(self.requests and self.requests.lower),
            "measured_at": self.measured_at,
        }


def fraction_used(figures: Mapping[str, Any], events: float, requests: float, workers: int = 1) -> float | None:
    """Return the fraction of the ceiling that `events`/s and `requests`/s use, divided among `workers` processes.

    The two add up, as both are time of the same core. Two ceilings give two costs: a request with its first event takes
    1/requests_per_second of the core; the events beyond the first take what the requests of that measurement left.
    None if the figures are not usable.
    """
    most, beside = _number(figures.get("events_per_second")), _number(figures.get("requests_beside")) or 0.0
    if most is None or most <= beside or events < 0 or requests < 0:
        return None
    alone = _number(figures.get("requests_per_second"))
    request = 1 / alone if alone and alone > beside else 1 / most
    event = (1 - beside * request) / (most - beside)
    return (requests * request + max(0.0, events - requests) * event) / max(1, workers)


def ceiling_used(summary: Summary) -> dict[str, Any] | None:
    """Return the ceiling stored when the run began, with the fraction (`share`) of it that the run used at its peak.

    None if none was stored. With a lower bound the fraction is the most that it can have been, and None if the run did
    more.
    """
    figures = summary.run.get("ceiling")
    if not isinstance(figures, Mapping):
        return None
    rates = peak_rates(summary)
    clients = summary.run.get("workers")
    workers = len(clients) if isinstance(clients, list) else 1
    used = fraction_used(figures, *rates, workers=workers) if rates else None
    beyond = used is not None and used > 1 and figures.get("lower_bound")
    return {**figures, "share": None if beyond else used}


def peak_rates(summary: Summary) -> tuple[float, float] | None:
    """Return output events/s and requests/s of the steady window or the whole run, whichever had more events.

    Rates of a summary are in tokens; the client's work is in events.
    """
    packets = summary.metrics.get("packets")
    tokens = summary.metrics.get("output_tokens")
    events_per_token = 1.0
    if packets is not None and tokens is not None and packets.mean and tokens.mean:
        events_per_token = packets.mean / tokens.mean
    windows = [summary.rates, summary.steady.rates if summary.steady else {}]
    rates = [
        ((window.get("output_throughput") or 0.0) * events_per_token, window.get("request_rate") or 0.0)
        for window in windows
    ]
    return max(rates) if any(sum(pair) for pair in rates) else None


def _number(value: object) -> float | None:
    """Return a positive number, or None: a file may hold anything."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if fits else None  # type: ignore[arg-type]
