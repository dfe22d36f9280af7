"""Several runs of one load: what differs between them, beside what chance within each explains.

Pure: summaries in, a table of figures out. Intervals between runs are Student's over the runs, each of which counts as
one value, so nothing about neighbours within a run needs to be assumed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from msgspec import Struct

from loadstone.stats.intervals import NORMAL, Interval, student
from loadstone.summary import Metric, Summary

# Version of repeats.json. History: 1 the first.
FORMAT = 1
METRICS = ("ttft", "tpot", "latency", "gap")
POINTS = ("mean", "p50", "p95", "p99")
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
# How a run ends of which the figures count.
PLANNED_ENDS = ("done", "duration", "stages")
# Normal quantile of 99.9 %: some twenty figures are looked at.
CERTAIN = 3.090232306167813


class Figure(Struct, frozen=True):
    """A figure over the runs: `values`, one for each run that counts; their mean, standard deviation `between` runs and
    95 % interval; `within`, what the runs' own intervals say that it should be; None where that is not known."""

    name: str
    unit: str
    values: list[float]
    mean: float
    between: float | None = None
    ci95: Interval | None = None
    within: float | None = None
    remark: str | None = None


class RepeatedRun(Struct, frozen=True):
    """One of the runs: its folder's name, and how it went. `counts`: whether its figures are among those above."""

    name: str
    seed: int | None
    ended: str | None
    verdict: str | None
    succeeded: int
    failed: int
    counts: bool


class Repeats(Struct, frozen=True, kw_only=True):
    """What repeats.json holds."""

    format: int = FORMAT
    runs: list[RepeatedRun]
    figures: list[Figure]


def table(runs: Mapping[str, Summary]) -> Repeats:
    """Of summaries by the name of their run, in order."""
    once = [_once(name, summary) for name, summary in runs.items()]
    told = [summary for one, summary in zip(once, runs.values(), strict=True) if one.counts]
    return Repeats(runs=once, figures=[*_metrics(told), *_rates(told)])


def _once(name: str, summary: Summary) -> RepeatedRun:
    ended, counts = summary.run.get("ended"), summary.counts
    seed = (summary.run.get("config") or {}).get("seed")
    verdict = summary.verdict.status if summary.verdict else None
    whole = ended in PLANNED_ENDS and counts.succeeded > 0
    return RepeatedRun(name, seed, ended, verdict, counts.succeeded, counts.failed, whole)


def _metrics(runs: Sequence[Summary]) -> list[Figure]:
    found = []
    for name in METRICS:
        metrics = [run.metrics[name] for run in runs if name in run.metrics]
        for point in POINTS:
            values = [getattr(metric, point) for metric in metrics]
            if values and len(values) == len(runs) and None not in values:
                found.append(figure(f"{name}.{point}", metrics[0].unit, values, _within(metrics, point)))
    return found


def _rates(runs: Sequence[Summary]) -> list[Figure]:
    found = []
    for name, unit in RATES.items():
        values = [value for run in runs if (value := run.rates.get(name)) is not None]
        if values and len(values) == len(runs):
            found.append(figure(name, unit, values, None))
    return found


def _within(metrics: Sequence[Metric], point: str) -> float | None:
    """Root mean square of the standard errors that the runs' intervals stand for; None unless all have one."""
    intervals = [metric.ci95.get(point) for metric in metrics]
    halves = [(high - low) / 2 for low, high in filter(None, intervals)]
    complete = len(halves) == len(intervals)
    return math.sqrt(statistics.fmean(half**2 for half in halves)) / NORMAL if complete else None


def figure(name: str, unit: str, values: list[float], within: float | None) -> Figure:
    """One value is its own mean, without interval."""
    count, mean = len(values), statistics.fmean(values)
    if count < 2:
        return Figure(name, unit, values, mean, within=within)
    between = statistics.stdev(values)
    half = student(count - 1) * between / math.sqrt(count)
    return Figure(
        name, unit, values, mean, between, (mean - half, mean + half), within, _remark(between, within, count)
    )


def _remark(between: float, within: float | None, count: int) -> str | None:
    """A variance over the one expected is chi-square over its degrees of freedom."""
    if not within or between <= within * math.sqrt(chi_square(count - 1) / (count - 1)):
        return None
    return f"runs differ {between / within:.1f} times as much as chance within a run explains"


def chi_square(freedom: int) -> float:
    """Its 99.9 % point (Wilson & Hilferty, Proc. N.A.S. 17, 1931; within 4 % from one degree of freedom on)."""
    part = 2 / (9 * freedom)
    return freedom * (1 - part + CERTAIN * math.sqrt(part)) ** 3
