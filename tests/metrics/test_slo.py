"""Objectives for the figures of a run: their grammar, and what an interval says about them."""

from __future__ import annotations

import pytest

from loadstone.errors import UsageError
from loadstone.metrics.slo import (
    ERRORS,
    Estimate,
    Objective,
    combine,
    estimate,
    format_value,
    judge,
    parse,
    with_errors,
)
from loadstone.summary import Metric


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ttft.p99<500ms", [("ttft", "p99", 0.5)]),
        ("ttft.p99 < 500ms tpot.p95<=50ms", [("ttft", "p99", 0.5), ("tpot", "p95", 0.05)]),
        ("e2el.mean<5s, gap.p99.9<200", [("latency", "mean", 5.0), ("gap", "p99.9", 0.2)]),
        ("ttft.p50<800us and error_rate<1%", [("ttft", "p50", 0.0008), ("error_rate", "", 0.01)]),
        ("error_rate<0.05", [("error_rate", "", 0.05)]),
    ],
)
def test_grammar(text: str, wanted: list[tuple[str, str, float]]) -> None:
    found = parse(text)
    assert [(one.metric, one.figure) for one in found] == [(metric, figure) for metric, figure, _ in wanted]
    assert [one.limit for one in found] == pytest.approx([limit for _, _, limit in wanted])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "--slo takes METRIC.FIGURE<TIME"),
        ("ttft", "not 'ttft'"),
        ("ttft.p99>500ms", "--slo takes METRIC.FIGURE<TIME"),
        ("ttft<500ms", "takes a figure of ttft such as ttft.p99"),
        ("ttft.p98<500ms", "(mean, p1, p5"),
        ("speed.p99<500ms", "knows no metric 'speed'"),
        ("ttft.p99<0ms", "not 'ttft.p99<0ms'"),
        ("ttft.p99<5%", "not 'ttft.p99<5%'"),
        ("error_rate<500ms", "takes error_rate<1%"),
        ("error_rate<120%", "takes error_rate<1%"),
        ("error_rate<1", "takes error_rate<1%"),
        ("error_rate.p99<1%", "takes error_rate<1%"),
        ("ttft.p99<1s ttft.p99<2s", "two limits for ttft.p99"),
    ],
)
def test_what_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words() -> None:
    assert str(parse("ttft.p99<500ms")[0]) == "ttft.p99 < 500 ms"
    assert str(parse("latency.mean<12s")[0]) == "latency.mean < 12 s"
    assert str(parse("error_rate<1%")[0]) == "error_rate < 1%"
    assert format_value("ttft", None) == "-"


def test_errors_have_a_limit_always() -> None:
    assert with_errors(parse("ttft.p99<1s"))[1] == Objective("error_rate", "", ERRORS)
    assert with_errors(parse("error_rate<9%")) == parse("error_rate<9%")


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
