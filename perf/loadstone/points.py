"""A sweep as data: points of settings, and what was measured at each. Sweeps, plans, exports and views share it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from loadstone.records import Summary

FORMAT = 1
"""Version of sweep.json. History: 1 the first."""


class Place(Struct, frozen=True):
    """A point as planned: the name of its folder, and the settings that make it differ from the others, by field of
    Config."""

    name: str
    settings: dict[str, Any]


class Grid(Struct, frozen=True, kw_only=True):
    """What sweep.json holds. `config`: the settings that all points share; `gpus`: of the server, where that is told;
    `note`: by what rule the points were chosen."""

    format: int = FORMAT
    label: str = ""
    config: dict[str, Any]
    varied: list[str]
    places: list[Place]
    gpus: int | None = None
    note: str = ""


class Point(Struct, frozen=True):
    """A point as measured: its place, and a summary for each of its runs; none where it has not been run yet."""

    name: str
    settings: dict[str, Any]
    runs: list[Summary]


class Sweep(Struct, frozen=True):
    grid: Grid
    points: list[Point]
