"""Percentiles and intervals against numpy, against tables, and against how often they hold the truth."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from loadstone.stats.autocorrelation import autocorrelation, batches
from loadstone.stats.describe import PERCENTILES, describe, effective_size, percentile
from loadstone.stats.intervals import MIN_SAMPLES
from loadstone.summary import Metric
from support.time_series import SERIES, ar1, cover

FIGURES = ["mean", "std", "min", *(name.replace(".", "") for name in PERCENTILES), "max"]


def figures(metric: Metric) -> dict[str, float | None]:
    return {name: getattr(metric, name) for name in FIGURES}


def test_nothing_measured_is_none_everywhere() -> None:
    for values in ([], [math.nan, math.nan]):
        metric = describe(np.array(values), "s", "why")
        assert (metric.n, metric.unit, metric.note, metric.ci95) == (0, "s", "why", {})
        assert set(figures(metric).values()) == {None}


def test_one_sample_has_no_deviation_and_no_percentile() -> None:
    metric = describe(np.array([3.0]), "s")
    known = {name: value for name, value in figures(metric).items() if value is not None}
    assert known == {"mean": 3.0, "min": 3.0, "max": 3.0}
    assert metric.ci95 == {"mean": None}


def test_by_hand() -> None:
    metric = describe(np.array([4.0, math.nan, 1.0, 3.0, 2.0]), "s")
    assert (metric.n, metric.mean, metric.min, metric.max) == (4, 2.5, 1.0, 4.0)
    assert metric.std == pytest.approx(math.sqrt(5 / 3))
    assert (metric.p25, metric.p50, metric.p75) == (1.75, 2.5, 3.25)
    assert metric.p90 is None


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("p50", 2),
        ("p25", 4),
        ("p75", 4),
        ("p90", 10),
        ("p5", 20),
        ("p95", 20),
        ("p1", 100),
        ("p99", 100),
        ("p99.9", 1000),
    ],
)
def test_a_percentile_takes_one_sample_beyond_it(name: str, least: int) -> None:
    share = PERCENTILES[name]
    assert percentile(np.arange(least - 1.0), share) is None
    assert percentile(np.arange(float(least)), share) is not None


@pytest.mark.parametrize("count", [1000, 1001, 4096])
def test_percentiles_are_numpy_s(count: int) -> None:
    values = np.random.default_rng(count).lognormal(size=count)
    metric = describe(values, "s")
    for name, share in PERCENTILES.items():
        assert getattr(metric, name.replace(".", "")) == pytest.approx(np.percentile(values, 100 * share), rel=1e-12)


def test_order_matters_for_intervals_only() -> None:
    values = ar1(np.random.default_rng(1), 0.9, 1)[0]
    drawn, mixed = describe(values, "s"), describe(np.random.default_rng(2).permutation(values), "s")
    assert figures(mixed) == pytest.approx(figures(drawn))
    wide, narrow = drawn.ci95["mean"], mixed.ci95["mean"]
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_too_few_for_an_interval() -> None:
    few = describe(np.random.default_rng(1).normal(size=MIN_SAMPLES - 1), "s")
    assert set(few.ci95.values()) == {None}
    assert few.refused["mean"] == "19 values, an interval needs 20"
    enough = describe(np.random.default_rng(1).normal(size=MIN_SAMPLES), "s")
    assert enough.ci95["mean"] is not None
    assert enough.ci95["p95"] is None


def test_no_interval_beyond_the_sample_and_how_many_it_would_take() -> None:
    chance = np.random.default_rng(2)
    metric = describe(chance.normal(size=150), "s")
    assert metric.p99 is not None
    assert metric.ci95["p99"] is None
    assert metric.ci95["p50"] is not None
    assert "p50" not in metric.refused
    found = re.fullmatch(r"150 values, an interval needs about (\d+)", metric.refused["p99"])
    assert found is not None
    needed = int(found[1])
    assert 300 < needed < 600
    assert sum(bool(describe(chance.normal(size=int(1.2 * needed)), "s").ci95["p99"]) for _ in range(20)) > 15


def test_what_hangs_together_has_no_interval_and_says_why() -> None:
    metric = describe(np.random.default_rng(3).normal(size=300).cumsum(), "s")
    assert set(metric.ci95.values()) == {None}
    assert re.fullmatch(
        r"consecutive values are correlated: effective sample size \d+, an interval needs 14", metric.refused["mean"]
    )
    assert metric.refused["p99"].endswith("needs 100")


def test_waves_of_a_closed_loop_count_as_one_value_each() -> None:
    """Sixteen clients in lockstep: forty waves have an interval, and it holds; nineteen have none."""
    chance = np.random.default_rng(8)
    levels = np.exp(chance.normal(0, 0.4, (200, 40)))
    runs = [describe(np.repeat(one, 16) * (1 + chance.normal(0, 0.01, 640)), "s") for one in levels]
    given = [interval for run in runs if (interval := run.ci95["mean"])]
    assert len(given) > 0.8 * len(runs)
    assert 0.91 < np.mean([low <= math.exp(0.08) <= high for low, high in given]) < 0.99
    short = [describe(np.repeat(one[:19], 16)[:300], "s") for one in levels]
    assert all(run.ci95["mean"] is None and "needs 14" in run.refused["mean"] for run in short)


def test_every_figure_has_an_interval_or_a_reason() -> None:
    chance = np.random.default_rng(4)
    for values in (*ar1(chance, 0.9, 20, 300), chance.normal(size=5), np.tile([0.0, 1.0], 40), np.full(30, 2.0)):
        metric = describe(values, "s")
        assert metric.refused.keys() == {name for name, interval in metric.ci95.items() if interval is None}
        assert all(interval[0] <= interval[1] for interval in metric.ci95.values() if interval)


def test_intervals_are_named_as_the_percentiles_given() -> None:
    assert list(describe(np.arange(50.0), "s").ci95) == ["mean", "p5", "p25", "p50", "p75", "p90", "p95"]


def test_a_constant_has_an_interval_of_no_width() -> None:
    metric = describe(np.full(64, 7.0), "tokens")
    assert (metric.std, metric.ci95["mean"], metric.ci95["p50"]) == (0.0, (7.0, 7.0), (7.0, 7.0))


def test_effective_is_never_more_than_the_sample() -> None:
    rng = np.random.default_rng(3)
    alternating = np.tile([0.0, 1.0], 500)
    assert effective_size(alternating) == 1000
    assert effective_size(np.ones(100)) == 100
    assert 500 <= effective_size(rng.normal(size=1000)) <= 1000


def test_effective_allows_for_correlation() -> None:
    """AR(1) has a known answer: n (1 - rho) / (1 + rho)."""
    estimates = [effective_size(series) for series in ar1(np.random.default_rng(4), 0.5, 100)]
    assert np.mean(estimates) == pytest.approx(2000 / 3, rel=0.2)


CELLS = [
    ("independent, normal", 200),
    ("AR(1), rho 0.5", 1000),
    ("AR(1), rho 0.9", 1000),
    ("bursts of 5", 1000),
    ("lognormal, sigma 1.5", 1000),
    ("Pareto, alpha 2.5", 1000),
]


@pytest.mark.parametrize(("name", "count"), CELLS)
def test_intervals_hold_the_truth_as_often_as_they_say(name: str, count: int) -> None:
    """Some cells of tests/bench/coverage.py, with the same promise, up to what chance does in 400 rounds."""
    cells = cover(SERIES[name], count, 400, np.random.default_rng(2024), describe)
    assert [figure for figure, cell in cells.items() if not cell.right] == []


@pytest.mark.parametrize("count", [50, 200])
def test_what_200_values_of_a_slow_series_cannot_tell_is_refused(count: int) -> None:
    cells = cover(SERIES["AR(1), rho 0.9"], count, 300, np.random.default_rng(2025), describe)
    assert cells["mean"].given < 0.1 * cells["mean"].total
    assert all(cell.right for cell in cells.values())


def test_a_long_series_is_described_in_batches() -> None:
    """The interval of one that was put into batches of 3 is that of the same without them, or nearly."""
    values = ar1(np.random.default_rng(5), 0.9, 1, 12_000)[0]
    assert len(batches(values)) == 4000
    inflation = [
        autocorrelation(rows[None], np.array([values.var()]), [0]).inflation[0] for rows in (batches(values), values)
    ]
    assert inflation[0] == pytest.approx(inflation[1], rel=0.3)
    assert inflation == pytest.approx([19, 19], rel=0.4)
