"""A sweep as data: points of settings, and what was measured at each. Sweeps, plans, exports and reports share it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from loadstone.summary import Summary

# Version of sweep.json. History: 1 the first.
FORMAT = 1


class SweepPoint(Struct, frozen=True):
    """A point as planned.

    name: of its folder
    settings: those that differ from other points, by field of Config
    failed: why it could not be run, when it was last tried
    """

    name: str
    settings: dict[str, Any]
    failed: str | None = None


class Grid(Struct, frozen=True, kw_only=True):
    """The content of sweep.json.

    config: the settings that all points share, with secrets hidden
    varied: the fields that differ between points
    gpus: of the server, where given
    repeat: runs of each point
    rule: how points are chosen, with what is needed to resume choosing; empty for a fixed grid
    note: the rule and its result in words
    """

    format: int = FORMAT
    label: str = ""
    config: dict[str, Any]
    varied: list[str]
    places: list[SweepPoint]
    gpus: int | None = None
    repeat: int = 1
    rule: dict[str, Any] = {}
    note: str = ""


class MeasuredPoint(Struct, frozen=True):
    """A point as measured: a summary for each of its runs, none while it has not been run."""

    name: str
    settings: dict[str, Any]
    runs: list[Summary]
    failed: str | None = None


class Sweep(Struct, frozen=True):
    """A sweep with its points as measured so far."""

    grid: Grid
    points: list[MeasuredPoint]


def rates_under_load(run: Summary) -> Mapping[str, float | None]:
    """Return the rates of a run under the load that was requested.

    In a closed loop they are those of the steady window, as a ramp at both ends is not that load, unless fewer requests
    ended in it than were in flight: too few for a rate. In an open loop they are those of the whole run: its window of
    many in flight is one of many arrivals.
    """
    steady = run.steady
    if steady is None or run.run.schedule.loop == "open":
        return run.rates
    ended = (steady.rates.get("qps") or 0.0) * (steady.end - steady.start)
    return steady.rates if ended >= (steady.rates.get("concurrency") or 0.0) else run.rates
