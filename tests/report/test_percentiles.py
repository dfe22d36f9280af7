"""Test --percentiles: which figures a report shows, and that they are computed where summary.json has none."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from loadstone.report import html, json, run_page, run_tables, summary_csv
from loadstone.results import decode_summary, measure
from loadstone.stats.accumulator import Accumulator
from loadstone.stats.describe import describe
from loadstone.summary import Summary
from support.records import streamed


def summary_with(percentiles: list[float] | None, count: int = 400) -> Summary:
    records = [streamed(index, 100 + index, 900 + 2 * index, index=index) for index in range(count)]
    return measure(records, {"config": {"percentiles": percentiles}})


@pytest.mark.parametrize(
    ("percentiles", "heads"),
    [
        (None, ["p50", "p90", "p95", "p99"]),
        ([50, 75, 99.9], ["p50", "p75", "p99.9"]),
        ([97.5], ["p97.5"]),
    ],
)
def test_tables_show_the_chosen_percentiles(percentiles: list[float] | None, heads: list[str]) -> None:
    summary = summary_with(percentiles)
    [table] = [table for table in run_tables.tables(summary) if table.kind == "distributions"]
    assert table.columns[2:-2] == heads
    page = html.draw(run_page.page(summary, None))
    assert all(f">{head}<" in page for head in heads)


def test_a_percentile_that_no_summary_has_is_that_of_numpy() -> None:
    values = np.random.default_rng(3).lognormal(size=4000)
    metric = describe(values, "s", more={"p97.5": 0.975, "p42": 0.42})
    assert metric.at("p97.5") == pytest.approx(np.quantile(values, 0.975))
    assert metric.at("p42") == pytest.approx(np.quantile(values, 0.42))
    assert metric.at("p99") == describe(values, "s").p99
    low, high = metric.ci95["p97.5"] or (0.0, 0.0)
    assert low < np.quantile(values, 0.975) < high


def test_the_other_figures_do_not_depend_on_it() -> None:
    values = np.random.default_rng(4).lognormal(size=500)
    plain, more = describe(values, "s"), describe(values, "s", more={"p97.5": 0.975})
    assert {name: more.ci95[name] for name in plain.ci95} == plain.ci95


def test_a_percentile_beyond_the_sample_is_left_out() -> None:
    metric = describe(np.arange(50.0), "s", more={"p99.5": 0.995})
    assert metric.at("p99.5") is None
    assert "p99.5" not in metric.ci95


def test_a_histogram_has_it_within_a_bin() -> None:
    values = np.random.default_rng(5).lognormal(size=5000)
    counted = Accumulator((0.0, 1e9), exact=10)
    counted.add(values, np.linspace(0, 1e9, 5000).astype(np.int64))
    assert counted.metric("s", more={"p97.5": 0.975}).at("p97.5") == pytest.approx(np.quantile(values, 0.975), rel=2e-3)


def test_summaries_and_csv_have_what_was_added() -> None:
    summary = summary_with([97.5, 50])
    again = decode_summary(json.render(summary).encode())
    assert again.metrics["ttft"].at("p97.5") == summary.metrics["ttft"].at("p97.5") is not None
    rows = list(csv.DictReader(io.StringIO(summary_csv.render(summary))))
    ttft = next(row for row in rows if (row["window"], row["metric"]) == ("whole", "ttft"))
    assert float(ttft["p97.5"]) == pytest.approx(summary.metrics["ttft"].at("p97.5"))
    assert "more" not in json.render(summary_with(None))


def test_gaps_between_events_have_it_too() -> None:
    summary = summary_with([80])
    assert summary.metrics["gap"].at("p80") is not None
