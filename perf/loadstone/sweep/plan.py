"""From the flags of `loadstone sweep` to a plan: points in advance or a strategy that chooses them, and its limits.

Everything that makes no sense together raises ConfigError, before anything is run.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.checks.resources import SPARE, open_files_advice
from loadstone.config import slo
from loadstone.config.parse import parse_count_or_time, parse_fraction
from loadstone.config.schema import Config, flag
from loadstone.errors import ConfigError
from loadstone.host.client_health import open_files
from loadstone.sweep import grid, knee, strategies
from loadstone.sweep.points import Grid
from loadstone.sweep.run import Strategy, next_grid_run
from loadstone.sweep.slo_search import Range
from loadstone.sweep.strategies import KneeSearch, ProbeLimits, SloSearch

# Ratio of the bounds of a search to the load where it starts, unless they are given.
SPAN = 1024
# Ratio of the ends of an answer that is narrow enough, unless --within is given.
WITHIN = {"slo": 1.05, "auto": knee.WITHIN}
# Loads to try at most, unless --max-points is given.
PROBES = {"slo": 40, "auto": knee.POINTS}
Lists = Mapping[str, list[Any]]


class SweepPlan(Struct, frozen=True):
    """What sweep.json holds before anything has run, and the strategy.

    warning: what this machine cannot do
    """

    grid: Grid
    strategy: Strategy
    knee_search: KneeSearch | None = None
    slo_search: SloSearch | None = None
    warning: str | None = None


def make_plan(given: Mapping[str, Any], config: Config, lists: Lists, path: Path) -> SweepPlan:
    """Return the plan of a sweep.

    given: the flags of `sweep` that were typed
    config: settings of all runs
    lists: values of the settings that vary, by field
    path: folder of the sweep
    """
    if "auto" in given and "slo" in given:
        raise ConfigError("--auto finds the knee and --slo the most load within objectives: give one of them")
    if "auto" not in given and "slo" not in given:
        return _grid_plan(given, config, lists)
    by = "slo" if "slo" in given else "auto"
    field = _search_field(given, config, lists)
    bounds, others = _range(given, config, by, field), _combine(given, lists)
    rule: dict[str, Any] = {
        "by": by,
        "field": field,
        "range_start": bounds.start,
        "range_least": bounds.lowest,
        "range_most": bounds.highest,
        "range_within": bounds.within,
        "range_probes": bounds.max_points,
    }
    if by == "auto":
        knee_search = KneeSearch(field, bounds, others, given.get("repeat", 1))
        return SweepPlan(_grid(given, config, [*lists, field], rule), knee_search, knee_search=knee_search)

    objectives = slo.with_errors(slo.parse(given["slo"], slo.SLO))
    slo.check_goodput_given(objectives, config.goodput)
    first = config.requests or strategies.FIRST
    requests, seconds = parse_count_or_time("probe-max", given["probe_max"]) if "probe_max" in given else (0, 0.0)
    max_requests = requests or max(ProbeLimits().max_requests, first)
    limits = ProbeLimits(first, max_requests, seconds or math.inf, not config.warmup)
    rule |= {"slo": given["slo"], "most": limits.max_requests, "first": limits.first_requests}
    search = SloSearch(path, field, bounds, objectives, others, limits)
    return SweepPlan(_grid(given, config, [*lists, field], rule), search, slo_search=search)


def parse_within(text: str) -> float:
    """Return the fraction typed as `5%` or `0.05`. Raise ConfigError."""
    with contextlib.suppress(ValueError):
        if 0 < (value := parse_fraction(text)) < 10:
            return value
    raise ConfigError(f"--within takes a fraction such as 5% or 0.05, not {text!r}")


def _grid_plan(given: Mapping[str, Any], config: Config, lists: Lists) -> SweepPlan:
    for name in ("search", "within", "at_least", "at_most", "max_points", "probe_max"):
        if name in given:
            raise ConfigError(f"--{flag(name)} is for points that are found on the way: give --slo or --auto with it")
    points = grid.name_points(_combine(given, lists))
    most = max((int(p.settings.get("concurrency", config.concurrency) or 0) for p in points), default=0)
    workers = config.workers if isinstance(config.workers, int) else 1
    fixed = msgspec.structs.replace(_grid(given, config, list(lists), {}), places=points)
    return SweepPlan(fixed, next_grid_run, warning=open_files_advice(most, open_files(), workers))


def _combine(given: Mapping[str, Any], lists: Lists) -> list[dict[str, Any]]:
    return grid.paired(lists) if given.get("order") == "zip" else grid.product(lists)


def _grid(given: Mapping[str, Any], config: Config, varied: list[str], rule: dict[str, Any]) -> Grid:
    repeat, gpus = given.get("repeat", 1), given.get("gpus")
    if repeat < 1 or (gpus is not None and gpus < 1):
        raise ConfigError(f"--{'repeat' if repeat < 1 else 'gpus'} takes 1 or more")
    shared = config.redacted() | {"output": None}
    return Grid(label=config.label or "", config=shared, varied=varied, places=[], gpus=gpus, repeat=repeat, rule=rule)


def _search_field(given: Mapping[str, Any], config: Config, lists: Lists) -> str:
    """Return which load is searched for: the one given, else the one that the configuration sets."""
    named = given.get("auto") or given.get("search")
    field = str(named or ("concurrency" if config.concurrency and not config.rate else "rate"))
    verb = "--auto" if "auto" in given else "--slo"
    if field in lists:
        raise ConfigError(f"{verb} finds its own loads: give --{flag(field)} one value, to begin at")
    if config.stages is not None or (field == "concurrency" and config.rate is not None):
        other = "stages" if config.stages is not None else "rate"
        raise ConfigError(f"{verb} {field} and --{other} exclude each other: each says what the load is")
    if "slo" in given and (config.duration is not None or given.get("repeat", 1) > 1):
        other = "duration" if config.duration is not None else "repeat"
        raise ConfigError(
            f"--slo decides how long a load is probed: leave out --{other}, and give --probe-max for a limit"
        )
    return field


def _range(given: Mapping[str, Any], config: Config, by: str, field: str) -> Range:
    """Return the loads to search. A concurrency needs a file for each stream, and this process has a limit of them."""
    integers = field == "concurrency"
    start = float(getattr(config, field) or 1)
    lowest = 1 if integers else start / SPAN
    highest, files = start * SPAN, open_files()
    if integers and files is not None:
        highest = max(1.0, min(highest, files - SPARE))
    lowest = float(given.get("at_least", lowest))
    highest = float(given.get("at_most", highest))
    if not 0 < lowest <= start <= highest or (integers and lowest < 1):
        raise ConfigError(f"--at-least {lowest:g}, the begin {start:g} and --at-most {highest:g} are not in this order")
    within = 1 + parse_within(given["within"]) if "within" in given else WITHIN[by]
    return Range(start, lowest, highest, within, integers, int(given.get("max_points", PROBES[by])))
