"""Judge the figures of a run by objectives: met, missed or unresolved. Pure. config/slo.py has the grammar.

An objective is met or missed if the whole interval of the figure is on one side of the limit, else unresolved. The
objectives of single requests (--goodput) are in request_slo.py and measure.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from loadstone.config.slo import PERCENTILES, Objective
from loadstone.summary import Metric

# What is known of an objective, a gate or a check.
Outcome = Literal["met", "missed", "unresolved"]


class Estimate(Struct, frozen=True):
    """A measured figure and the ends of its 95 % interval, None if unknown. Seconds, or a fraction."""

    value: float
    low: float | None = None
    high: float | None = None


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


def judge(figure: Estimate | None, objective: Objective) -> Outcome:
    """Return the outcome by the interval of a figure; an end that is unknown decides nothing.

    An error rate without an interval is compared as it is.
    """
    if figure is None:
        return "unresolved"
    low, high = figure.low, figure.high
    if objective.metric == "error_rate" and low is None and high is None:
        low = high = figure.value
    # As for an upper limit: the end that is nearest to the limit from outside has to be within it.
    near, far, limit = high, low, objective.limit
    if objective.at_least:
        near, far, limit = (None if low is None else -low), (None if high is None else -high), -objective.limit
    if near is not None and near <= limit:
        return "met"
    return "missed" if far is not None and far > limit else "unresolved"


def combine(judgements: Iterable[Outcome]) -> Outcome:
    """Return the outcome of several objectives: all must be met, and one that is missed decides."""
    return max(judgements, key=("met", "unresolved", "missed").index, default="met")
