"""Figures with their uncertainty, and the difference of two of them: its interval and its p-value.

Pure. The figure of several runs is the mean over them, and its error comes from how the runs differ. estimate.py makes
the estimates of a run; verdicts.py decides what a difference means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from loadstone.stats import blocks, distributions
from loadstone.stats.describe import MIN_SAMPLES, enough
from loadstone.units import Array

# Numbers of standard errors for which the reach of an estimate is kept.
STEPS = np.linspace(0.0, 8.0, 81)
# The power used for planning. With 0.8 only 76 % of changes were detected (tests/bench/verdicts.py), because short
# runs underestimate how slowly the state of a server changes. 0.9 keeps the promise of 80 %.
POWER = 0.9
# Significance level; intervals have 1 - LEVEL.
LEVEL = 0.05
# The largest fraction of a value that its reach may go down, so that the rest still has a logarithm.
NEARLY_ALL = 0.9999


class Estimate(Struct, frozen=True):
    """A figure of one run, or of several, with its uncertainty.

    value: in the unit of the figure
    down: how far the figure may be below `value`, for each of STEPS standard errors; NaN beyond the sample, None where
        the sample is too small
    up: the same above `value`
    degrees: degrees of freedom of the error
    count: requests of a run
    runs: number of runs
    """

    value: float
    down: Array | None
    up: Array | None
    degrees: float
    count: int
    runs: int = 1

    @property
    def max_errors(self) -> float:
        """Return the number of standard errors up to which both reaches are within the sample."""
        if self.down is None or self.up is None:
            return 0.0
        return float(STEPS[max(0, int((~np.isnan(self.down + self.up)).sum()) - 1)])

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval, None where the sample is too small. It does not go below 0, as no figure does."""
        t = distributions.student_t(1 - LEVEL / 2, self.degrees)
        if self.down is None or self.up is None:
            return None
        low = self.value - min(_reach_at(self.down, t), abs(self.value))
        high = self.value + _reach_at(self.up, t)
        return None if math.isnan(low + high) else (low, high)

    @property
    def error(self) -> float | None:
        """Return the standard error: the mean of both sides at two standard errors, or at one where two are unknown."""
        for step in (20, 10):
            if self.down is not None and self.up is not None and not math.isnan(self.down[step] + self.up[step]):
                return float(self.down[step] + self.up[step]) / (2 * float(STEPS[step]))
        return None


class Difference(Struct, frozen=True):
    """The change from base to new.

    absolute: new - base, in the unit of the figure
    interval: 95 % interval of `absolute`, None where the sample is too small
    relative: the change as a fraction of base, None where base or new is not above 0
    relative_interval: 95 % interval of `relative`
    p: two-sided p-value; 1 where there is no interval
    degrees: degrees of freedom
    error: standard error of the log ratio; of the absolute difference where there is no ratio
    """

    absolute: float
    interval: tuple[float, float] | None
    relative: float | None
    relative_interval: tuple[float, float] | None
    p: float
    degrees: float
    error: float | None


def mean(values: Array, min_block: float = 1.0) -> Estimate:
    """Estimate the mean of at least one value in order of time, by blocks of `min_block` values or longer."""
    value, count = float(values.mean()), len(values)
    if count < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, count)
    spread = blocks.block_variance(values, min_block)
    return symmetric(value, math.sqrt(spread.variance), spread.freedom, count)


def symmetric(value: float, error: float, degrees: float, count: int, runs: int = 1) -> Estimate:
    """Return an estimate with the same standard error on both sides."""
    return Estimate(value, STEPS * error, STEPS * error, degrees, count, runs)


def quantile(values: Array, ranked: Array, fraction: float, min_block: float = 1.0) -> Estimate | None:
    """Estimate a quantile of `values`, which are in order of time; `ranked` are the same values, sorted.

    Return None where fewer than one value is expected beyond it. The error of the fraction below the quantile, by
    blocks of the series, gives the quantiles that bound it (Woodruff 1952).
    """
    if not len(ranked) or not enough(len(ranked), fraction):
        return None
    value = float(np.quantile(ranked, fraction))
    if len(ranked) < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, len(values))
    if ranked[0] == ranked[-1]:
        return symmetric(value, 0.0, len(values) - 1.0, len(values))

    # How many times as much the fraction varies as one of independent values does. Both the values below and those not
    # above count, as a burst of equal values is one event.
    inflation, degrees = 0.0, 0.0
    for below in (values <= value, values < value):
        series = below.astype(np.float64)
        independent, spread = float(series.var(ddof=1)) / len(series), blocks.block_variance(series, min_block)
        factor = max(1.0, spread.variance / independent) if independent else 1.0
        inflation, degrees = max((inflation, degrees), (factor, spread.freedom))
    error = math.sqrt(inflation / len(values) * fraction * (1 - fraction))
    return quantile_with_error(value, ranked, fraction, error, degrees, len(values))


def quantile_with_error(
    value: float, ranked: Array, fraction: float, error: float, degrees: float, count: int
) -> Estimate:
    """Return the estimate of a quantile whose fraction has the standard error `error`.

    ranked: sorted values, which may be a thinned sample of all.
    """
    center = float(np.quantile(ranked, fraction))
    low, high = fraction - STEPS * error, fraction + STEPS * error
    down = np.where(low >= 0, center - np.quantile(ranked, np.clip(low, 0, 1)), np.nan)
    up = np.where(high <= 1, np.quantile(ranked, np.clip(high, 0, 1)) - center, np.nan)
    return Estimate(value, down, up, degrees, count)


