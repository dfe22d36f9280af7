"""Charts and cells of comparisons and sweeps that are easily misread: far changes, chances near 0, what is unknown."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from example import records, run
from loadstone.columns import build
from loadstone.compare import Figure
from loadstone.measure import measure_columns
from loadstone.points import Grid, Point, Sweep
from loadstone.views import comparison, overlay, sweep
from loadstone.views.page import Chart


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
    assert comparison.chance(p) == told


def test_small_runs_have_no_lines_of_p99() -> None:
    """Neither in the legend, nor as an empty chart."""
    summary = measure_columns(build(records()), run())
    small = {name: replace(metric, p99=None) for name, metric in summary.metrics.items()}
    points = [Point(f"c{load}", {"concurrency": load}, [replace(summary, metrics=small)]) for load in (1, 2)]
    page = sweep.page(Sweep(Grid(config={}, varied=["concurrency"], places=[]), points))
    drawn = {block.title: block for block in page.blocks if isinstance(block, Chart)}
    assert [series.name for series in drawn["Latency against throughput"].series] == ["p50"]
    assert drawn["TTFT against throughput"].y.title == "TTFT p50"
    assert "Output throughput" in drawn
    assert "TTFT p99" not in drawn
