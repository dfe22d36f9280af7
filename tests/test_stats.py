"""Percentiles and intervals against numpy, against tables, and against how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadstone.records import Metric
from loadstone.stats import (
    ENOUGH,
    PERCENTILES,
    Array,
    describe,
    effective,
    mean_interval,
    percentile,
    quantile_interval,
    student,
)

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
    values = np.random.default_rng(1).normal(size=500)
    drawn, ranked = describe(values, "s"), describe(np.sort(values), "s")
    assert figures(ranked) == pytest.approx(figures(drawn))
    wide, narrow = ranked.ci95["mean"], drawn.ci95["mean"]
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_too_few_for_an_interval() -> None:
    few, enough = np.arange(ENOUGH - 1.0), np.arange(float(ENOUGH))
    assert mean_interval(few) is None
    assert mean_interval(enough) is not None
    assert quantile_interval(few, few, 0.5) is None
    assert quantile_interval(enough, enough, 0.95) is None


def test_no_interval_beyond_the_sample() -> None:
    values = np.random.default_rng(2).normal(size=100)
    metric = describe(values, "s")
    assert metric.p99 is not None
    assert metric.ci95["p99"] is None
    assert metric.ci95["p50"] is not None


def test_intervals_are_named_as_the_percentiles_given() -> None:
    assert list(describe(np.arange(50.0), "s").ci95) == ["mean", "p5", "p25", "p50", "p75", "p90", "p95"]


def test_a_constant_has_an_interval_of_no_width() -> None:
    metric = describe(np.full(64, 7.0), "tokens")
    assert (metric.std, metric.ci95["mean"], metric.ci95["p50"]) == (0.0, (7.0, 7.0), (7.0, 7.0))


def test_effective_is_never_more_than_the_sample() -> None:
    rng = np.random.default_rng(3)
    alternating = np.tile([0.0, 1.0], 500)
    assert effective(alternating) == 1000
    assert effective(np.ones(100)) == 100
    assert 500 <= effective(rng.normal(size=1000)) <= 1000


def test_effective_allows_for_correlation() -> None:
    """AR(1) has a known answer: n (1 - rho) / (1 + rho)."""
    estimates = [effective(series) for series in ar1(np.random.default_rng(4), 0.5, 100)]
    assert np.mean(estimates) == pytest.approx(2000 / 3, rel=0.2)


@pytest.mark.parametrize(("freedom", "value"), [(4, 2.776), (5, 2.571), (9, 2.262), (19, 2.093), (31, 2.040)])
def test_student(freedom: int, value: float) -> None:
    assert student(freedom) == pytest.approx(value, rel=0.005)


def ar1(rng: np.random.Generator, rho: float, series: int, count: int = 2000) -> Array:
    """Rows of autoregressive series of mean 0 and variance 1."""
    noise = rng.normal(size=(series, count)) * math.sqrt(1 - rho**2)
    noise[:, 0] /= math.sqrt(1 - rho**2)
    for step in range(1, count):
        noise[:, step] += rho * noise[:, step - 1]
    return noise


TRUTH = {"mean": 0.0, "p50": 0.0, "p95": 1.6448536269514722}


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_intervals_hold_the_truth_as_often_as_they_say(rho: float) -> None:
    hits = dict.fromkeys(TRUTH, 0)
    rounds = 300
    for values in ar1(np.random.default_rng(2024), rho, rounds):
        ranked = np.sort(values)
        intervals = {
            "mean": mean_interval(values),
            "p50": quantile_interval(values, ranked, 0.5),
            "p95": quantile_interval(values, ranked, 0.95),
        }
        for name, interval in intervals.items():
            assert interval is not None
            hits[name] += interval[0] <= TRUTH[name] <= interval[1]
    for name, count in hits.items():
        assert 0.90 <= count / rounds <= 0.99, name
