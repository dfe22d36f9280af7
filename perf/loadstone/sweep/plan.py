"""From what was typed to the course of a sweep: its points in advance, or the guide that finds them, and its limits.

Raises UsageError for whatever makes no sense together, before anything is run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadstone.checks.resources import SPARE, open_files_advice
from loadstone.config.parse import parse_count_or_time
from loadstone.config.schema import Config, flag
from loadstone.errors import UsageError
from loadstone.host.client_health import open_files
from loadstone.metrics import slo
from loadstone.sweep import grid, knee, strategies
from loadstone.sweep.points import Grid
from loadstone.sweep.run import Strategy, next_grid_run
from loadstone.sweep.slo_search import Range
from loadstone.sweep.strategies import KneeSearch, ProbeLimits, SloSearch

# A search goes so many times above and below where it begins, unless told otherwise.
SPAN = 1024
WITHIN = {"slo": 1.05, "auto": knee.WITHIN}
PROBES = {"slo": 40, "auto": knee.POINTS}
Lists = Mapping[str, list[Any]]


class SweepPlan(Struct, frozen=True):
    """What sweep.json says before anything has run, and what is run. `warning`: what this machine cannot do."""

    grid: Grid
    strategy: Strategy
    knee_search: KneeSearch | None = None
    slo_search: SloSearch | None = None
    warning: str | None = None


def make_plan(given: Mapping[str, Any], config: Config, lists: Lists, path: Path) -> SweepPlan:
    """By the flags of `sweep` that were `given`; `config` and `lists` are those of the runs."""
    if "auto" in given and "slo" in given:
        raise UsageError("--auto finds the knee and --slo the most load within objectives: give one of them")
    if "auto" not in given and "slo" not in given:
        return _listed(given, config, lists)
    by = "slo" if "slo" in given else "auto"
    field = _field(given, config, lists)
    bounds, others = _range(given, config, by, field), _order(given)(lists)
    rule: dict[str, Any] = {"by": by, "field": field, **_saved_range(bounds)}
    if by == "auto":
        auto = KneeSearch(field, bounds, others, given.get("repeat", 1))
        return SweepPlan(_grid(given, config, [*lists, field], rule), auto, knee_search=auto)
    goals, limits = _goals(given, config), _limits(given, config)
    rule |= {"slo": given["slo"], "most": limits.max_requests, "first": limits.first_requests}
    search = SloSearch(path, field, bounds, goals, others, limits)
    return SweepPlan(_grid(given, config, [*lists, field], rule), search, slo_search=search)


def parse_within(text: str) -> float:
    """`5%` or `0.05`. Raises UsageError."""
    match = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)(%?)", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < value < 10:
        raise UsageError(f"--within takes a share such as 5% or 0.05, not {text!r}")
    return value


def _listed(given: Mapping[str, Any], config: Config, lists: Lists) -> SweepPlan:
    for name in ("search", "within", "at_least", "at_most", "max_points", "probe_max"):
        if name in given:
            raise UsageError(f"--{flag(name)} is for points that are found on the way: give --slo or --auto with it")
    places = grid.name_points(_order(given)(lists))
    most = max((int(p.settings.get("concurrency", config.concurrency) or 0) for p in places), default=0)
    made = _grid(given, config, list(lists), {})
    workers = config.workers if isinstance(config.workers, int) else 1
    return SweepPlan(_with(made, places), next_grid_run, warning=open_files_advice(most, open_files(), workers))


def _with(made: Grid, places: Sequence[Any]) -> Grid:
    import msgspec

    return msgspec.structs.replace(made, places=list(places))


def _order(given: Mapping[str, Any]) -> Any:
    return grid.paired if given.get("order") == "zip" else grid.product


def _grid(given: Mapping[str, Any], config: Config, varied: list[str], rule: dict[str, Any]) -> Grid:
    repeat, gpus = given.get("repeat", 1), given.get("gpus")
    if repeat < 1 or (gpus is not None and gpus < 1):
        raise UsageError(f"--{'repeat' if repeat < 1 else 'gpus'} takes 1 or more")
    shared = config.redacted() | {"output": None}
    return Grid(label=config.label or "", config=shared, varied=varied, places=[], gpus=gpus, repeat=repeat, rule=rule)


def _field(given: Mapping[str, Any], config: Config, lists: Lists) -> str:
    """Which load is looked for: as said, else that which a search is told to begin at."""
    told = given.get("auto") or given.get("search")
    field = str(told or ("concurrency" if config.concurrency and not config.rate else "rate"))
    verb = "--auto" if "auto" in given else "--slo"
    if field in lists:
        raise UsageError(f"{verb} finds its own loads: give --{flag(field)} one value, to begin at")
    if config.stages is not None or (field == "concurrency" and config.rate is not None):
        other = "stages" if config.stages is not None else "rate"
        raise UsageError(f"{verb} {field} and --{other} exclude each other: each says what the load is")
    if "slo" in given and (config.duration is not None or given.get("repeat", 1) > 1):
        other = "duration" if config.duration is not None else "repeat"
        raise UsageError(
            f"--slo decides how long a load is probed: leave out --{other}, and give --probe-max for a limit"
        )
    return field


def _range(given: Mapping[str, Any], config: Config, by: str, field: str) -> Range:
    whole = field == "concurrency"
    start = float(getattr(config, field) or 1)
    least = float(given.get("at_least", 1 if whole else start / SPAN))
    most = float(given.get("at_most", _machine(start * SPAN) if whole else start * SPAN))
    if not 0 < least <= start <= most or (whole and least < 1):
        raise UsageError(f"--at-least {least:g}, the begin {start:g} and --at-most {most:g} are not in this order")
    within = 1 + parse_within(given["within"]) if "within" in given else WITHIN[by]
    return Range(start, least, most, within, whole, int(given.get("max_points", PROBES[by])))


def _machine(most: float) -> float:
    """No more streams than this process may have files."""
    files = open_files()
    return most if files is None else max(1.0, min(most, files - SPARE))


def _saved_range(bounds: Range) -> dict[str, Any]:
    """Return the range as keys of the rule in sweep.json."""
    return {
        "range_start": bounds.start,
        "range_least": bounds.lowest,
        "range_most": bounds.highest,
        "range_within": bounds.within,
        "range_probes": bounds.max_points,
    }


def _goals(given: Mapping[str, Any], config: Config) -> tuple[slo.Objective, ...]:
    found = slo.with_errors(slo.parse(given["slo"], shares=True))
    if any(one.metric == slo.ATTAINMENT for one in found) and not config.goodput:
        raise UsageError("--slo goodput>=99% needs --goodput: say what a request must meet, such as ttft:200ms")
    return found


def _limits(given: Mapping[str, Any], config: Config) -> ProbeLimits:
    first = config.requests or strategies.FIRST
    most, seconds = parse_count_or_time("probe-max", given["probe_max"]) if "probe_max" in given else (0, 0.0)
    ceiling = most or max(ProbeLimits().max_requests, first)
    return ProbeLimits(first, ceiling, seconds or math.inf, not config.warmup)
