"""Charts and cells that are easily misread: far changes, chances near 0, axes of tiny values, what is not known."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from loadstone.compare import charts as overlay
from loadstone.compare import page as comparison
from loadstone.compare.verdicts import Figure
from loadstone.metrics.chart_data import Curve, trace
from loadstone.metrics.columns import build
from loadstone.report import run_charts, run_page
from loadstone.report.page import Chart
from loadstone.results import measure_columns
from loadstone.summary import Metric
from loadstone.sweep import page as sweep
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep
from support.example_run import records, run


def figure(change: float) -> tuple[str, Figure]:
    made = Figure(name="ttft.p50", family="ttft", unit="s", base=1.0, new=1.0 + change, change=change,
                  change_interval=(change - 0.01, change + 0.01), verdict="worse")  # fmt: skip
    return "TTFT p50", made


@pytest.mark.parametrize(
    ("changes", "ends"),
    [([0.1, -0.2], (None, None)), ([4.0, 5.0, 6.0], (None, None)), ([0.1, 0.2, 9.0], (-100.0, 100.0))],
)
def test_only_changes_far_from_most_leave_the_chart(changes: list[float], ends: tuple[float | None, ...]) -> None:
    shown = [(f"{label} {number}", each) for number, (label, each) in enumerate(map(figure, changes))]
    drawn = overlay.forest(shown, 0.025)
    assert (drawn.y.low, drawn.y.high) == ends
    assert drawn.note == ("beyond the chart: TTFT p50 2" if ends[0] else "")
    assert [mark.label for mark in drawn.marks] == ["", "+2.5%", "-2.5%"]


@pytest.mark.parametrize(("p", "told"), [(None, "-"), (0.0, "below 0.001"), (0.0004, "below 0.001"), (0.0006, "0.001")])
def test_no_chance_is_nothing(p: float | None, told: str) -> None:
    assert comparison.p_value(p) == told


def test_small_runs_have_no_lines_of_p99() -> None:
    """Neither in the legend, nor as an empty chart."""
    summary = measure_columns(build(records()), run())
    small = {name: replace(metric, p99=None) for name, metric in summary.metrics.items()}
    points = [MeasuredPoint(f"c{load}", {"concurrency": load}, [replace(summary, metrics=small)]) for load in (1, 2)]
    page = sweep.page(Sweep(Grid(config={}, varied=["concurrency"], places=[]), points))
    drawn = {block.title: block for block in page.blocks if isinstance(block, Chart)}
    assert [series.name for series in drawn["Latency against throughput"].series] == ["p50"]
    assert drawn["TTFT against throughput"].y.title == "TTFT p50"
    assert "Output throughput" in drawn
    assert "TTFT p99" not in drawn


def test_a_few_tiny_gaps_do_not_stretch_an_axis() -> None:
    """Gaps inside a read are of nanoseconds; the line has their share where the axis begins."""
    values = np.array([0.0, 3e-9, 1e-4, 1.5e-3, 4e-3, 0.05])
    curve = Curve(values, np.array([0.05, 0.1, 0.2, 0.6, 0.9, 1.0]), 1000)
    gap = Metric("s", 1000, min=0.0, p50=1.2e-3, p95=0.02, max=0.05)
    summary = replace(measure_columns(build(records()), run()), metrics={"gap": gap})
    traced = replace(trace(build(records())), curves={"gap": curve})
    [chart] = run_charts.distributions(summary, traced)
    assert chart.x.log
    assert 0.005 < (chart.x.low or 0.0) < 0.02
    assert "values below 0.01 ms are left of the chart" in chart.note
    [usual] = run_charts.distributions(summary, replace(traced, curves={"gap": replace(curve, values=values + 0.001)}))
    assert "left of the chart" not in usual.note


def test_charts_of_the_server_leave_room_above_the_line() -> None:
    columns = build(records())
    summary = measure_columns(columns, run())
    [running] = run_charts.server({"running": ([0.0, 1.0, 2.0], [10.0, None, 40.0])}, summary, trace(columns))
    [idle] = run_charts.server({"preemptions": ([0.0, 1.0], [0.0, 0.0])}, summary, trace(columns))
    assert running.y.high == pytest.approx(46.0)
    assert idle.y.high == 1.0


def test_what_is_shaded_is_told_to_the_millisecond() -> None:
    columns = build(records())
    summary = measure_columns(columns, run())
    throughput, _ = run_charts.over_time(summary, trace(columns))
    assert summary.steady is not None
    assert f"steady {summary.steady.start:,.4g} to {summary.steady.end:,.4g} s." in throughput.note


def test_marks_of_direction_in_a_models_name_do_not_turn_the_date_behind_it() -> None:
    summary = measure_columns(build(records()), run() | {"model": "live\u202e\x1b[31m"})
    page = run_page.page(summary, trace(build(records())))
    assert page.title.startswith("Load test: live  [31m, 20")
