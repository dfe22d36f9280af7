"""Several runs of one load: how much they differ, compared with what chance within each run explains.

Pure: summaries in, a table of figures out. Intervals between runs are by Student's t over the runs. Each run counts as
one value, so that nothing needs to be assumed about the correlation of requests within a run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from msgspec import Struct

from loadstone.stats.distributions import NORMAL, student_t
from loadstone.stats.intervals import Interval
from loadstone.summary import Metric, Summary

# Version of repeats.json. History: 1 the first.
FORMAT = 1
METRICS = ("ttft", "tpot", "latency", "gap")
STATS = ("mean", "p50", "p95", "p99")
RATES = {
    "qps": "/s",
    "request_rate": "/s",
    "output_throughput": "tokens/s",
    "total_throughput": "tokens/s",
    "goodput": "/s",
    "concurrency": "",
    "error_rate": "",
    "cached_share": "",
}
# Values of `ended` with which a run counts.
PLANNED_ENDS = ("done", "duration", "stages")
# Normal quantile of 99.9 %, as some twenty figures are tested.
NORMAL_999 = 3.090232306167813


class Figure(Struct, frozen=True):
    """A figure over the runs.

    values: one for each run that counts
    between: standard deviation between runs
    ci95: 95 % interval of the mean
    within: the standard deviation that the intervals of the single runs predict, None where unknown
    remark: set if the runs differ by more than that
    """

    name: str
    unit: str
    values: list[float]
    mean: float
    between: float | None = None
    ci95: Interval | None = None
    within: float | None = None
    remark: str | None = None


class RepeatedRun(Struct, frozen=True):
    """One of the runs.

    name: of its folder
    counts: its figures are among those of the table
    """

    name: str
    seed: int | None
    ended: str | None
    verdict: str | None
    succeeded: int
    failed: int
    counts: bool


class Repeats(Struct, frozen=True, kw_only=True):
    """The content of repeats.json."""

    format: int = FORMAT
    runs: list[RepeatedRun]
    figures: list[Figure]


def table(summaries: Mapping[str, Summary]) -> Repeats:
    """Return the table of runs, given as summaries by the name of their run, in order."""
    runs = []
    for name, summary in summaries.items():
        ended, counts = summary.run.ended, summary.counts
        runs.append(
            RepeatedRun(
                name=name,
                seed=summary.run.config.seed,
                ended=ended,
                verdict=summary.verdict.status if summary.verdict else None,
                succeeded=counts.succeeded,
                failed=counts.failed,
                counts=ended in PLANNED_ENDS and counts.succeeded > 0,
            )
        )
    counted = [summary for run, summary in zip(runs, summaries.values(), strict=True) if run.counts]

    figures = []
    for name in METRICS:
        metrics = [summary.metrics[name] for summary in counted if name in summary.metrics]
        for stat in STATS:
            values = [getattr(metric, stat) for metric in metrics]
            if values and len(values) == len(counted) and None not in values:
                figures.append(figure(f"{name}.{stat}", metrics[0].unit, values, _deviation_within(metrics, stat)))
    for name, unit in RATES.items():
        values = [value for summary in counted if (value := summary.rates.get(name)) is not None]
        if values and len(values) == len(counted):
            figures.append(figure(name, unit, values, None))
    return Repeats(runs=runs, figures=figures)


def _deviation_within(metrics: Sequence[Metric], stat: str) -> float | None:
    """Return the root mean square of the standard errors of the runs; None unless all have an interval."""
    intervals = [metric.ci95.get(stat) for metric in metrics]
    halves = [(high - low) / 2 for low, high in filter(None, intervals)]
    complete = len(halves) == len(intervals)
    return math.sqrt(statistics.fmean(half**2 for half in halves)) / NORMAL if complete else None


def figure(name: str, unit: str, values: list[float], within: float | None) -> Figure:
    """Return a figure over the runs. A single value is its own mean and has no interval."""
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return Figure(name, unit, values, mean, within=within)
    between = statistics.stdev(values)
    half = student_t(0.975, count - 1) * between / math.sqrt(count)
    # A variance divided by the one expected is chi-square over its degrees of freedom.
    remark = None
    if within and between > within * math.sqrt(chi_square(count - 1) / (count - 1)):
        remark = f"runs differ {between / within:.1f} times as much as chance within a run explains"
    return Figure(name, unit, values, mean, between, (mean - half, mean + half), within, remark)


def chi_square(degrees: int) -> float:
    """Return the 99.9 % point (Wilson & Hilferty, Proc. N.A.S. 17, 1931); within 4 % from one degree of freedom on."""
    part = 2 / (9 * degrees)
    return degrees * (1 - part + NORMAL_999 * math.sqrt(part)) ** 3
