"""Test the difference in accuracy of two evaluations of the same items.

Each item is its own control: its difficulty cancels out, so the interval is narrower than that of two separate figures.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.evals.scoring import intervals
from loadstone.samples import Estimate
from loadstone.stats import distributions
from loadstone.stats.distributions import beta, wilson

# Differences within one point count as the same.
MARGIN = 0.01
# Significance level.
RISK = 0.05
Verdict = Literal["better", "worse", "same", "inconclusive"]


class Difference(Struct, frozen=True, kw_only=True):
    """The difference over the items that both sides answered.

    base, new: accuracy of each side.
    gained, lost: items that only the new side, or only the base, has right.
    difference: new minus base. p: p-value of no difference, None if it cannot be computed.
    """

    base: float
    new: float
    gained: int
    lost: int
    difference: Estimate
    p: float | None

    def verdict(self, margin: float = MARGIN) -> Verdict:
        """Return `same` if the interval is within the margin, `better` or `worse` if p is below RISK."""
        ends = self.difference.interval
        if ends is None:
            return "inconclusive"
        if -margin <= ends[0] and ends[1] <= margin:
            return "same"
        if self.p is not None and self.p < RISK and (ends[0] > 0 or ends[1] < 0):
            return "better" if self.difference.value > 0 else "worse"
        return "inconclusive"


def difference(
    base: Sequence[float], new: Sequence[float], clusters: Sequence[Hashable | None] | None = None
) -> Difference | None:
    """Return the difference of two evaluations, None without items.

    base, new: the score of each item, from 0 to 1. clusters: what each item shares with others, None for nothing.
    """
    if not base:
        return None
    pairs = list(zip(base, new, strict=True))
    gained, lost = sum(a < 0.5 <= b for a, b in pairs), sum(b < 0.5 <= a for a, b in pairs)
    binary = {*base, *new} <= {0.0, 1.0}
    found: tuple[Estimate, float | None]
    if binary and _count_independent(base, clusters) == len(base):
        found = _proportions(base, new, gained, lost), mcnemar_p(gained, lost)
    else:
        found = _means([b - a for a, b in pairs], clusters)
    return Difference(base=intervals.mean(base), new=intervals.mean(new), gained=gained, lost=lost, difference=found[0],
                      p=found[1])  # fmt: skip


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the two-sided mid-p of McNemar's exact test (Fagerland et al., BMC Med. Res. Methodol. 13:91, 2013)."""
    flips, least = gained + lost, min(gained, lost)
    if not flips:
        return 1.0
    below = beta(0.5, flips - least, least + 1)
    logs = math.lgamma(flips + 1) - math.lgamma(least + 1) - math.lgamma(flips - least + 1)
    return min(1.0, 2 * below - math.exp(logs - flips * math.log(2)))


def _proportions(base: Sequence[float], new: Sequence[float], gained: int, lost: int) -> Estimate:
    """Estimate by Newcombe's method 10 for paired proportions (Stat. Med. 17:2635, 1998): Wilson's limits of
    both, squared and added, minus their covariance."""
    n, both = len(base), sum(a * b for a, b in zip(base, new, strict=True))
    neither = n - both - gained - lost
    p, q = (both + gained) / n, (both + lost) / n
    (low_p, high_p), (low_q, high_q) = wilson(both + gained, n), wilson(both + lost, n)
    common = _phi(both, gained, lost, neither)
    down = _combine(p - low_p, high_q - q, common)
    up = _combine(q - low_q, high_p - p, common)
    error = math.sqrt(max(0.0, gained + lost - (gained - lost) ** 2 / n)) / n
    return Estimate(value=p - q, n=n, stderr=error, interval=(p - q - down, p - q + up), method="Newcombe, paired")


def _phi(both: float, gained: float, lost: float, neither: float) -> float:
    """Return the correlation of the sides; corrected for continuity if positive, as only method 10 does."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    above, half = both * neither - gained * lost, (both + gained + lost + neither) / 2
    corrected = max(0.0, above - half) if above > 0 else above
    return corrected / math.sqrt(margins) if margins else 0.0


def _combine(first: float, second: float, common: float) -> float:
    """Return the root of the squared sum of two limits with a correlation."""
    return math.sqrt(max(0.0, first**2 - 2 * common * first * second + second**2))


def _means(differences: Sequence[float], clusters: Sequence[Hashable | None] | None) -> tuple[Estimate, float | None]:
    """Estimate by Student's t of the differences, over clusters if items share one.

    If no item differs, the interval is Wilson's for none in as many.
    """
    found = intervals.estimate([(value + 1) / 2 for value in differences], clusters)
    assert found is not None
    value, error, free = 2 * found.value - 1, found.stderr, _count_independent(differences, clusters) - 1
    if error is None or free < 1:
        return Estimate(value=value, n=len(differences), stderr=None, method=found.method), None
    method = "t over clusters" if free + 1 < len(differences) else "t over items"
    half = distributions.student_t(0.975, free) * 2 * error if error > 1e-12 else wilson(0, free + 1)[1]
    ends = max(-1.0, value - half), min(1.0, value + half)
    p = distributions.both_tails(value / (2 * error), free) if error > 1e-12 else None
    return Estimate(value=value, n=len(differences), stderr=2 * error, interval=ends, method=method), p


def _count_independent(values: Sequence[float], clusters: Sequence[Hashable | None] | None) -> int:
    """Count the independent values: clusters, and items in none."""
    if clusters is None:
        return len(values)
    return len(set(clusters) - {None}) + sum(cluster is None for cluster in clusters)
