"""Two figures with what chance may do to each: their difference, its interval, and how likely chance alone makes it.

Pure. A figure of several runs is the mean over them, as sure as the runs agree. What the figures are of is left to
estimate.py, what to call the difference to compare.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from loadstone.stats import blocks, distributions
from loadstone.stats.describe import MIN_SAMPLES, enough
from loadstone.units import Array

# Standard errors for which the reach of a figure is kept.
STEPS = np.linspace(0.0, 8.0, 81)
# Planned for: with 0.8, 76 % of changes were found (tests/bench/verdicts.py), as short runs make too little of how
# slowly a server's state changes. 0.9 keeps the promise of 80 %.
POWER = 0.9
LEVEL = 0.05
# Of a figure: how far down a reach may go and still have a logarithm.
NEARLY_ALL = 0.9999


class Estimate(Struct, frozen=True):
    """A figure of one run, or of several. `down` and `up`: how far it may be off on either side, for each of STEPS
    standard errors, NaN beyond the sample; None where the sample is too small to tell. `count`: requests of a run."""

    value: float
    down: Array | None
    up: Array | None
    freedom: float
    count: int
    runs: int = 1

    @property
    def known(self) -> float:
        """Standard errors up to which the reach is within the sample on both sides."""
        if self.down is None or self.up is None:
            return 0.0
        return float(STEPS[max(0, int((~np.isnan(self.down + self.up)).sum()) - 1)])

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the value; None where the sample is too small. No figure there is can be below 0."""
        t = distributions.student_t(1 - LEVEL / 2, self.freedom)
        if self.down is None or self.up is None:
            return None
        low, high = self.value - min(_at(self.down, t), abs(self.value)), self.value + _at(self.up, t)
        return None if math.isnan(low + high) else (low, high)

    @property
    def error(self) -> float | None:
        """Standard error of the value; the mean of both sides at two standard errors, or at one near the edge."""
        for step in (20, 10):
            if self.down is not None and self.up is not None and not math.isnan(self.down[step] + self.up[step]):
                return float(self.down[step] + self.up[step]) / (2 * float(STEPS[step]))
        return None


class Difference(Struct, frozen=True):
    """From base to new. `relative` (share of base) and its `interval` are None where base or new is not above 0; the
    interval is None too, and `p` 1, where the sample is too small. `error`: standard error of the relative difference
    on the scale of logarithms; of the absolute one where there is no relative one."""

    absolute: float
    interval: tuple[float, float] | None
    relative: float | None
    relative_interval: tuple[float, float] | None
    p: float
    freedom: float
    error: float | None


def mean(values: Array, least: float = 1.0) -> Estimate:
    """Of values in order of time, at least one, by blocks of `least` values or longer."""
    value, count = float(values.mean()), len(values)
    if count < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, count)
    found = blocks.block_variance(values, least)
    return even(value, math.sqrt(found.variance), found.freedom, count)


def even(value: float, error: float, freedom: float, count: int, runs: int = 1) -> Estimate:
    """A figure whose error is the same on both sides."""
    return Estimate(value, STEPS * error, STEPS * error, freedom, count, runs)


def quantile(values: Array, ranked: Array, share: float, least: float = 1.0) -> Estimate | None:
    """Of values in order of time; None where fewer than one is expected beyond it. Its reach is to the quantiles as far
    around as the share below it may be off (Woodruff 1952), which blocks of the series tell."""
    if not len(ranked) or not enough(len(ranked), share):
        return None
    value = float(np.quantile(ranked, share))
    if len(ranked) < MIN_SAMPLES:
        return Estimate(value, None, None, 1.0, len(values))
    if ranked[0] == ranked[-1]:
        return even(value, 0.0, len(values) - 1.0, len(values))
    alone = 1 / len(values)
    worst, freedom = max(_inflated(below.astype(np.float64), least) for below in (values <= value, values < value))
    return reach(value, ranked, share, math.sqrt(worst * alone * share * (1 - share)), freedom, len(values))


def _inflated(below: Array, least: float) -> tuple[float, float]:
    """How many times as much a share varies as one of independent values, and the degrees of freedom of that. Of values
    that are alike, those below and those not above count: a burst of equals is one event."""
    independent, found = float(below.var(ddof=1)) / len(below), blocks.block_variance(below, least)
    return (max(1.0, found.variance / independent), found.freedom) if independent else (1.0, found.freedom)


def reach(value: float, ranked: Array, share: float, error: float, freedom: float, count: int) -> Estimate:
    """A quantile whose share may be off by `error`; `ranked` may be a thinned sample of all values."""
    here = float(np.quantile(ranked, share))
    low, high = share - STEPS * error, share + STEPS * error
    down = np.where(low >= 0, here - np.quantile(ranked, np.clip(low, 0, 1)), np.nan)
    up = np.where(high <= 1, np.quantile(ranked, np.clip(high, 0, 1)) - here, np.nan)
    return Estimate(value, down, up, freedom, count)


def together(runs: Sequence[Estimate]) -> Estimate:
    """The mean over runs of one side, at least one. Its error is from how the runs differ, and no less than what they
    say themselves; a bootstrap of so few runs would make it too small by the factor (runs - 1) / runs."""
    if len(runs) == 1:
        return runs[0]
    values = np.array([run.value for run in runs])
    within = [error**2 for run in runs if (error := run.error) is not None]
    own = float(np.mean(within)) if len(within) == len(runs) else 0.0
    error = math.sqrt(max(float(values.var(ddof=1)), own) / len(runs))
    count = round(float(np.mean([run.count for run in runs])))
    return even(float(values.mean()), error, len(runs) - 1.0, count, len(runs))


