"""Objectives for the figures of a run: what an interval says about them."""

from __future__ import annotations

import pytest

from loadstone.config.slo import Objective
from loadstone.metrics.slo import Estimate, combine, estimate, judge
from loadstone.summary import Metric


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (Estimate(0.4, 0.3, 0.5), "met"),
        (Estimate(0.4, 0.3, 0.6), "unresolved"),
        (Estimate(0.6, 0.45, 0.7), "unresolved"),
        (Estimate(0.6, 0.51, 0.7), "missed"),
        (Estimate(0.4), "unresolved"),
        (Estimate(9.0, 8.0, None), "missed"),
        (None, "unresolved"),
    ],
)
def test_judged_by_the_whole_interval(found: Estimate | None, wanted: str) -> None:
    assert judge(found, Objective("ttft", "p99", 0.5)) == wanted


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (Estimate(0.995, 0.99, 1.0), "met"),
        (Estimate(0.995, 0.98, 1.0), "unresolved"),
        (Estimate(0.9, 0.8, 0.98), "missed"),
        (Estimate(0.9, 0.99, None), "met"),
        (Estimate(0.995), "unresolved"),
    ],
)
def test_a_lower_limit_is_judged_from_below(found: Estimate, wanted: str) -> None:
    assert judge(found, Objective("attainment", "", 0.99, at_least=True)) == wanted


def test_an_error_rate_is_judged_as_it_is() -> None:
    limit = Objective("error_rate", "", 0.01)
    assert [judge(Estimate(rate), limit) for rate in (0.0, 0.01, 0.02)] == ["met", "met", "missed"]


def test_one_missed_objective_decides() -> None:
    assert combine(["met", "unresolved", "missed"]) == "missed"
    assert combine(["met", "unresolved"]) == "unresolved"
    assert combine(["met", "met"]) == "met"


def test_a_side_of_an_interval_is_taken_from_a_percentile_beyond() -> None:
    """What p95 surely exceeds, p99 exceeds as well; what p99.9 stays below, p99 stays below."""
    metric = Metric("s", 300, p95=0.4, p99=0.9, ci95={"p95": (0.3, 0.6), "p99": None, "mean": (2.0, 3.0)})
    assert estimate("ttft", "p99", {"ttft": metric}, {}) == Estimate(0.9, 0.3, None)
    metric = Metric("s", 9000, p99=0.9, ci95={"p99": None, "p99.9": (1.0, 1.5)})
    assert estimate("ttft", "p99", {"ttft": metric}, {}) == Estimate(0.9, None, 1.5)


def test_what_was_not_measured_is_none() -> None:
    assert estimate("ttft", "p99", {}, {}) is None
    assert estimate("ttft", "p99", {"ttft": Metric("s", 9, mean=0.1)}, {}) is None
    assert estimate("error_rate", "", {}, {"error_rate": None}) is None
    assert estimate("ttft", "mean", {"ttft": Metric("s", 9, mean=0.1)}, {}) == Estimate(0.1)
