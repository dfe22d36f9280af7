"""Probability distributions: Student's t, the normal distribution, and intervals of binomial counts. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist

# The 97.5 % quantile of the normal distribution: half the width of a 95 % interval in standard errors.
NORMAL = 1.959963984540054
# Degrees of freedom from which on Student's t is taken to be the normal distribution.
MANY = 1e6
_NORMAL = NormalDist()
# Stands for zero in denominators of Lentz's method.
_TINY = 1e-300


def cdf(t: float, freedom: float) -> float:
    """Return the probability of a value of Student's t below `t`.

    Computed from the incomplete beta function (Abramowitz & Stegun 26.7.1).
    """
    if freedom >= MANY or math.isinf(t):
        return _NORMAL.cdf(t)
    tail = beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def both_tails(t: float, freedom: float) -> float:
    """Return the p-value of a two-sided t-test: the probability of a value at least as far from 0 as `t`."""
    return min(1.0, 2 * cdf(-abs(t), freedom))


def student_t(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t, the inverse of `cdf`, for probabilities from 0.5 on.

    Newton's method, which climbs from the quantile of the normal distribution. The logarithm of the density is that of
    Abramowitz & Stegun 26.7.1.
    """
    t = _NORMAL.inv_cdf(probability)
    if freedom >= MANY:
        return t
    front = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(freedom * math.pi) / 2
    for _ in range(100):
        density = math.exp(front - (freedom + 1) / 2 * math.log1p(t * t / freedom))
        step = (probability - cdf(t, freedom)) / density
        t += step
        if step <= 1e-12 * t:
            break
    return t


def upper(fraction: float, count: float, risk: float) -> float:
    """Return the one-sided upper bound of Clopper and Pearson (Biometrika 26, 1934) for a measured fraction."""
    hits = fraction * count
    return 1.0 if hits >= count else _beta_quantile(1 - risk, hits + 1, count - hits)


def lower(fraction: float, count: float, risk: float) -> float:
    """Return the one-sided lower bound of Clopper and Pearson for a measured fraction."""
    hits = fraction * count
    return 0.0 if hits <= 0 else _beta_quantile(risk, hits, count - hits + 1)


def wilson(hits: float, count: float, z: float = NORMAL) -> tuple[float, float]:
    """Return the score interval of Wilson (J. Am. Stat. Assoc. 22, 1927) of a fraction, 95 % at the default `z`.

    It is part of method 3 in Newcombe's comparison (Stat. Med. 17, 1998). The counts need not be whole.
    """
    fraction, spread = hits / count, z * z / count
    middle = (fraction + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(fraction * (1 - fraction) / count + spread / (4 * count))
    return (0.0 if hits <= 0 else max(0.0, middle - half)), (1.0 if hits >= count else min(1.0, middle + half))


def _beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the quantile of the beta distribution, to ten digits, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta(middle, a, b) < probability else (low, middle)
    return (low + high) / 2


def beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function: the continued fraction, on the side where it converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _continued_fraction(x, a, b) / a
    return 1 - front * _continued_fraction(1 - x, b, a) / b


def _continued_fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction 26.5.8 of Abramowitz & Stegun, by Lentz's method (Numerical Recipes, 6.4)."""
    d = 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    c, value = 1.0, d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 + term * d
            d = 1 / (d if abs(d) > _TINY else _TINY)
            c = 1 + term / c
            c = c if abs(c) > _TINY else _TINY
            value *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return value
