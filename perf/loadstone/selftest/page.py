"""A machine's ceiling, as tables of ready text."""

from __future__ import annotations

from loadstone.host.ceiling import Bound, Ceiling, Level
from loadstone.report.page import Table
from loadstone.selftest.ceiling_search import LIMITS

_NOTE = "shown minus true, ms, as means and p99 of both; what the way takes is part of it; -: too few samples"
_QUICK = "; leave out --quick for more samples, lag and verdict"
_COLUMNS = [
    "of the ceiling", "streams", "events/s", "TTFT mean", "TTFT p99", "gap mean", "gap p99", "client CPU",
    "loop lag p99", "requests", "gaps",
]  # fmt: skip


def tables(ceiling: Ceiling) -> list[Table]:
    """The ceiling, and the errors on the way up to it."""
    return [_bounds(ceiling), _levels(ceiling)]


def _bounds(ceiling: Ceiling) -> Table:
    identity = ceiling.identity
    rows = [
        ["machine", f"{identity.host}, {identity.cpu}, {identity.cores} cores"],
        ["client", f"loadstone {identity.loadstone}, Python {identity.python}, {identity.event_loop}, "
                   f"{identity.transport}, clock {identity.clock}"],
        ["servers", ceiling.server],
        ["events a second", _bound(ceiling.events)],
        ["requests a second", _bound(ceiling.requests)],
        ["streams at once", _bound(ceiling.streams)],
    ]  # fmt: skip
    return Table("Ceiling of one client process", ["", ""], rows)


def _bound(bound: Bound | None) -> str:
    if bound is None:
        return "-"
    shares = [f"{who} CPU {share:.0%}" for who, share in _shares(bound) if share is not None]
    least = "at least " if bound.lower else ""
    return f"{least}{bound.value:,.0f}; limit: " + ", ".join([LIMITS.get(bound.limit, bound.limit), *shares])


def _shares(bound: Bound) -> list[tuple[str, float | None]]:
    return [("client", bound.client_share), ("server", bound.server_share)]


def _levels(ceiling: Ceiling) -> Table:
    judged = any(level.status for level in ceiling.levels)
    rows = [_level(level, judged) for level in ceiling.levels]
    columns = [*_COLUMNS, "check"] if judged else _COLUMNS
    return Table("Error of what is shown", columns, rows, _NOTE + ("" if judged else _QUICK), numeric=True)


def _level(level: Level, judged: bool) -> list[str]:
    e = level.errors
    cells = [
        f"{level.share:.0%}",
        f"{level.streams:,}",
        f"{level.events:,.0f}",
        *(_ms(error, "+.3f") for error in (e.ttft_mean, e.ttft_p99, e.gap_mean, e.gap_p99)),
        "-" if level.client_share is None else f"{level.client_share:.0%}",
        _ms(level.lag_p99, ".1f"),
        f"{e.requests:,}",
        f"{e.gaps:,}",
    ]
    return [*cells, ": ".join(filter(None, [level.status, ", ".join(level.doubts)]))] if judged else cells


def _ms(seconds: float | None, form: str) -> str:
    return "-" if seconds is None else format(seconds * 1e3, form)
