"""95 % intervals of a mean and of percentiles, or the reason why there is none, from the autocorrelation of a series.

Used by describe.py, which has every value, and by histogram.py, which has counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from msgspec import Struct

from loadstone.stats.autocorrelation import Autocorrelation
from loadstone.stats.distributions import NORMAL, student_t

Interval = tuple[float, float]
# Fewer samples than this have no interval.
MIN_SAMPLES = 20
# Nor do fewer independent segments. With a lower limit more runs would have intervals, but too many of them would miss
# the true value, as chance hides how far the correlation reaches (tests/bench/coverage.py).
MIN_SEGMENTS = 14
# Figures whose correlation applies to all figures.
LEADERS = ("mean", "p50", "p90")


class Sample(Struct, frozen=True):
    """What an interval needs besides the autocorrelation.

    at: returns the value at a position among the sorted values, from 0, interpolated between two.
    """

    count: int
    mean: float
    std: float
    skewness: float
    at: Callable[[float], float]


def leaders(names: list[str]) -> list[int]:
    """Return the indices of the figures whose correlation applies to all."""
    return [index for index, name in enumerate(names) if name in LEADERS]


def too_few(count: int, names: list[str], what: str = "values") -> tuple[dict[str, Interval | None], dict[str, str]]:
    """Return no intervals, and the reason: fewer than MIN_SAMPLES values (or what `what` names)."""
    return dict.fromkeys(names), dict.fromkeys(names, f"{count} {what}, an interval needs {MIN_SAMPLES}")


def intervals(
    sample: Sample, correlation: Autocorrelation, quantiles: Mapping[str, float]
) -> tuple[dict[str, Interval | None], dict[str, str]]:
    """Return the intervals of the mean and of percentiles by name, and by name the reason for each that is None.

    correlation: of the mean and of the percentiles, in the order of `quantiles`.
    """
    result: dict[str, Interval | None] = {}
    refused: dict[str, str] = {}
    for index, name in enumerate(("mean", *quantiles)):
        quantile = quantiles.get(name)
        segments = min(float(correlation.segments[index]), sample.count)
        inflation = float(correlation.inflation[index])
        t = student_t(0.975, int(correlation.freedom[index]))
        result[name] = None
        if reason := _too_correlated(segments, quantile):
            refused[name] = reason
        elif quantile is None:
            result[name] = _rounded(mean_interval(sample, sample.count / inflation, t))
        elif ends := quantile_positions(sample.count, quantile, inflation, t):
            result[name] = _rounded((sample.at(ends[0]), sample.at(ends[1])))
        else:
            # The interval would end beyond the sample: say how many values it needs.
            tail = min(quantile, 1 - quantile)
            needed = max(sample.count + 1, t**2 * (1 - tail) / tail * inflation)
            unit = 10 ** max(0, int(math.log10(needed)) - 1)
            refused[name] = f"{sample.count} values, an interval needs about {math.ceil(needed / unit) * unit}"
    return result, refused


def mean_interval(sample: Sample, effective: float, t: float) -> Interval:
    """Return Student's interval of a mean, corrected for skewness: a long tail to the right makes it reach further up.

    effective: effective sample size. t: quantile of Student's t. The correction is transformation 2 of P. Hall
    (J. R. Statist. Soc. B 54, 1992).
    """
    error = sample.std / math.sqrt(effective)
    skewness = sample.skewness / math.sqrt(min(effective, sample.count))

    def transform(t: float) -> float:
        return 3 * (math.cbrt(1 + skewness * (t - skewness / 6)) - 1) / skewness if abs(skewness) > 1e-6 else t

    return sample.mean - error * transform(t), sample.mean - error * transform(-t)


def quantile_positions(count: int, quantile: float, inflation: float, t: float) -> tuple[float, float] | None:
    """Return the positions of the ends of a percentile's interval among the sorted values; None if beyond the sample.

    They are as far from its own position as a binomial count varies, with its skewness (Cornish & Fisher 1937).
    """
    half = t * math.sqrt(quantile * (1 - quantile) * inflation * count)
    middle = quantile * count - 0.5 + (NORMAL**2 - 1) / 6 * (1 - 2 * quantile) * inflation
    return (middle - half, middle + half) if middle - half >= 0 and middle + half <= count - 1 else None


def _rounded(interval: Interval) -> Interval:
    """Return the interval with nine digits: further ones depend on the machine's libraries."""
    return float(f"{interval[0]:.9g}"), float(f"{interval[1]:.9g}")


def _too_correlated(segments: float, quantile: float | None) -> str | None:
    """Return the reason if there are too few independent segments.

    A percentile needs a segment beyond it, as it needs a sample beyond it to be shown at all.
    """
    needed = max(MIN_SEGMENTS, 0 if quantile is None else math.ceil(1 / min(quantile, 1 - quantile) - 1e-9))
    if segments >= needed - 1e-9:
        return None
    size = max(1, int(segments))
    return f"consecutive values are correlated: effective sample size {size}, an interval needs {needed}"
