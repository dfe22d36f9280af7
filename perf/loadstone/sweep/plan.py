"""From the settings of `loadstone sweep` to a plan: points in advance or a strategy that chooses them, and its limits.

Everything that makes no sense together raises ConfigError, before anything is run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.checks.resources import SPARE, open_files_advice
from loadstone.config import secrets, slo
from loadstone.config.parse import parse_count_or_time
from loadstone.config.schema import flag
from loadstone.errors import ConfigError
from loadstone.host.client_health import open_files
from loadstone.sweep import grid, knee, strategies
from loadstone.sweep.points import Grid
from loadstone.sweep.run import Strategy, next_grid_run
from loadstone.sweep.settings import Lists, SweepConfig
from loadstone.sweep.slo_search import Range
from loadstone.sweep.strategies import KneeSearch, ProbeLimits, SloSearch

# Ratio of the bounds of a search to the load where it starts, unless they are given.
SPAN = 1024
# Ratio of the ends of an answer that is narrow enough, unless --within is given.
WITHIN = {"slo": 1.05, "auto": knee.WITHIN}
# Loads to try at most, unless --max-points is given.
PROBES = {"slo": 40, "auto": knee.POINTS}


class SweepPlan(Struct, frozen=True):
    """What sweep.json holds before anything has run, and the strategy.

    warning: what this machine cannot do
    """

    grid: Grid
    strategy: Strategy
    knee_search: KneeSearch | None = None
    slo_search: SloSearch | None = None
    warning: str | None = None


def make_plan(settings: SweepConfig, lists: Lists, path: Path) -> SweepPlan:
    """Return the plan of a sweep.

    settings: settings of the sweep and of all runs
    lists: values of the settings that vary, by field
    path: folder of the sweep
    """
    others = grid.paired(lists) if settings.zip else grid.product(lists)
    if settings.auto is None and settings.slo is None:
        points = grid.name_points(others)
        most = max((int(p.settings.get("concurrency", settings.concurrency) or 0) for p in points), default=0)
        workers = settings.workers if isinstance(settings.workers, int) else 1
        fixed = msgspec.structs.replace(_grid(settings, list(lists), {}), places=points)
        return SweepPlan(fixed, next_grid_run, warning=open_files_advice(most, open_files(), workers))

    by = "auto" if settings.slo is None else "slo"
    field = _search_field(settings, lists)
    bounds = _range(settings, by, field)
    rule: dict[str, Any] = {
        "by": by,
        "field": field,
        "range_start": bounds.start,
        "range_least": bounds.lowest,
        "range_most": bounds.highest,
        "range_within": bounds.within,
        "range_probes": bounds.max_points,
    }
    if settings.slo is None:
        knee_search = KneeSearch(field, bounds, others, settings.repeat)
        return SweepPlan(_grid(settings, [*lists, field], rule), knee_search, knee_search=knee_search)

    objectives = slo.with_errors(slo.parse(settings.slo, slo.SLO))
    slo.check_goodput_given(objectives, settings.goodput)
    first = settings.requests or strategies.FIRST
    requests, seconds = parse_count_or_time("probe-max", settings.probe_max or 0)
    max_requests = requests or max(ProbeLimits().max_requests, first)
    limits = ProbeLimits(first, max_requests, seconds or math.inf, not settings.warmup)
    rule |= {"slo": settings.slo, "most": limits.max_requests, "first": limits.first_requests}
    search = SloSearch(path, field, bounds, objectives, others, limits)
    return SweepPlan(_grid(settings, [*lists, field], rule), search, slo_search=search)


def _grid(settings: SweepConfig, varied: list[str], rule: dict[str, Any]) -> Grid:
    """Return the content of sweep.json without its points."""
    return Grid(
        label=settings.label or "",
        config=secrets.redacted_settings(settings.run) | {"output": None},
        varied=varied,
        places=[],
        gpus=settings.gpus,
        repeat=settings.repeat,
        rule=rule,
    )


def _search_field(settings: SweepConfig, lists: Lists) -> str:
    """Return which load is searched for: the one given, else the one that the configuration sets."""
    field = (
        settings.auto or settings.search or ("concurrency" if settings.concurrency and not settings.rate else "rate")
    )
    verb = "--auto" if settings.slo is None else "--slo"
    if field in lists:
        raise ConfigError(f"{verb} finds its own loads: give --{flag(field)} one value, to begin at", field=field)
    if settings.stages is not None or (field == "concurrency" and settings.rate is not None):
        other = "rate" if settings.stages is None else "stages"
        raise ConfigError(f"{verb} {field} and --{other} exclude each other: each says what the load is", field=other)
    return field


def _range(settings: SweepConfig, by: str, field: str) -> Range:
    """Return the loads to search. A concurrency needs a file for each stream, and this process has a limit of them."""
    integers = field == "concurrency"
    start = float(getattr(settings, field) or 1)
    lowest = 1 if integers else start / SPAN
    highest, files = start * SPAN, open_files()
    if integers and files is not None:
        highest = max(1.0, min(highest, files - SPARE))
    lowest = lowest if settings.at_least is None else settings.at_least
    highest = highest if settings.at_most is None else settings.at_most
    if not lowest <= start <= highest or (integers and lowest < 1):
        sentence = f"--at-least {lowest:g}, the begin {start:g} and --at-most {highest:g} are not in this order"
        raise ConfigError(sentence, field="at_least" if settings.at_most is None else "at_most")
    within = WITHIN[by] if settings.within is None else 1 + settings.within
    return Range(start, lowest, highest, within, integers, settings.max_points or PROBES[by])
