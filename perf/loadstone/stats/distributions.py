"""Student's t distribution: how likely a figure is so many of its standard errors away by chance. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist

from loadstone.stats.binomial import beta

_NORMAL = NormalDist()
MANY = 1e6
"""Degrees of freedom from which on it is the normal distribution."""


def cdf(t: float, freedom: float) -> float:
    """Probability of a value below `t` (Abramowitz & Stegun 26.7.1, by the incomplete beta function)."""
    if freedom >= MANY or math.isinf(t):
        return _NORMAL.cdf(t)
    tail = beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def both_tails(t: float, freedom: float) -> float:
    """Probability of a value as far from 0 as `t`, on either side: the p-value of a test."""
    return min(1.0, 2 * cdf(-abs(t), freedom))


def quantile(share: float, freedom: float) -> float:
    """Inverse of `cdf`, for shares from 0.5 on: Newton's method, upwards from the normal quantile."""
    if freedom >= MANY:
        return _NORMAL.inv_cdf(share)
    t = _NORMAL.inv_cdf(share)
    for _ in range(100):
        step = (share - cdf(t, freedom)) / _density(t, freedom)
        t += step
        if step <= 1e-12 * t:
            break
    return t


def _density(t: float, freedom: float) -> float:
    front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    return math.exp(front - (freedom + 1) / 2 * math.log1p(t * t / freedom))
