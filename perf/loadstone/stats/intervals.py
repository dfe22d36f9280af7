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
        tail = 0.5 if quantile is None else min(quantile, 1 - quantile)
        # A percentile needs an independent segment beyond it, as it needs a sample beyond it to be shown at all.
        min_segments = max(MIN_SEGMENTS, math.ceil(1 / tail - 1e-9))
        interval: Interval | None = None
        if segments < min_segments - 1e-9:
            size = max(1, int(segments))
            refused[name] = (
                f"consecutive values are correlated: effective sample size {size}, an interval needs {min_segments}"
            )
        elif quantile is None:
            interval = mean_interval(sample, sample.count / inflation, t)
        elif ends := quantile_positions(sample.count, quantile, inflation, t):
            interval = sample.at(ends[0]), sample.at(ends[1])
        else:
            # The interval would end beyond the sample: say how many values it needs.
            needed = max(sample.count + 1, t**2 * (1 - tail) / tail * inflation)
            unit = 10 ** max(0, int(math.log10(needed)) - 1)
            refused[name] = f"{sample.count} values, an interval needs about {math.ceil(needed / unit) * unit}"
        # Nine digits: further ones depend on the machine's libraries.
        result[name] = None if interval is None else (float(f"{interval[0]:.9g}"), float(f"{interval[1]:.9g}"))
    return result, refused


def mean_interval(sample: Sample, effective: float, t: float) -> Interval:
    """Return Student's interval of a mean, corrected for skewness: a long tail to the right makes it reach further up.

    effective: effective sample size. t: quantile of Student's t. The correction is transformation 2 of P. Hall
    (J. R. Statist. Soc. B 54, 1992).
    """
    error = sample.std / math.sqrt(effective)
    skewness = sample.skewness / math.sqrt(min(effective, sample.count))
    ends = [t, -t]
    if abs(skewness) > 1e-6:
        ends = [3 * (math.cbrt(1 + skewness * (end - skewness / 6)) - 1) / skewness for end in ends]
    return sample.mean - error * ends[0], sample.mean - error * ends[1]


def quantile_positions(count: int, quantile: float, inflation: float, t: float) -> tuple[float, float] | None:
    """Return the positions of the ends of a percentile's interval among the sorted values; None if beyond the sample.

    They are as far from its own position as a binomial count varies, with its skewness (Cornish & Fisher 1937).
    """
    half = t * math.sqrt(quantile * (1 - quantile) * inflation * count)
    middle = quantile * count - 0.5 + (NORMAL**2 - 1) / 6 * (1 - 2 * quantile) * inflation
    return (middle - half, middle + half) if middle - half >= 0 and middle + half <= count - 1 else None
