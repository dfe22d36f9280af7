"""The mean of an accuracy over items, with its standard error and 95 % interval. Does no I/O.

* Independent items that are right or wrong: Wilson's interval.
* Fractions of right, such as means over passes: Student's t over the items.
* Items that share a passage: standard error over the clusters.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from loadstone.samples import Estimate
from loadstone.stats import distributions
from loadstone.stats.distributions import wilson

# Names of the methods in results and reports.
WILSON, STUDENT, CLUSTERED, ALIKE = "Wilson", "t over items", "t over clusters", "Wilson, as all are alike"


def has_own_scale(metric: str) -> bool:
    """Return True if a metric is not from 0 to 1.

    lm-eval's BLEU and ROUGE are from 0 to 100, and there are differences of them.
    """
    return metric.endswith(("_max", "_diff"))


def estimate(
    values: Sequence[float], clusters: Sequence[Hashable | None] | None = None, bounded: bool = True
) -> Estimate | None:
    """Estimate the mean of values, with its interval. Returns None without values.

    values: one for each item
    clusters: what each item shares with others; None for nothing
    bounded: the values are from 0 to 1, and so is the interval
    """
    if not values:
        return None
    count, value, error = len(values), mean(values), stderr(values)
    if not bounded:
        if not error:
            return Estimate(value=value, n=count, stderr=error)
        half = distributions.student_t(0.975, count - 1) * error
        return Estimate(value=value, n=count, stderr=error, interval=(value - half, value + half), method=STUDENT)

    if clusters is not None:
        # Sums of the deviations of each cluster from the mean; items without a cluster are one each.
        sums: dict[Hashable, float] = {}
        for index, (each, cluster) in enumerate(zip(values, clusters, strict=True)):
            key = (index,) if cluster is None else cluster
            sums[key] = sums.get(key, 0.0) + each - value
        if len(sums) < count:
            return _clustered(value, count, list(sums.values()))
    if set(values) <= {0.0, 1.0}:
        return Estimate(value=value, n=count, stderr=error, interval=wilson(value * count, count), method=WILSON)
    return _student(value, count, error, count, STUDENT)


def mean(values: Sequence[float]) -> float:
    """Return the mean, summed as lm-eval does so that all digits are the same."""
    return sum(values) / len(values)


def stderr(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean, in lm-eval's order of operations. Returns None below two values."""
    if len(values) < 2:
        return None
    center = mean(values)
    return math.sqrt(sum((value - center) ** 2 for value in values) / (len(values) - 1)) / math.sqrt(len(values))


def pooled(errors: Sequence[float], sizes: Sequence[int]) -> float | None:
    """Return the standard error of a mean weighted by size, as lm-eval pools the errors of its parts."""
    freedom = sum(sizes) - len(sizes)
    if freedom <= 0:
        return None
    variance = sum((size - 1) * error**2 * size for size, error in zip(sizes, errors, strict=True)) / freedom
    return math.sqrt(variance / sum(sizes))


def mean_of_means(parts: Sequence[Estimate]) -> Estimate:
    """Estimate the mean of independent means, each with the same weight. The interval is the normal one.

    The standard error is the root of the sum of squares, divided by the number of means.
    """
    value = mean([part.value for part in parts])
    errors = [part.stderr for part in parts if part.stderr is not None]
    if len(errors) < len(parts):
        return Estimate(value=value, n=len(parts))
    error = math.sqrt(sum(each**2 for each in errors)) / len(parts)
    interval = _clip(value, distributions.student_t(0.975, distributions.MANY) * error) if error else None
    return Estimate(value=value, n=len(parts), stderr=error, interval=interval, method="normal, of the tasks")


def _clustered(value: float, count: int, sums: Sequence[float]) -> Estimate:
    """Estimate a mean from the sums of deviations of its clusters.

    Liang and Zeger's standard error of a mean (Biometrika 73, 1986) with the correction C / (C - 1) for C clusters,
    after Miller, Adding Error Bars to Evals (arXiv:2411.00640).
    """
    clusters = len(sums)
    if clusters < 2:
        return Estimate(value=value, n=count, method="all items share one cluster")
    error = math.sqrt(clusters / (clusters - 1) * sum(each**2 for each in sums)) / count
    return _student(value, count, error, clusters, CLUSTERED)


def _student(value: float, count: int, error: float | None, independent: int, method: str) -> Estimate:
    """Estimate a mean by Student's t.

    If all items are equal they show no spread. The interval is then Wilson's for as many independent items, which is
    no narrower than theirs: nothing from 0 to 1 spreads wider than right and wrong do.
    independent: number of independent values
    """
    if error is None:
        return Estimate(value=value, n=count)
    if error < 1e-12:
        interval = wilson(value * independent, independent)
        return Estimate(value=value, n=count, stderr=error, interval=interval, method=ALIKE)
    interval = _clip(value, distributions.student_t(0.975, independent - 1) * error)
    return Estimate(value=value, n=count, stderr=error, interval=interval, method=method)


def _clip(value: float, half: float) -> tuple[float, float]:
    return max(0.0, value - half), min(1.0, value + half)
