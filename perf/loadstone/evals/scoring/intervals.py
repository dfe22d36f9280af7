"""How sure an accuracy is: a mean over items of figures from 0 to 1, with its standard error and 95 % interval. Pure.

Right or wrong, each item on its own: Wilson's interval. Parts of right, such as means over repeats: Student's t over
the items. Items that share a passage: standard error over the clusters.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from loadstone.samples import Estimate
from loadstone.stats import distributions
from loadstone.stats.distributions import wilson

WILSON, STUDENT, CLUSTERED, ALIKE = "Wilson", "t over items", "t over clusters", "Wilson, as all are alike"


def has_own_scale(metric: str) -> bool:
    """Whether a metric is no share but on a scale of its own, as BLEU and ROUGE are in lm-eval: 0 to 100, and
    differences of such."""
    return metric.endswith(("_max", "_diff"))


def estimate(
    values: Sequence[float], clusters: Sequence[Hashable | None] | None = None, bounded: bool = True
) -> Estimate | None:
    """`values`: one per item; `clusters`: what each shares with others, None for nothing. None without items.
    `share`: they are from 0 to 1, and so is the interval."""
    if not values:
        return None
    if not bounded:
        return _unbounded(values)
    value, sums = mean(values), _sums(values, clusters)
    if sums is not None:
        return _clustered(value, len(values), sums)
    error = stderr(values)
    if set(values) <= {0.0, 1.0}:
        ends, method = wilson(value * len(values), len(values)), WILSON
        return Estimate(value=value, n=len(values), stderr=error, interval=ends, method=method)
    return _student(value, len(values), error, len(values), STUDENT)


def mean(values: Sequence[float]) -> float:
    """As lm-eval adds it up, so that all digits are the same."""
    return sum(values) / len(values)


def stderr(values: Sequence[float]) -> float | None:
    """Standard deviation (n - 1) over the root of n, in lm-eval's order of operations."""
    if len(values) < 2:
        return None
    middle = mean(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1)) / math.sqrt(len(values))


def pooled(errors: Sequence[float], sizes: Sequence[int]) -> float | None:
    """Standard error of a mean weighted by size, as lm-eval pools those of the parts."""
    free = sum(sizes) - len(sizes)
    if free <= 0:
        return None
    variance = sum((size - 1) * error**2 * size for size, error in zip(sizes, errors, strict=True)) / free
    return math.sqrt(variance / sum(sizes))


def mean_of_means(parts: Sequence[Estimate]) -> Estimate:
    """Mean of means, each counting as one; standard error of independent ones: root of the sum of squares, over their
    number. The interval is the normal one."""
    value, errors = mean([part.value for part in parts]), [part.stderr for part in parts if part.stderr is not None]
    if len(errors) < len(parts):
        return Estimate(value=value, n=len(parts))
    error = math.sqrt(sum(each**2 for each in errors)) / len(parts)
    ends = _clipped(value, distributions.student_t(0.975, distributions.MANY) * error) if error else None
    return Estimate(value=value, n=len(parts), stderr=error, interval=ends, method="normal, of the tasks")


def _sums(values: Sequence[float], clusters: Sequence[Hashable | None] | None) -> list[float] | None:
    """Sums of what each cluster is away from the mean; None where no two items share one."""
    if clusters is None:
        return None
    middle, sums = mean(values), dict[Hashable, float]()
    for place, (value, cluster) in enumerate(zip(values, clusters, strict=True)):
        key = (place,) if cluster is None else cluster
        sums[key] = sums.get(key, 0.0) + value - middle
    return None if len(sums) == len(values) else list(sums.values())


def _clustered(value: float, count: int, sums: Sequence[float]) -> Estimate:
    """Liang and Zeger's standard error of a mean (Biometrika 73, 1986) with the correction C / (C - 1) for C clusters,
    after Miller, Adding Error Bars to Evals (arXiv:2411.00640)."""
    many = len(sums)
    if many < 2:
        return Estimate(value=value, n=count, method="all items share one cluster")
    error = math.sqrt(many / (many - 1) * sum(each**2 for each in sums)) / count
    return _student(value, count, error, many, CLUSTERED)


def _student(value: float, count: int, error: float | None, independent: int, method: str) -> Estimate:
    """Where all items are alike they show no spread: Wilson's interval of as many independent ones then, which is no
    narrower than theirs, as nothing from 0 to 1 spreads wider than right and wrong do."""
    if error is None:
        return Estimate(value=value, n=count)
    if error < 1e-12:
        ends = wilson(value * independent, independent)
        return Estimate(value=value, n=count, stderr=error, interval=ends, method=ALIKE)
    ends = _clipped(value, distributions.student_t(0.975, independent - 1) * error)
    return Estimate(value=value, n=count, stderr=error, interval=ends, method=method)


def _unbounded(values: Sequence[float]) -> Estimate:
    value, error = mean(values), stderr(values)
    if not error:
        return Estimate(value=value, n=len(values), stderr=error)
    half = distributions.student_t(0.975, len(values) - 1) * error
    return Estimate(value=value, n=len(values), stderr=error, interval=(value - half, value + half), method=STUDENT)


def _clipped(value: float, half: float) -> tuple[float, float]:
    return max(0.0, value - half), min(1.0, value + half)
