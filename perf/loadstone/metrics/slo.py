"""Objectives for the figures of a run, as typed by users: `ttft.p99<500ms tpot.p95<50ms error_rate<1%`. Pure.

An objective is met or missed if the whole interval of the figure is on one side of the limit, else unresolved. The
objectives of single requests (--goodput) are in request_slo.py and measure.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.stats.describe import PERCENTILES
from loadstone.summary import Metric

# What is known of an objective, a gate or a check.
Outcome = Literal["met", "missed", "unresolved"]
METRICS = (
    *("ttft", "ttft_scheduled", "ttfat", "latency", "latency_scheduled", "tpot", "itl", "gap", "packet_time"),
    "error_rate",
)
FIGURES = ("mean", *PERCENTILES)
FORM = "METRIC.FIGURE<TIME such as 'ttft.p99<500ms tpot.p95<50ms latency.mean<5s error_rate<1%'"
# Fraction of requests that meet --goodput, typed `goodput>=99%`: the one figure with a lower limit.
ATTAINMENT = "attainment"
# Figures of a run as a whole, 0 to 1.
FRACTIONS = ("error_rate", ATTAINMENT)
# Default limit of the error rate: above it, percentiles describe the surviving requests only.
ERRORS = 0.01
_ALIASES = {"e2el": "latency"}
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1e-3}
_SHARE = re.compile(r"(?:goodput|attainment)>=?([0-9]+\.?[0-9]*|\.[0-9]+)(%?)")
_TERM = re.compile(r"([a-z_0-9]+)(?:\.([a-z0-9.]+))?<=?([0-9]+\.?[0-9]*|\.[0-9]+)(us|ms|s|%|)")


class Estimate(Struct, frozen=True):
    """A measured figure and the ends of its 95 % interval, None if unknown. Seconds, or a fraction."""

    value: float
    low: float | None = None
    high: float | None = None


class Objective(Struct, frozen=True):
    """`metric.figure` must be below `limit`: seconds, or a fraction for the error rate, which has no figure."""

    metric: str
    figure: str
    limit: float

    @property
    def name(self) -> str:
        return f"{self.metric}.{self.figure}" if self.figure else self.metric

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.metric == ATTAINMENT else '<'} {format_value(self.metric, self.limit)}"


def parse(text: str, shares: bool = False) -> tuple[Objective, ...]:
    """Parse objectives separated by spaces, commas or `and`. A bare number is ms, `e2el` is latency.

    shares: also accept `goodput>=99%`, the fraction of requests that meet --goodput. Raises UsageError.
    """
    joined = re.sub(r"\s*([<>]=?)\s*", r"\1", text.strip())
    terms = [term for term in re.split(r"[\s,;&]+", joined) if term and term != "and"]
    found = tuple((_share(term) if shares else None) or _term(term) for term in terms)
    names = [objective.name for objective in found]
    if not found:
        raise UsageError(f"--slo takes {FORM}, not {text!r}")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"--slo has two limits for {twice}: give one")
    return found


def _share(text: str) -> Objective | None:
    match = _SHARE.fullmatch(text.lower())
    if match is None:
        return None
    limit = float(match[1]) / (100 if match[2] else 1)
    if not 0 < limit < 1:
        raise UsageError(f"--slo takes goodput>=99% or goodput>=0.99, a share below 1, not {text!r}")
    return Objective(ATTAINMENT, "", limit)


def _term(text: str) -> Objective:
    match = _TERM.fullmatch(text.lower())
    wrong = UsageError(f"--slo takes {FORM}, not {text!r}")
    if match is None or not float(match[3]):
        raise wrong
    metric, figure, number, unit = _ALIASES.get(match[1], match[1]), match[2] or "", float(match[3]), match[4]
    if metric not in METRICS:
        raise UsageError(f"--slo knows no metric {match[1]!r}: take one of {', '.join(METRICS)}")
    if metric == "error_rate":
        if figure or unit not in ("%", "") or (limit := number / 100 if unit else number) >= 1:
            raise UsageError(f"--slo takes error_rate<1% or error_rate<0.01, not {text!r}")
        return Objective(metric, "", limit)
    if figure not in FIGURES:
        raise UsageError(f"--slo takes a figure of {metric} such as {metric}.p99 ({', '.join(FIGURES)}), not {text!r}")
    if unit == "%":
        raise wrong
    return Objective(metric, figure, number * _UNITS[unit])


def with_errors(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """Return the objectives with a limit for the error rate, if they have none: refusing requests is not fast."""
    named = any(objective.metric == "error_rate" for objective in objectives)
    return (*objectives,) if named else (*objectives, Objective("error_rate", "", ERRORS))


def estimate(
    metric: str, figure: str, metrics: Mapping[str, Metric], rates: Mapping[str, float | None]
) -> Estimate | None:
    """Return a figure of a run or window; None if it was not measured or the sample is too small."""
    if not figure:
        rate = rates.get(metric)
        return None if rate is None else Estimate(rate)
    if (measured := metrics.get(metric)) is None:
        return None
    value: float | None = getattr(measured, figure.replace(".", ""))
    return None if value is None else Estimate(value, *_bounds(measured, figure))


def _bounds(metric: Metric, figure: str) -> tuple[float | None, float | None]:
    """Return the interval of a percentile.

    An unknown end is that of another percentile that bounds it: what p95 surely exceeds, p99 exceeds as well.
    """
    if figure == "mean":
        return metric.ci95.get("mean") or (None, None)
    share = PERCENTILES[figure]
    known = [(PERCENTILES[name], *ends) for name, ends in metric.ci95.items() if name in PERCENTILES and ends]
    low = max((below for other, below, _ in known if other <= share), default=None)
    high = min((above for other, _, above in known if other >= share), default=None)
    return low, high


def judge(found: Estimate | None, objective: Objective) -> Outcome:
    """Return the outcome by the interval of the figure. An error rate has none and is compared as it is."""
    if found is None:
        return "unresolved"
    exact = objective.metric == "error_rate"
    low, high = (found.value, found.value) if exact else (found.low, found.high)
    if high is not None and high <= objective.limit:
        return "met"
    return "missed" if low is not None and low > objective.limit else "unresolved"


def combine(judgements: Iterable[Outcome]) -> Outcome:
    """Return the outcome of several objectives: all must be met, and one that is missed decides."""
    return max(judgements, key=("met", "unresolved", "missed").index, default="met")


def format_value(metric: str, value: float | None) -> str:
    """Format a figure: fractions in percent, times in ms or s, `-` for None."""
    if value is None:
        return "-"
    if metric in FRACTIONS:
        return f"{value * 100:.3g}%"
    return f"{value * 1e3:.4g} ms" if value < 10 else f"{value:.4g} s"
