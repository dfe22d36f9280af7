"""Student's t distribution: how likely a figure is so many of its standard errors away by chance. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()
# Degrees of freedom from which on it is the normal distribution.
MANY = 1e6


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


_TINY = 1e-300
# 97.5 % of the normal distribution.
NORMAL = 1.959963984540054


def upper(share: float, count: float, risk: float) -> float:
    """The one-sided bound of Clopper and Pearson (Biometrika 26, 1934)."""
    hits = share * count
    return 1.0 if hits >= count else _quantile(1 - risk, hits + 1, count - hits)


def lower(share: float, count: float, risk: float) -> float:
    hits = share * count
    return 0.0 if hits <= 0 else _quantile(risk, hits, count - hits + 1)


def wilson(hits: float, count: float, z: float = NORMAL) -> tuple[float, float]:
    """The score interval of Wilson (J. Am. Stat. Assoc. 22, 1927), 95 % at this `z`; of Newcombe's comparison (Stat.
    Med. 17, 1998) method 3. Also for counts that are not whole."""
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return (0.0 if hits <= 0 else max(0.0, middle - half)), (1.0 if hits >= count else min(1.0, middle + half))


def _quantile(share: float, a: float, b: float) -> float:
    """Of the beta distribution, to ten digits."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta(middle, a, b) < share else (low, middle)
    return (low + high) / 2


def beta(x: float, a: float, b: float) -> float:
    """Regularized incomplete beta function, by the continued fraction on the side where it converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Abramowitz & Stegun 26.5.8, by Lentz's method (Press et al., Numerical Recipes, 6.4)."""
    d = 1 / _apart(1 - (a + b) * x / (a + 1))
    c, value = 1.0, d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _apart(1 + term * d), _apart(1 + term / c)
            value *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return value


def _apart(value: float) -> float:
    """Not zero."""
    return value if abs(value) > _TINY else _TINY
