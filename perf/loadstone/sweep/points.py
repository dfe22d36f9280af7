"""A sweep as data: points of settings, and what was measured at each. Sweeps, plans, exports and views share it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from loadstone.summary import Summary

# Version of sweep.json. History: 1 the first.
FORMAT = 1


class SweepPoint(Struct, frozen=True):
    """A point as planned: the name of its folder, and the settings that make it differ from the others, by field of
    Config. `failed`: why it could not be run at all, when it was last tried."""

    name: str
    settings: dict[str, Any]
    failed: str | None = None


class Grid(Struct, frozen=True, kw_only=True):
    """What sweep.json holds. `config`: the settings that all points share, secrets hidden; `gpus`: of the server, where
    that is told; `repeat`: runs of each point; `rule`: how the points are chosen, with what is needed to go on choosing
    them; `note`: the same in words, and what came of it."""

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
    """A point as measured: its place, and a summary for each of its runs; none where it has not been run yet."""

    name: str
    settings: dict[str, Any]
    runs: list[Summary]
    failed: str | None = None


class Sweep(Struct, frozen=True):
    grid: Grid
    points: list[MeasuredPoint]


def rates_under_load(run: Summary) -> Mapping[str, float | None]:
    """Rates under the load that was asked for. Of a closed loop those of the steady window, as a ramp at both ends is
    not that load, unless fewer requests ended in it than were in flight: too few to tell a rate. Of an open loop those
    of the whole run: its window of many in flight is one of many arrivals."""
    steady = run.steady
    if steady is None or (run.run.get("schedule") or {}).get("loop") == "open":
        return run.rates
    ended = (steady.rates.get("qps") or 0.0) * (steady.end - steady.start)
    return steady.rates if ended >= (steady.rates.get("concurrency") or 0.0) else run.rates