def difference(base: Estimate, new: Estimate, shares: bool = False) -> Difference:
    """The two sides are taken as independent; their reaches are joined by the method of variance estimates recovery
    (Zou & Donner 2008), on logarithms where both are above 0 and not `shares`, which differ by points."""
    absolute = new.value - base.value
    ratio = base.value > 0 and new.value > 0 and not shares
    relative = new.value / base.value - 1 if ratio else None
    reaches = _joined(_reaches(base, ratio), _reaches(new, ratio))
    if reaches is None:
        return Difference(absolute, None, relative, None, 1.0, 1.0, None)
    apart = math.log(new.value / base.value) if ratio else absolute
    down, up = reaches
    freedom, error = _welch(base, new, ratio)
    p = distributions.both_tails(_steps(abs(apart), down if apart > 0 else up), freedom)
    t = distributions.student_t(1 - LEVEL / 2, freedom)
    low, high = apart - _at(down, t), apart + _at(up, t)
    if math.isnan(low + high):
        return Difference(absolute, None, relative, None, 1.0, freedom, error)
    if not ratio:
        return Difference(absolute, (low, high), None, None, p, freedom, error)
    low, high = math.expm1(low), math.expm1(high)
    return Difference(absolute, (base.value * low, base.value * high), relative, (low, high), p, freedom, error)


def _joined(base: tuple[Array, Array] | None, new: tuple[Array, Array] | None) -> tuple[Array, Array] | None:
    """How far down and up the difference may be off."""
    if base is None or new is None:
        return None
    return np.hypot(new[0], base[1]), np.hypot(new[1], base[0])


def _reaches(side: Estimate, ratio: bool) -> tuple[Array, Array] | None:
    """Down and up; on the scale of logarithms for a `ratio`."""
    if side.down is None or side.up is None:
        return None
    if not ratio:
        return side.down, side.up
    return -np.log1p(-np.minimum(side.down / side.value, NEARLY_ALL)), np.log1p(side.up / side.value)


def _welch(base: Estimate, new: Estimate, ratio: bool) -> tuple[float, float | None]:
    """Degrees of freedom (Welch 1947) and standard error of the difference."""
    sides = [(side, side.error) for side in (base, new)]
    parts = [(error / (side.value if ratio else 1.0), side.freedom) for side, error in sides if error is not None]
    if len(parts) < 2:
        return 1.0, None
    whole = sum(error**2 for error, _ in parts)
    if not whole:
        return distributions.MANY, 0.0
    return whole**2 / sum(error**4 / freedom for error, freedom in parts), math.sqrt(whole)


def _steps(apart: float, reach: Array) -> float:
    """How many standard errors away from 0 a difference is: where its reach towards 0 is as long as itself."""
    known = reach[~np.isnan(reach)]
    if not apart:
        return 0.0
    if apart > known[-1]:
        return math.inf if not known[-1] else float(STEPS[len(known) - 1]) * apart / float(known[-1])
    return float(np.interp(apart, np.maximum.accumulate(known), STEPS[: len(known)]))


def _at(reach: Array, t: float) -> float:
    """The reach for `t` standard errors; NaN beyond the sample."""
    last = float(STEPS[-1])
    return float(reach[-1]) * t / last if t > last else float(np.interp(t, STEPS, reach))


def wanted(base: Estimate, new: Estimate, found: Difference, effect: float, tests: int) -> float | None:
    """How many requests a side it takes to find a difference of `effect` (a share, or absolute where there is no
    relative one) in 80 % of trials or more, tested beside `tests` - 1 others; by what is known so far (Stein 1945).
    None where the samples are too small to say."""
    if found.error is None or not base.known or not new.known:
        return None
    t = distributions.student_t(1 - LEVEL / 2, found.freedom)
    apart = _scale(found, effect) / steps_of(found.freedom, tests)
    single = sum(
        (side.error or 0.0) ** 2 * side.count / (1.0 if found.relative is None else side.value**2)
        for side in (base, new)
    )
    return max(single / apart**2, *(side.count * (t / side.known) ** 2 for side in (base, new)))


def steps_of(freedom: float, tests: int) -> float:
    """Standard errors that an effect must be large to be found."""
    return distributions.student_t(1 - LEVEL / 2 / tests, freedom) + distributions.student_t(POWER, freedom)


def _scale(found: Difference, effect: float) -> float:
    return effect if found.relative is None else math.log1p(effect)


def wanted_runs(difference: Difference, effect: float, tests: int, runs: int, most: int = 1000) -> int | None:
    """How many runs a side that takes, where there are `runs` now; None for more than `most`."""
    if difference.error is None:
        return None
    single = difference.error * math.sqrt(runs)
    least = (steps_of(distributions.MANY, tests) * single / _scale(difference, effect)) ** 2
    for count in range(max(runs + 1, math.floor(least)), most):
        if steps_of(2.0 * (count - 1), tests) * single / math.sqrt(count) <= _scale(difference, effect):
            return count
    return None


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false alarm among them stays that of one (Holm 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = highest
    return adjusted