def pool_runs(runs: Sequence[Estimate]) -> Estimate:
    """Return the mean over the runs of one side, at least one.

    The error comes from how the runs differ and is no less than their own mean error. A bootstrap of so few runs would
    make it too small by the factor (runs - 1) / runs.
    """
    if len(runs) == 1:
        return runs[0]
    values = np.array([run.value for run in runs])
    within = [error**2 for run in runs if (error := run.error) is not None]
    own = float(np.mean(within)) if len(within) == len(runs) else 0.0
    error = math.sqrt(max(float(values.var(ddof=1)), own) / len(runs))
    count = round(float(np.mean([run.count for run in runs])))
    return symmetric(float(values.mean()), error, len(runs) - 1.0, count, len(runs))


def difference(base: Estimate, new: Estimate, in_points: bool = False) -> Difference:
    """Return the difference of two independent estimates.

    Their reaches are combined by the method of variance estimates recovery (Zou & Donner 2008), on the scale of
    logarithms where both are above 0, unless the figures are fractions that differ `in_points`.
    """
    absolute = new.value - base.value
    ratio = base.value > 0 and new.value > 0 and not in_points
    relative = new.value / base.value - 1 if ratio else None
    base_reach, new_reach = _reaches(base, ratio), _reaches(new, ratio)
    if base_reach is None or new_reach is None:
        return Difference(absolute, None, relative, None, 1.0, 1.0, None)
    down = np.hypot(new_reach[0], base_reach[1])
    up = np.hypot(new_reach[1], base_reach[0])

    # Degrees of freedom (Welch 1947) and standard error.
    degrees, error = 1.0, None
    parts = [(own / (side.value if ratio else 1.0), side.degrees) for side in (base, new)
             if (own := side.error) is not None]  # fmt: skip
    if len(parts) == 2:
        variance = sum(own**2 for own, _ in parts)
        degrees = variance**2 / sum(own**4 / n for own, n in parts) if variance else distributions.MANY
        error = math.sqrt(variance)

    distance = math.log(new.value / base.value) if ratio else absolute
    p = distributions.both_tails(_errors_away(abs(distance), down if distance > 0 else up), degrees)
    t = distributions.student_t(1 - LEVEL / 2, degrees)
    low, high = distance - _reach_at(down, t), distance + _reach_at(up, t)
    if math.isnan(low + high):
        return Difference(absolute, None, relative, None, 1.0, degrees, error)
    if not ratio:
        return Difference(absolute, (low, high), None, None, p, degrees, error)
    low, high = math.expm1(low), math.expm1(high)
    return Difference(absolute, (base.value * low, base.value * high), relative, (low, high), p, degrees, error)


def _reaches(side: Estimate, ratio: bool) -> tuple[Array, Array] | None:
    """Return the reach down and up, on the scale of logarithms for a `ratio`."""
    if side.down is None or side.up is None:
        return None
    if not ratio:
        return side.down, side.up
    return -np.log1p(-np.minimum(side.down / side.value, NEARLY_ALL)), np.log1p(side.up / side.value)


def _errors_away(distance: float, reach: Array) -> float:
    """Return how many standard errors a difference is away from 0: where its reach towards 0 is as long as itself."""
    known = reach[~np.isnan(reach)]
    if not distance:
        return 0.0
    if distance > known[-1]:
        return math.inf if not known[-1] else float(STEPS[len(known) - 1]) * distance / float(known[-1])
    return float(np.interp(distance, np.maximum.accumulate(known), STEPS[: len(known)]))


def _reach_at(reach: Array, t: float) -> float:
    """Return the reach for `t` standard errors; NaN beyond the sample."""
    last = float(STEPS[-1])
    return float(reach[-1]) * t / last if t > last else float(np.interp(t, STEPS, reach))


def requests_needed(base: Estimate, new: Estimate, result: Difference, effect: float, tests: int) -> float | None:
    """Return how many requests a side are needed to detect a difference in 80 % of trials or more (Stein 1945).

    effect: the difference to detect, as a fraction; absolute where `result` has no relative difference
    tests: number of tests that p-values are adjusted for

    Return None where the samples are too small to estimate it.
    """
    if result.error is None or not base.max_errors or not new.max_errors:
        return None
    t = distributions.student_t(1 - LEVEL / 2, result.degrees)
    error = _scale(result, effect) / errors_to_detect(result.degrees, tests)
    single = sum(
        (side.error or 0.0) ** 2 * side.count / (1.0 if result.relative is None else side.value**2)
        for side in (base, new)
    )
    return max(single / error**2, *(side.count * (t / side.max_errors) ** 2 for side in (base, new)))


def errors_to_detect(degrees: float, tests: int) -> float:
    """Return how many standard errors large an effect must be to be detected with POWER."""
    return distributions.student_t(1 - LEVEL / 2 / tests, degrees) + distributions.student_t(POWER, degrees)


def _scale(result: Difference, effect: float) -> float:
    return effect if result.relative is None else math.log1p(effect)


def runs_needed(result: Difference, effect: float, tests: int, runs: int, max_runs: int = 1000) -> int | None:
    """Return how many runs a side are needed to detect `effect`, where there are `runs` now; None for too many."""
    if result.error is None:
        return None
    single = result.error * math.sqrt(runs)
    lowest = (errors_to_detect(distributions.MANY, tests) * single / _scale(result, effect)) ** 2
    for count in range(max(runs + 1, math.floor(lowest)), max_runs):
        if errors_to_detect(2.0 * (count - 1), tests) * single / math.sqrt(count) <= _scale(result, effect):
            return count
    return None


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that the chance of any false alarm among them stays that of one (Holm 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted
