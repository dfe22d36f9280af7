"""The ceiling: the most that one client process of this machine can take, and what fraction of it a run used.

`selftest/` measures it, `ceiling_file.py` stores it.
"""

from __future__ import annotations

import os

import msgspec

from loadstone.config.schema import Config
from loadstone.host import machine
from loadstone.summary import CeilingInfo, Summary


def load_ceiling(config: Config) -> CeilingInfo | None:
    """Return the figures of the ceiling of this machine; None if there is none.

    A run over TLS has none: ceilings are measured over plain HTTP, and encryption costs.
    """
    if any(url.lower().startswith("https:") for url in config.urls):
        return None
    if not os.path.exists(machine.ceiling_path()):
        return None
    from loadstone.host import ceiling_file  # few machines have one

    current = ceiling_file.identity(config.transport, machine.arrival_clock(config))
    stored = ceiling_file.saved_ceilings()[0]
    return next((ceiling.figures() for ceiling in stored if ceiling.identity == current), None)


def fraction_used(figures: CeilingInfo, events: float, requests: float, workers: int = 1) -> float | None:
    """Return the fraction of the ceiling that `events`/s and `requests`/s use, divided among `workers` processes.

    The two add up, as both are time of the same core. Two ceilings give two costs: a request with its first event takes
    1/requests_per_second of the core; the events beyond the first take what the requests of that measurement left.
    None if the figures are not usable.
    """
    most, beside = figures.events_per_second, max(0.0, figures.requests_beside or 0.0)
    if most is None or most <= beside or events < 0 or requests < 0:
        return None
    alone = figures.requests_per_second
    request = 1 / alone if alone and alone > beside else 1 / most
    event = (1 - beside * request) / (most - beside)
    return (requests * request + max(0.0, events - requests) * event) / max(1, workers)


def add_share(summary: Summary) -> Summary:
    """Return the summary with the fraction (`share`) that the run used, at its peak, of the ceiling in run.json.

    With a lower bound the fraction is the most that it can have been, and None if the run did more.
    """
    figures = summary.run.ceiling
    if figures is None:
        return summary
    rates = peak_rates(summary)
    used = fraction_used(figures, *rates, workers=len(summary.run.workers) or 1) if rates else None
    share = None if used is not None and used > 1 and figures.lower_bound else used
    run = msgspec.structs.replace(summary.run, ceiling=msgspec.structs.replace(figures, share=share))
    return msgspec.structs.replace(summary, run=run)


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
