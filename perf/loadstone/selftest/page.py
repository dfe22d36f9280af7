"""Render a machine's ceiling as tables of text."""

from __future__ import annotations

from loadstone.host.ceiling_file import Bound, Ceiling
from loadstone.report.page import Table
from loadstone.selftest.ceiling_search import LIMITS

_NOTE = "shown minus true, ms, as means and p99 of both; what the way takes is part of it; -: too few samples"
_QUICK_NOTE = "; leave out --quick for more samples, lag and verdict"
_COLUMNS = [
    "of the ceiling", "streams", "events/s", "TTFT mean", "TTFT p99", "gap mean", "gap p99", "client CPU",
    "loop lag p99", "requests", "gaps",
]  # fmt: skip


def tables(ceiling: Ceiling) -> list[Table]:
    """Return two tables: the ceiling, and the errors at fractions of it."""
    identity = ceiling.identity
    bounds = [
        ["machine", f"{identity.host}, {identity.cpu}, {identity.cores} cores"],
        ["client", f"loadstone {identity.loadstone}, Python {identity.python}, {identity.event_loop}, "
                   f"{identity.transport}, clock {identity.clock}"],
        ["servers", ceiling.server],
        ["events a second", _bound(ceiling.events)],
        ["requests a second", _bound(ceiling.requests)],
        ["streams at once", _bound(ceiling.streams)],
    ]  # fmt: skip
    # Only a full self-test has verdicts, and with them a last column.
    judged = any(level.status for level in ceiling.levels)
    rows: list[list[str]] = []
    for level in ceiling.levels:
        e = level.errors
        row = [
            f"{level.share:.0%}",
            f"{level.streams:,}",
            f"{level.events:,.0f}",
            *(_ms(error, "+.3f") for error in (e.ttft_mean, e.ttft_p99, e.gap_mean, e.gap_p99)),
            "-" if level.client_share is None else f"{level.client_share:.0%}",
            _ms(level.lag_p99, ".1f"),
            f"{e.requests:,}",
            f"{e.gaps:,}",
        ]
        if judged:
            row.append(": ".join(filter(None, [level.status, ", ".join(level.doubts)])))
        rows.append(row)
    columns = [*_COLUMNS, "check"] if judged else _COLUMNS
    note = _NOTE if judged else _NOTE + _QUICK_NOTE
    return [
        Table("Ceiling of one client process", ["", ""], bounds),
        Table("Error of what is shown", columns, rows, note, numeric=True),
    ]


def _bound(bound: Bound | None) -> str:
    """Format a bound with what limited it and the CPU that both sides used."""
    if bound is None:
        return "-"
    sides = [("client", bound.client_share), ("server", bound.server_share)]
    cpu = [f"{side} CPU {used:.0%}" for side, used in sides if used is not None]
    at_least = "at least " if bound.lower else ""
    return f"{at_least}{bound.value:,.0f}; limit: " + ", ".join([LIMITS.get(bound.limit, bound.limit), *cpu])


def _ms(seconds: float | None, number_format: str) -> str:
    """Format a time in milliseconds."""
    return "-" if seconds is None else format(seconds * 1e3, number_format)
