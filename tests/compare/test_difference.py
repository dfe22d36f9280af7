"""Blocks, estimates and differences: against tables, by hand, and against how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadstone.compare import difference
from loadstone.compare.difference import Estimate
from loadstone.stats import blocks
from loadstone.units import Array
from support.time_series import ar1


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_blocks_grow_with_correlation(rho: float) -> None:
    independent, alike = (
        np.mean([blocks.block_length(series) for series in ar1(np.random.default_rng(1), each, 20)])
        for each in (0.0, rho)
    )
    assert alike > 2 * independent


def test_blocks_of_what_says_nothing() -> None:
    assert blocks.block_length(np.ones(50)) == 1.0
    assert blocks.block_length(np.array([1.0, 2.0, 3.0])) == 1.0
    assert blocks.longest_block([np.array([1.0])]) == 1.0
    assert blocks.block_variance(np.full(40, 3.0)).variance == 0.0


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_spread_is_the_variance_of_the_mean(rho: float) -> None:
    series = ar1(np.random.default_rng(2), rho, 60, 1500)
    found = float(np.mean([blocks.block_variance(values).variance for values in series]))
    true = (1 + rho) / (1 - rho) / 1500
    assert 0.8 * true < found < 1.6 * true


def test_without_floor_neighbours_may_make_up_for_each_other() -> None:
    even = np.tile([4.0, 6.0], 100)
    assert blocks.block_variance(even, floor=False).variance < 0.1 * blocks.block_variance(even).variance


def test_longer_blocks_where_asked_for() -> None:
    values = np.random.default_rng(3).normal(size=400)
    assert blocks.block_variance(values, least=60).block == 60
    assert blocks.block_variance(values, least=300).block == 100
    assert blocks.block_variance(values, least=60).freedom < 10


def independent(seed: int, scale: float = 1.0, count: int = 600) -> Array:
    return scale * np.random.default_rng(seed).lognormal(sigma=0.5, size=count)


def test_estimates_are_the_figures_of_numpy() -> None:
    values = independent(4)
    assert difference.mean(values).value == values.mean()
    for share in (0.5, 0.95, 0.99):
        found = difference.quantile(values, np.sort(values), share)
        assert found is not None
        assert found.value == np.quantile(values, share)


def test_too_few() -> None:
    few = independent(5, count=19)
    assert difference.mean(few).interval is None
    assert difference.quantile(few, np.sort(few), 0.95) is None
    assert difference.quantile(few[:0], few[:0], 0.5) is None
    alone = difference.quantile(few, np.sort(few), 0.5)
    assert alone is not None
    assert (alone.interval, alone.error, alone.max_errors) == (None, None, 0.0)
    found = difference.difference(difference.mean(few), difference.mean(independent(6)))
    assert (found.interval, found.relative_interval, found.p) == (None, None, 1.0)
    assert found.relative is not None
    assert difference.requests_needed(difference.mean(few), difference.mean(few), found, 0.05, 4) is None


def test_no_interval_beyond_the_sample() -> None:
    values = independent(7, count=120)
    found = difference.quantile(values, np.sort(values), 0.99)
    assert found is not None
    assert found.interval is None
    assert 0 < found.max_errors < 2
    assert difference.difference(found, found).interval is None


def test_no_figure_is_below_0() -> None:
    assert difference.symmetric(0.01, 0.02, 50.0, 100).interval == pytest.approx((0.0, 0.0502), abs=1e-4)
    assert difference.symmetric(0.0, 0.02, 50.0, 100).interval == pytest.approx((0.0, 0.0402), abs=1e-4)


def test_a_constant_is_known_exactly() -> None:
    values = np.full(50, 8.0)
    found = difference.quantile(values, values, 0.95)
    assert found is not None
    assert found.interval == (8.0, 8.0)
    same = difference.difference(found, difference.mean(values))
    assert (same.relative_interval, same.p, same.error) == ((0.0, 0.0), 1.0, 0.0)
    other = difference.difference(found, difference.mean(values + 1))
    assert other.p == 0.0
    assert other.relative_interval == pytest.approx((0.125, 0.125))


def test_swapping_sides_inverts_the_ratio() -> None:
    one, two = difference.mean(independent(8)), difference.mean(independent(9, 1.1))
    there, back = difference.difference(one, two), difference.difference(two, one)
    assert there.relative_interval is not None
    assert back.relative_interval is not None
    low, high = there.relative_interval
    assert back.relative_interval == pytest.approx((1 / (1 + high) - 1, 1 / (1 + low) - 1))
    assert back.p == pytest.approx(there.p)
    assert there.interval == pytest.approx((one.value * low, one.value * high))


def test_interval_and_p_agree() -> None:
    for seed in range(40):
        sides = [independent(seed, scale) for scale in (1.0, 1.0 + seed / 200)]
        for figures in ([difference.mean(side) for side in sides],
                        [difference.quantile(side, np.sort(side), 0.95) for side in sides]):  # fmt: skip
            base, new = figures
            assert base is not None
            assert new is not None
            found = difference.difference(base, new)
            if found.interval is not None:
                assert (found.p < 0.05) == (found.interval[0] > 0 or found.interval[1] < 0)


def test_what_is_not_above_0_has_no_ratio() -> None:
    zero = difference.symmetric(0.0, 0.1, 20, 50)
    found = difference.difference(zero, difference.symmetric(1.0, 0.1, 20, 50))
    assert (found.relative, found.relative_interval, found.absolute) == (None, None, 1.0)
    assert found.interval is not None
    assert found.interval[0] > 0
    shares = difference.difference(
        difference.symmetric(0.1, 0.01, 20, 50), difference.symmetric(0.2, 0.01, 20, 50), in_points=True
    )
    assert shares.relative is None
    assert shares.error == pytest.approx(0.0141, rel=0.01)


def test_several_runs_are_as_sure_as_they_agree() -> None:
    runs = [difference.symmetric(value, 0.01, 100, 500) for value in (1.0, 1.2, 1.4)]
    found = difference.pool_runs(runs)
    assert (found.value, found.runs, found.count, found.degrees) == (pytest.approx(1.2), 3, 500, 2.0)
    assert found.error == pytest.approx(0.2 / math.sqrt(3))
    alike = difference.pool_runs([difference.symmetric(1.0, 0.01, 100, 500)] * 4)
    assert alike.error == pytest.approx(0.01 / 2), "never surer than the runs themselves"
    assert difference.pool_runs(runs[:1]) is runs[0]


def test_runs_too_small_for_an_interval_of_their_own_still_have_one_together() -> None:
    lone = [Estimate(value, None, None, 1.0, 5) for value in (1.0, 1.1, 1.2)]
    assert difference.pool_runs(lone).interval is not None


def test_wanted_requests_halve_the_error_by_four_times_as_many() -> None:
    sides = [difference.symmetric(1.0, error, 1e6, 1000) for error in (0.02, 0.02)]
    found = difference.difference(*sides)
    asked = difference.requests_needed(*sides, found, 0.05, 1)
    assert asked == pytest.approx(1000 * (3.2415 * 0.02 * math.sqrt(2) / math.log(1.05)) ** 2, rel=0.01)
    assert (difference.requests_needed(*sides, found, 0.05, 4) or 0) > asked
    runs = difference.runs_needed(found, 0.05, 1, 1)
    assert runs is not None
    assert 2 < runs < 10
    assert difference.runs_needed(found, 1e-6, 1, 2) is None


def test_holm() -> None:
    assert difference.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert difference.holm([0.6, 0.7]) == [1.0, 1.0]
    assert difference.holm([]) == []


@pytest.mark.parametrize("rho", [0.0, 0.8])
def test_false_alarms_are_as_rare_as_promised(rho: float) -> None:
    series = np.exp(0.5 * ar1(np.random.default_rng(11), rho, 300, 1000))
    ranked = np.sort(series, axis=1)
    means = [difference.mean(values) for values in series]
    tails = [difference.quantile(values, order, 0.95) for values, order in zip(series, ranked, strict=True)]
    for figures in (means, [tail for tail in tails if tail is not None]):
        found = [difference.difference(*pair) for pair in zip(figures[::2], figures[1::2], strict=True)]
        assert np.mean([each.p < 0.05 for each in found]) <= 0.08
