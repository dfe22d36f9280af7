"""Statistics of one series of measurements: percentiles, and 95 % intervals that allow for autocorrelation.

Pure numpy on values in time order. A figure is None if the sample is too small for it, and `refused` says why an
interval is None. docs/statistics.md reports the coverage of the intervals.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec import UNSET

from loadstone.config.slo import PERCENTILES
from loadstone.stats.autocorrelation import autocorrelation, batches
from loadstone.stats.intervals import MIN_SAMPLES, Sample, intervals, leaders, too_few
from loadstone.summary import Metric
from loadstone.units import Array

__all__ = ["MIN_SAMPLES", "PERCENTILES", "Array", "describe", "effective_size", "enough", "percentile"]


def describe(values: Array, unit: str, note: str | None = None, more: Mapping[str, float] = {}) -> Metric:
    """Return mean, standard deviation, percentiles and intervals of values in time order. NaN values are left out.

    more: quantiles to add to PERCENTILES, by name.
    """
    values = values[~np.isnan(values)]
    count = len(values)
    if count == 0:
        return Metric(unit=unit, n=0, note=note)
    ranked, mean = np.sort(values), float(values.mean())
    quantiles = {name: q for name, q in (PERCENTILES | dict(more)).items() if enough(count, q)}
    std = float(values.std(ddof=1)) if count > 1 else None
    if count < MIN_SAMPLES or std is None:
        ci95, refused = too_few(count, ["mean", *quantiles])
    else:
        # The autocorrelation of the values, and of the indicators "at or below this percentile".
        rows = [batches(values)]
        variances = [float(values.var())]
        for quantile in quantiles.values():
            below = values <= _at(ranked, quantile * (count - 1))
            fraction = np.count_nonzero(below) / count
            rows.append(batches(below))
            variances.append(fraction * (1 - fraction))
        correlation = autocorrelation(np.stack(rows), np.array(variances), leaders(["mean", *quantiles]))

        centred = values - mean
        squares = centred * centred
        variance = float(squares.mean())
        skewness = float(squares @ centred) / count / variance**1.5 if variance else 0.0
        sample = Sample(count, mean, std, skewness, lambda position: _at(ranked, position))
        ci95, refused = intervals(sample, correlation, quantiles)
    points = {name: _at(ranked, q * (count - 1)) for name, q in quantiles.items()}
    return Metric(
        unit=unit,
        n=count,
        mean=mean,
        std=std,
        min=float(ranked[0]),
        max=float(ranked[-1]),
        ci95=ci95,
        refused=refused,
        note=note,
        more={name: points.pop(name) for name in more if name in points} if more else UNSET,
        **{name.replace(".", ""): value for name, value in points.items()},
    )


def percentile(ranked: Array, quantile: float) -> float | None:
    """Return a quantile of sorted values, by linear interpolation (numpy's default, as other load testers use).

    None if less than one sample is expected beyond it: a p99 needs 100 samples.
    """
    return _at(ranked, quantile * (len(ranked) - 1)) if enough(len(ranked), quantile) else None


def enough(count: float, quantile: float) -> bool:
    """Return True if a sample of this size has a value beyond the quantile on average."""
    return count * min(quantile, 1 - quantile) >= 1 - 1e-9


def effective_size(values: Array) -> float:
    """Return the effective sample size: how many independent values would give a mean as precise. At most n.

    values: in time order.
    """
    if len(values) < 2:
        return float(len(values))
    inflation = autocorrelation(batches(values)[None], np.array([values.var()]), [0]).inflation
    return len(values) / max(1.0, float(inflation[0]))


def _at(ranked: Array, position: float) -> float:
    """Return the value at a position among sorted values, counted from 0, interpolated between two."""
    low = int(position)
    high = min(low + 1, len(ranked) - 1)
    return float(ranked[low] + (ranked[high] - ranked[low]) * (position - low))
