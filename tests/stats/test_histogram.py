"""Figures from a histogram against those of sorted values: what is exact, what is within a bin, what intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from loadstone.stats.accumulator import Accumulator
from loadstone.stats.describe import PERCENTILES, describe
from loadstone.stats.histogram import BINS, HIGH, LOW, NOTE, Histogram, _bins, _edges
from loadstone.summary import Metric
from loadstone.units import Array
from support.time_series import SERIES as KNOWN
from support.time_series import ar1, cover

NAMES = [name.replace(".", "") for name in PERCENTILES]
COUNT = 40_000
CHANCE = np.random.default_rng(11)
SHARED = np.where(CHANCE.random(COUNT) < 0.3, 0.0, CHANCE.lognormal(-4, 0.3, COUNT))
SERIES: dict[str, Array] = {
    "lognormal": CHANCE.lognormal(-4, 1, COUNT),
    "correlated": 0.02 * np.exp(0.5 * ar1(CHANCE, 0.95, 1, COUNT)[0]),
    "two speeds": np.where(np.arange(COUNT) % 2 == 0, 0.01, 0.5) * CHANCE.uniform(0.9, 1.1, COUNT),
    "three in ten share a read": SHARED,
    "whole milliseconds": np.round(CHANCE.exponential(0.02, COUNT), 3),
    "nanoseconds to hours": 10 ** CHANCE.uniform(-9, 4, COUNT),
    "constant": np.full(COUNT, 0.0123),
}


def counted(values: Array, *, parts: int = 7, seed: int | None = None) -> Metric:
    """From a histogram, fed in parts; in another order with a seed."""
    at = 1_000_000 * np.arange(len(values))
    order = np.arange(len(values)) if seed is None else np.random.default_rng(seed).permutation(len(values))
    histogram = Histogram((0.0, float(at[-1])))
    for part in np.array_split(order, parts):
        histogram.add(values[part], at[part])
    return histogram.metric("s")


@pytest.mark.parametrize("name", SERIES)
def test_against_the_sorted_values(name: str) -> None:
    values = SERIES[name]
    exact, found = describe(values, "s"), counted(values)
    assert (found.n, found.min, found.max, found.unit, found.note) == (exact.n, exact.min, exact.max, "s", NOTE)
    assert (found.mean, found.std) == pytest.approx((exact.mean, exact.std), rel=1e-9, abs=1e-12)
    for point in NAMES:
        assert getattr(found, point) == pytest.approx(getattr(exact, point), rel=1e-3, abs=1e-9), point


@pytest.mark.parametrize("name", SERIES)
def test_intervals_are_about_as_wide_as_those_of_the_values(name: str) -> None:
    """They have fewer degrees of freedom: slices of time are fewer than batches."""
    exact, found = describe(SERIES[name], "s"), counted(SERIES[name])
    assert found.ci95.keys() == exact.ci95.keys()
    for point, interval in exact.ci95.items():
        other, value = found.ci95[point], getattr(exact, point.replace(".", ""))
        if interval is None or other is None:
            assert point in exact.refused or point in found.refused
            continue
        bin_ = 2e-3 * value
        assert interval[0] - bin_ <= value <= interval[1] + bin_, point
        assert other[0] - bin_ <= value <= other[1] + bin_, point
        assert other[1] - other[0] <= 3 * (interval[1] - interval[0]) + max(bin_, 1e-3), point


def test_correlated_values_have_wider_intervals() -> None:
    drawn = SERIES["correlated"]
    shuffled = np.random.default_rng(3).permutation(drawn)
    for point in ("mean", "p50", "p95"):
        wide, narrow = counted(drawn).ci95[point], counted(shuffled).ci95[point]
        assert wide is not None
        assert narrow is not None
        assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_the_order_in_which_values_come_is_of_no_matter() -> None:
    """Up to the rounding of the sums."""
    values = SERIES["correlated"]
    ordered, mixed = counted(values), counted(values, parts=50, seed=1)
    assert [getattr(mixed, name) for name in NAMES] == [getattr(ordered, name) for name in NAMES]
    assert mixed.ci95["mean"] == pytest.approx(ordered.ci95["mean"], rel=1e-9)


def test_a_busy_time_weighs_as_much_as_it_holds() -> None:
    """Nine tenths of the values come in the first slice and the rest late: no interval beside the mean of all."""
    values = np.r_[np.full(9000, 1.0), np.full(1000, 2.0)]
    at = np.r_[np.zeros(9000, np.int64), np.linspace(10**9, 32 * 10**9, 1000).astype(np.int64)]
    histogram = Histogram((0.0, 32e9))
    histogram.add(values, at)
    metric = histogram.metric("s")
    assert metric.mean == pytest.approx(1.1)
    interval = metric.ci95["mean"]
    assert interval is not None
    assert interval[0] < 1.1 < interval[1]
    assert interval[1] - interval[0] > 0.1


def test_too_few_slices_for_an_interval() -> None:
    histogram = Histogram((0.0, 32e9))
    histogram.add(np.linspace(1, 2, 1000), np.where(np.arange(1000) % 2 == 0, 0, 32 * 10**9))
    assert set(histogram.metric("s").ci95.values()) == {None}


@pytest.mark.parametrize("name", ["independent, exponential", "bursts of 10"])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    cells = cover(KNOWN[name], 10_000, 100, np.random.default_rng(2025), lambda values, _: counted(values, parts=1))
    assert [figure for figure, cell in cells.items() if not cell.right] == []


# Bins


def test_every_value_lies_in_its_bin() -> None:
    values = np.r_[LOW, 1.0, 1.0 - 2**-53, 1.0 + 2**-52, HIGH, 10 ** np.random.default_rng(1).uniform(-9, 6, 1000)]
    low, high = _edges(_bins(values))
    assert (low <= values).all()
    assert (values < high).all()
    assert ((high - low) / low < 1e-3).all()


def test_what_is_out_of_reach_is_in_the_bins_at_the_ends() -> None:
    assert _bins(np.array([0.0, -1.0, LOW / 2, 1e300])).tolist() == [0, 0, 0, BINS - 1]


# The pool


def test_a_pool_is_exact_up_to_its_limit() -> None:
    values = SERIES["correlated"][:1000]
    at = 1_000_000 * np.arange(1000)
    found = {}
    for limit in (999, 1000):
        pool = Accumulator((0.0, float(at[-1])), limit)
        for part in reversed(np.array_split(np.arange(1000), 6)):
            pool.add(values[part], at[part])
        found[limit] = pool.metric("s", "why")
    assert found[1000] == describe(values, "s", "why")
    assert found[999].note == f"why; {NOTE}"
    assert found[999].p50 != found[1000].p50
    assert found[999].p50 == pytest.approx(found[1000].p50, rel=1e-3)


def test_a_pool_goes_on_after_its_limit() -> None:
    values, at = SERIES["lognormal"], 1_000_000 * np.arange(COUNT)
    pool = Accumulator((0.0, float(at[-1])), 10_000)
    for part in np.array_split(np.arange(COUNT), 9):
        pool.add(values[part], at[part])
    assert pool.metric("s").p99 == counted(values).p99


def test_an_empty_pool() -> None:
    pool = Accumulator((0.0, 0.0))
    pool.add(np.empty(0), np.empty(0, np.int64))
    assert pool.metric("s", "why") == Metric("s", 0, note="why")
