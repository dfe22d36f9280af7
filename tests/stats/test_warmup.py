"""Where a warm-up ends, that one is found, and that chance is seldom taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from loadstone.stats import warmup
from loadstone.stats.warmup import MAX_FRACTION, find_warmup, mser
from support.time_series import SERIES


def test_mser_cuts_what_is_unlike_the_rest() -> None:
    assert mser(np.r_[9.0, 9.0, np.tile([1.0, 2.0], 20)]) == 2
    assert mser(np.tile([1.0, 2.0], 20)) <= 1


def test_a_warm_up_is_found_with_its_length_and_what_it_does_to_the_mean() -> None:
    values = np.random.default_rng(1).lognormal(0, 0.2, 1000)
    values[:100] *= 2
    found = find_warmup(values)
    assert found is not None
    assert 90 <= found.length <= 115
    assert found.shift == pytest.approx(0.1, abs=0.02)


def test_a_quick_beginning_is_a_warm_up_too() -> None:
    values = np.random.default_rng(2).lognormal(0, 0.2, 500)
    values[:60] /= 2
    found = find_warmup(values)
    assert found is not None
    assert found.shift < -0.03


@pytest.mark.parametrize(
    "values",
    [
        np.ones(500),
        np.r_[9.0, np.ones(98)],
        np.linspace(2.0, 1.0, 500),
        np.r_[np.full(300, 2.0), np.ones(200)] + np.random.default_rng(3).normal(0, 0.1, 500),
    ],
    ids=["constant", "too few", "a drift all along", "longer than may be cut"],
)
def test_what_is_no_warm_up(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    found = find_warmup(values)
    assert found is None or found.length > MAX_FRACTION * len(values)
    assert found is None


@pytest.mark.parametrize(("name", "most"), [("independent, exponential", 0.005), ("AR(1), rho 0.9", 0.01)])
def test_chance_is_seldom_taken_for_a_warm_up(name: str, most: float) -> None:
    rows = SERIES[name].draw(np.random.default_rng(4), 400, 500)
    assert np.mean([warmup.find_warmup(row) is not None for row in rows]) <= most
