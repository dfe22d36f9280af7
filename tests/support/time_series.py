"""Series in time order whose mean and percentiles are known, and how often intervals hold these.

What is promised is said here, once, for the unit tests and for tests/bench/coverage.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.summary import Metric

Array = NDArray[np.float64]
Chance = np.random.Generator
How = Callable[[Array, str], Metric]
NORMAL = NormalDist()
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# Bursts: lognormal noise, and a fifth of the requests takes three times as long.
NOISE, SLOW, SLOW_SHARE = 0.25, 3.0, 0.2


class Series(Struct, frozen=True):
    """`draw(chance, rows, count)`; `truth` by the name of the figure."""

    draw: Callable[[Chance, int, int], Array]
    truth: dict[str, float]


def ar1(chance: Chance, rho: float, rows: int, count: int = 2000) -> Array:
    """Autoregressive, of mean 0 and variance 1."""
    noise = chance.normal(size=(rows, count)) * math.sqrt(1 - rho**2)
    noise[:, 0] /= math.sqrt(1 - rho**2)
    for step in range(1, count):
        noise[:, step] += rho * noise[:, step - 1]
    return noise


def bursts(chance: Chance, rows: int, count: int, slow: int) -> Array:
    """Stretches of `slow` slow requests on average, with four times as many quick ones between (a Markov chain)."""
    quick = slow * (1 - SLOW_SHARE) / SLOW_SHARE
    turn, state = chance.random((rows, count)), np.empty((rows, count), dtype=bool)
    state[:, 0] = chance.random(rows) < SLOW_SHARE
    for step in range(1, count):
        state[:, step] = np.where(state[:, step - 1], turn[:, step] >= 1 / slow, turn[:, step] < 1 / quick)
    noise: Array = np.exp(NOISE * chance.normal(size=(rows, count)))
    return noise * np.where(state, SLOW, 1.0)


def _burst_quantile(share: float) -> float:
    low, high = 0.01, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        below = (1 - SLOW_SHARE) * NORMAL.cdf(math.log(middle) / NOISE)
        below += SLOW_SHARE * NORMAL.cdf(math.log(middle / SLOW) / NOISE)
        low, high = (middle, high) if below < share else (low, middle)
    return low


def _truth(mean: float, quantile: Callable[[float], float]) -> dict[str, float]:
    return {"mean": mean, **{name: quantile(share) for name, share in SHARES.items()}}


_BURSTS = _truth(math.exp(NOISE**2 / 2) * (1 + SLOW_SHARE * (SLOW - 1)), _burst_quantile)
_NORMAL = _truth(0.0, NORMAL.inv_cdf)
# By name. Of bursts, a fifth of the requests is slow.
SERIES = {
    "independent, normal": Series(lambda c, r, n: c.normal(size=(r, n)), _NORMAL),
    "independent, exponential": Series(
        lambda c, r, n: c.exponential(size=(r, n)), _truth(1.0, lambda share: -math.log(1 - share))
    ),
    "AR(1), rho 0.5": Series(lambda c, r, n: ar1(c, 0.5, r, n), _NORMAL),
    "AR(1), rho 0.9": Series(lambda c, r, n: ar1(c, 0.9, r, n), _NORMAL),
    "bursts of 5": Series(lambda c, r, n: bursts(c, r, n, 5), _BURSTS),
    "bursts of 10": Series(lambda c, r, n: bursts(c, r, n, 10), _BURSTS),
    "lognormal, sigma 1.5": Series(
        lambda c, r, n: c.lognormal(0, 1.5, (r, n)),
        _truth(math.exp(1.125), lambda share: math.exp(1.5 * NORMAL.inv_cdf(share))),
    ),
    "Pareto, alpha 2.5": Series(
        lambda c, r, n: (1 - c.random((r, n))) ** -0.4, _truth(2.5 / 1.5, lambda share: (1 - share) ** -0.4)
    ),
}


# Coverage promised where at least nine in ten intervals are given.
LOW, HIGH, GIVEN = 0.93, 0.97, 0.9
# Intervals that miss, of all repetitions, where more are refused: those left are not a fair choice.
WRONG = 0.07
SIGMAS = 3.0


class Cell(Struct):
    """Of the intervals of one figure: how many were given, and how many of those held the truth."""

    given: int = 0
    held: int = 0
    total: int = 0

    @property
    def text(self) -> str:
        covered = f"{100 * self.held / self.given:.1f}" if self.given else "-"
        refused = f"{100 * (1 - self.given / self.total):.0f}"
        return f"{covered:>5} ({refused:>3})"

    @property
    def right(self) -> bool:
        """Within what chance does to a share of so many repetitions."""
        if self.given >= GIVEN * self.total:
            covered, chance = self.held / self.given, SIGMAS * math.sqrt(0.05 * 0.95 / self.given)
            return LOW - chance <= covered <= HIGH + chance
        return (self.given - self.held) / self.total <= WRONG + SIGMAS * math.sqrt(0.05 * 0.95 / self.total)


def cover(series: Series, count: int, rounds: int, chance: Chance, how: How) -> dict[str, Cell]:
    """Of `rounds` series of `count` values, by figure; `how` describes one."""
    cells = {name: Cell(total=rounds) for name in series.truth}
    for start in range(0, rounds, 100):
        for values in series.draw(chance, min(100, rounds - start), count):
            metric = how(values, "s")
            for name, truth in series.truth.items():
                if interval := metric.ci95.get(name):
                    cells[name].given += 1
                    cells[name].held += interval[0] <= truth <= interval[1]
    return cells
