"""95 % intervals of a mean and of percentiles, or the reason why there is none: from what correlation.py finds in a
series. Shared by stats.py, which has every value, and histogram.py, which has counted them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from msgspec import Struct

from loadstone.stats.autocorrelation import Autocorrelation
from loadstone.stats.distributions import NORMAL, student_t

Interval = tuple[float, float]
# Below this many samples no interval is given.
MIN_SAMPLES = 20
# Nor below this many stretches independent of each other: with fewer, more runs have intervals, and too many of those
# miss in which chance hides how long the series remembers (tests/bench/coverage.py).
MIN_SEGMENTS = 14
# Whose correlation counts for all figures.
LEADERS = ("mean", "p50", "p90")


class Sample(Struct, frozen=True):
    """What intervals take beside the correlation. `at`: the value at a place among the ranked, from 0, with parts
    between them."""

    count: int
    mean: float
    std: float
    skewness: float
    at: Callable[[float], float]


def leaders(names: list[str]) -> list[int]:
    return [place for place, name in enumerate(names) if name in LEADERS]


def too_few(count: int, names: list[str], what: str = "values") -> tuple[dict[str, Interval | None], dict[str, str]]:
    """What a sample of fewer than ENOUGH comes to."""
    return dict.fromkeys(names), dict.fromkeys(names, f"{count} {what}, an interval needs {MIN_SAMPLES}")


def intervals(
    sample: Sample, found: Autocorrelation, shares: Mapping[str, float]
) -> tuple[dict[str, Interval | None], dict[str, str]]:
    """By name, of the mean and the percentiles `shares`, which are in `found` in this order; and why those are None
    that are."""
    given: dict[str, Interval | None] = {}
    refused: dict[str, str] = {}
    for place, name in enumerate(("mean", *shares)):
        share, stretches = shares.get(name), min(float(found.segments[place]), sample.count)
        inflation, half = float(found.inflation[place]), student_t(0.975, int(found.freedom[place]))
        given[name] = None
        if why := _hangs_together(stretches, share):
            refused[name] = why
        elif share is None:
            given[name] = _rounded(mean_interval(sample, sample.count / inflation, half))
        elif ends := quantile_positions(sample.count, share, inflation, half):
            given[name] = _rounded((sample.at(ends[0]), sample.at(ends[1])))
        else:
            refused[name] = _beyond(sample.count, share, inflation, half)
    return given, refused


def mean_interval(sample: Sample, effective: float, quantile: float) -> Interval:
    """Student's interval, its ends moved by the skewness (P. Hall, J. R. Statist. Soc. B 54, 1992, transformation 2),
    which for a long tail to the right reaches further up than down."""
    error, lean = sample.std / math.sqrt(effective), sample.skewness / math.sqrt(min(effective, sample.count))

    def moved(by: float) -> float:
        return 3 * (math.cbrt(1 + lean * (by - lean / 6)) - 1) / lean if abs(lean) > 1e-6 else by

    return sample.mean - error * moved(quantile), sample.mean - error * moved(-quantile)


def quantile_positions(count: int, share: float, inflation: float, quantile: float) -> tuple[float, float] | None:
    """Places among the ranked: as far around the percentile's own as a binomial count of so many independent values
    varies, with its skewness (Cornish & Fisher 1937). None where the sample ends before."""
    half = quantile * math.sqrt(share * (1 - share) * inflation * count)
    middle = share * count - 0.5 + (NORMAL**2 - 1) / 6 * (1 - 2 * share) * inflation
    return (middle - half, middle + half) if middle - half >= 0 and middle + half <= count - 1 else None


def _rounded(interval: Interval) -> Interval:
    """To nine digits: in those behind, the libraries of two machines differ."""
    return float(f"{interval[0]:.9g}"), float(f"{interval[1]:.9g}")


def _hangs_together(stretches: float, share: float | None) -> str | None:
    """A percentile takes a stretch beyond it, as it takes a sample beyond it to be shown at all."""
    needed = max(MIN_SEGMENTS, 0 if share is None else math.ceil(1 / min(share, 1 - share) - 1e-9))
    if stretches >= needed - 1e-9:
        return None
    return (
        f"consecutive values are correlated: effective sample size {max(1, int(stretches))}, an interval needs {needed}"
    )


def _beyond(count: int, share: float, inflation: float, quantile: float) -> str:
    part = min(share, 1 - share)
    needed = max(count + 1, quantile**2 * (1 - part) / part * inflation)
    digits = 10 ** max(0, int(math.log10(needed)) - 1)
    return f"{count} values, an interval needs about {math.ceil(needed / digits) * digits}"
