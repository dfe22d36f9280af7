"""What the charts of a run are drawn from, and its report as a page: extremes kept, numbers as they are."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import numpy as np
import pytest

from loadstone.metrics import chart_data, token_timeline
from loadstone.metrics.chart_data import ChartData, RequestPoint, curve, select_extremes
from loadstone.metrics.columns import Columns, build
from loadstone.records import Record
from loadstone.report import request_charts, run_charts, run_page
from loadstone.report.page import Chart, Page, Table
from loadstone.report.run_page import page
from loadstone.results import measure_columns
from loadstone.summary import Summary, Verdict
from support.example_run import records, run
from support.html_reader import Reader
from support.records import MS, failed, streamed, whole

Measured = tuple[Summary, Columns, ChartData]


def measured(*given: Record, **config: Any) -> Measured:
    columns = build(given)
    found = chart_data.trace(columns)
    assert found is not None
    return measure_columns(columns, {"config": config}), columns, found


@pytest.fixture(scope="module")
def example() -> Measured:
    columns = build(records())
    found = chart_data.trace(columns)
    assert found is not None
    return measure_columns(columns, run()), columns, found


def blocks(made: Page) -> dict[str, Chart | Table]:
    return {block.title: block for block in made.blocks if isinstance(block, Chart | Table)}


@pytest.mark.parametrize("count", [1, 2, 800, 801, 5000, 200_000])
def test_a_curve_keeps_both_extremes(count: int) -> None:
    values = np.random.default_rng(1).lognormal(size=count)
    found = curve(np.r_[values, np.nan])
    assert found.n == count
    assert len(found.values) <= chart_data.CURVE_POINTS
    assert (found.values[0], found.values[-1]) == (values.min(), values.max())
    assert (found.fractions[0], found.fractions[-1]) == (1 / count, 1.0)
    at_or_below = [(values <= value).mean() for value in found.values]
    assert found.fractions == pytest.approx(at_or_below)


def test_a_curve_is_denser_towards_the_tail() -> None:
    found = curve(np.arange(1_000_000.0))
    assert (found.fractions > 0.999).sum() > 50


@pytest.mark.parametrize("count", [3, 400, 401, 20_000])
def test_requests_that_are_kept_hold_the_extremes_of_every_slice(count: int) -> None:
    rng = np.random.default_rng(2)
    at, first, second = rng.random(count) * 60, rng.lognormal(size=count), rng.lognormal(size=count)
    first[rng.random(count) < 0.3] = np.nan
    chosen = select_extremes(at, [first, second], 400)
    assert len(chosen) == min(count, 400) == len(set(chosen.tolist()))
    assert (np.diff(at[chosen]) >= 0).all()
    for measure in (first, second):
        kept = measure[chosen]
        assert (np.nanmin(kept), np.nanmax(kept)) == (np.nanmin(measure), np.nanmax(measure))
    slices = ((at - at.min()) / (at.max() - at.min()) * 50).astype(int).clip(0, 49)
    if count > 400:
        for number in range(50):
            assert second[chosen][slices[chosen] == number].max() == second[slices == number].max()


def test_requests_at_one_instant_without_any_value() -> None:
    assert len(select_extremes(np.zeros(500), [np.full(500, np.nan)], 40)) == 40


def test_tokens_are_booked_when_they_arrive() -> None:
    _, columns, found = measured(streamed(0, 100, 200, 300, 1000), whole(0, 1000), streamed(0, 950, phase="warmup"))
    edges = found.timeline.edges
    assert (len(edges), edges[0], edges[-1]) == (21, 0.0, 1.0)
    assert found.timeline.tokens is not None
    booked = (found.timeline.tokens * np.diff(edges)).round(6)
    assert booked.tolist() == [0, 0, 1, 0, 1, 0, 1, *[0] * 12, 1 + 5 + 1]
    assert found.timeline.in_flight.tolist() == pytest.approx([3.0] * 19 + [2.0])
    assert (columns.requests.output_tokens.sum(), booked.sum()) == (10, 10)


def test_tokens_that_are_not_known_are_no_tokens() -> None:
    _, _, found = measured(streamed(0, 100, 200), streamed(0, 100, usage=None))
    assert found.timeline.tokens is None
    summary, _, found = measured(streamed(0, 100, 200, usage=None))
    [first, _] = run_charts.over_time(summary, found)
    assert (first.title, [series.name for series in first.series]) == ("Requests in flight", ["in flight"])


def test_gaps_by_place_in_the_answer() -> None:
    """Within a third of a percent; longest gap and counts are exact. Failures and warm-up have none."""
    rows = [streamed(0, 10, 20, 40, index=n) for n in range(10)] + [streamed(0, 10, 20, 1040, index=11)]
    _, columns, found = measured(*rows, streamed(0, 10, 5000, phase="warmup"), failed("truncated", 0, 9000))
    growth = found.gaps_by_position
    assert (growth.start.tolist(), growth.end.tolist(), growth.count.tolist()) == ([1, 2], [1, 2], [11, 11])
    assert growth.median == pytest.approx([0.010, 0.020], rel=4e-3)
    assert growth.p95 == pytest.approx([0.010, 0.020], rel=4e-3)
    assert growth.largest.tolist() == [0.010, 1.020]
    gaps = found.curves["gap"]
    assert (gaps.n, gaps.values[0], gaps.values[-1]) == (22, 0.010, 1.020)
    assert gaps.fractions[-1] == 1.0
    assert columns.events.shared_reads == 0


def test_quantiles_of_gaps_are_those_of_the_report(example: Measured) -> None:
    summary, _, found = example
    gaps, metric = found.curves["gap"], summary.metrics["gap"]
    assert (gaps.n, gaps.values[0], gaps.values[-1]) == (metric.n, metric.min, pytest.approx(metric.max))
    for share, value in ((0.5, metric.p50), (0.95, metric.p95)):
        assert np.interp(share, gaps.fractions, gaps.values) == pytest.approx(value, rel=5e-3)


def test_a_long_answer_has_a_hundred_places() -> None:
    _, _, found = measured(streamed(0, *range(10, 1260, 1)))
    assert len(found.gaps_by_position.start) <= token_timeline.PLACES
    assert found.gaps_by_position.count.sum() == 1249
    assert (found.gaps_by_position.start[0], found.gaps_by_position.end[-1] >= 1249) == (1, True)


def test_a_long_series_keeps_its_extremes() -> None:
    values = [float(n % 7) for n in range(5000)]
    values[1234], values[4000] = 99.0, -1.0
    times, kept = chart_data.thin_series({"running": ([n / 2 for n in range(5000)], values)})["running"]
    assert (len(times), max(kept), min(kept)) == (chart_data.SERIES_POINTS, 99.0, -1.0)
    assert times == sorted(times)
    assert chart_data.thin_series({"short": ([0.0, 1.0], [5.0, 6.0])}) == {"short": ([0.0, 1.0], [5.0, 6.0])}


def test_the_slowest_come_first(example: Measured) -> None:
    summary, _, found = example
    lasted = [shot.duration for shot in found.slowest]
    assert lasted == sorted(lasted, reverse=True)
    assert (len(lasted), lasted[0]) == (40, pytest.approx(summary.metrics["latency"].max))
    assert {shot.phase for shot in found.slowest} == {"measure"}


def test_a_request_is_shown_as_it_was_recorded(example: Measured) -> None:
    recorded = {record.index: record for record in records()}
    shown = [*example[2].succeeded, *example[2].failed]
    assert {shot.index for shot in shown} == set(recorded)
    for shot in shown:
        record = recorded[shot.index]
        assert (shot.prompt, shot.phase, shot.status) == (record.prompt, record.phase, record.status)
        assert shot.error == (record.error and record.error.kind)
        if record.first is not None and record.sent is not None:
            assert shot.ttft == pytest.approx((record.first - record.sent) / 1e9)
    never = next(shot for shot in shown if shot.error == "connect")
    assert (never.wait, never.ttft, never.connect) == (None, None, None)


@pytest.mark.parametrize(
    ("shot", "text"),
    [
        (
            RequestPoint(7, "p\x1b7" + "x" * 50, "measure", 1.5, 0.0, 0.0, 0.1, 0.5, 12, 34, 200, None),
            "request 7, prompt p 7" + "x" * 34 + "...\nsent at 1.500 s\nTTFT 100.00 ms, latency 500.00 ms\n"
            "12 tokens in, 34 out",
        ),
        (
            RequestPoint(8, None, "warmup", 1.5, None, None, None, 0.5, None, None, 503, "status"),
            "request 8, warm-up\nsent at 1.500 s\nfailed after 500.00 ms\nstatus, HTTP 503",
        ),
        (
            RequestPoint(9, None, "cooldown", 0.0, None, None, None, 0.5, None, None, None, "connect"),
            "request 9, cool-down\nsent at 0.000 s\nfailed after 500.00 ms\nconnect",
        ),
    ],
)
def test_what_a_pointer_shows(shot: RequestPoint, text: str) -> None:
    assert request_charts.describe(shot) == text


def test_the_steps_of_a_request_follow_each_other() -> None:
    _, _, found = measured(streamed(40, 90, 190, scheduled=10, connect=20 * MS), whole(0, 50, index=1))
    made = request_charts.waterfall(found)
    spans = {
        (series.name, row): (begin, end)
        for series in made.series
        for row, begin, end in zip(series.y, series.x, series.ends or (), strict=True)
    }
    assert spans == {
        ("wait", "request 0"): pytest.approx((0.0, 10.0)),
        ("connect", "request 0"): pytest.approx((10.0, 30.0)),
        ("to first token", "request 0"): pytest.approx((30.0, 80.0)),
        ("decode", "request 0"): pytest.approx((80.0, 180.0)),
        ("to first token", "request 1"): pytest.approx((0.0, 50.0)),
    }


def test_more_requests_than_a_chart_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart_data, "REQUESTS", 40)
    monkeypatch.setattr(chart_data, "FAILURES", 16)
    rows = [streamed(n, n + 10, n + 20, index=n) for n in range(200)]
    summary, _, found = measured(*rows, *(failed("timeout", n, n + 5) for n in range(30)))
    assert (len(found.succeeded), found.succeeded_count, len(found.failed), found.failed_count) == (40, 200, 16, 30)
    note = request_charts.requests(summary, found).note
    assert note.startswith("40 of 200 answered requests are shown: the extremes of every slice of time, and others")
    assert "16 of 30 failed requests are shown: " in note


def test_the_page_of_the_example(example: Measured) -> None:
    summary, _, found = example
    made = page(summary, found)
    assert [section.title for section in made.sections] == [
        "Numbers", "Distributions", "Over time", "Inside requests", "Steady window", "Groups of requests", "Failures",
        "Run", "Configuration", "Client and environment",
    ]  # fmt: skip
    assert [section.title for section in made.sections if section.folded] == [
        "Steady window", "Configuration", "Client and environment",
    ]  # fmt: skip
    assert made.lead.tone == "doubt"
    assert made.lead.text.splitlines()[1].startswith(
        "Error rate: 5.0% (limit 1%). Latencies are those of the survivors"
    )
    drawn = blocks(made)
    assert [mark.label for mark in drawn["TTFT"].marks] == ["p50", "p90", "p95", "p99", "SLO"]  # type: ignore[union-attr]
    along = [block for block in drawn.values() if isinstance(block, Chart) and block.group == run_charts.TIME]
    assert [[band.label for band in one.bands] for one in along] == [["warm-up", "steady"]] * 3
    assert len({(one.x.low, one.x.high) for one in along}) == 1


def test_every_number_is_that_of_the_summary(example: Measured) -> None:
    summary, _, found = example
    known = json.loads(msgspec.json.encode(summary))
    told = [
        (given["data-metric"], given["data-value"])
        for _, given in Reader(run_page.render(summary, found)).tags
        if "data-metric" in given
    ]
    assert len(told) > 200
    for name, value in told:
        assert name is not None
        assert value is not None
        place, _, rate = name.partition("rates.")
        where = known["steady"] if place.startswith("steady") else known
        keys = ["rates", rate] if rate else name.removeprefix("steady.").split(".")
        for key in keys:
            where = where[key]
        assert float(value) == where, name


def test_series_of_the_server_lie_on_the_same_time(example: Measured) -> None:
    summary, _, found = example
    told = {"kv_use": ([0.0, 1.0], [0.1, None]), "preemptions (http://a:1)": ([0.0], [2.0]), "own": ([0.0], [3.0])}
    drawn = blocks(page(summary, found, told))
    made, counted, own = (drawn[f"Server: {n}"] for n in ("KV cache in use", "preemptions (http://a:1)", "own"))
    assert isinstance(made, Chart)
    assert isinstance(counted, Chart)
    assert isinstance(own, Chart)
    assert (made.group, made.y.unit, list(made.series[0].y)) == (run_charts.TIME, "%", [10.0, None])
    assert (counted.y.unit, list(counted.series[0].y), own.y.unit) == ("times/s", [2.0], "")
    other = blocks(page(summary, found))["Requests that ended"]
    assert isinstance(other, Chart)
    assert made.x == other.x


@pytest.mark.parametrize(
    "given",
    [
        [failed("connect", None, 10), failed("timeout", 0, 10)],
        [whole(0, 50), whole(10, 80)],
        [streamed(0, 100)],
        [streamed(0, 100, 100, 100)],
        [failed("stopped", 0, 10), failed("cancelled", 0, 20), streamed(0, 5, 9, usage=None)],
        [streamed(0, 0, 0)],
    ],
)
def test_runs_of_which_little_is_known(given: list[Record]) -> None:
    """All failed, none streamed, one event, no time between events, no tokens, no time at all."""
    summary, _, found = measured(*given)
    text = run_page.render(summary, found)
    assert not re.search(r"\b(nan|NaN|Infinity|None)\b", text.split('id="library"')[0])


def test_nothing_measured_and_records_not_at_hand(example: Measured) -> None:
    columns = build([])
    assert chart_data.trace(columns) is None
    assert "Invalid" in run_page.render(measure_columns(columns))
    without = run_page.render(example[0])
    assert "Run loadstone report RUN --as html." in without
    assert "<figure" not in without


def test_a_verdict_that_says_all_is_well(example: Measured) -> None:
    good = msgspec.structs.replace(example[0], verdict=Verdict("valid", []))
    lead = page(good, None).lead
    assert (lead.tone, lead.text) == ("good", "Valid: no check found a reason to doubt these numbers.")


def test_a_report_is_less_than_3_mb_at_its_largest(example: Measured) -> None:
    """As many requests as are shown at most, with long names."""
    summary, _, found = example
    name = "prompt-" + "x" * 60
    many_shots = [
        msgspec.structs.replace(found.succeeded[3], index=100_000 + n, at=n / 7, prompt=name) for n in range(3000)
    ]
    lost = [msgspec.structs.replace(found.failed[1], index=200_000 + n, at=n / 3, prompt=name) for n in range(500)]
    many = np.linspace(0.1234567, 1.234567, chart_data.CURVE_POINTS)
    dense = {key: chart_data.Curve(many, many / many.max(), 10**6) for key in found.curves}
    full = msgspec.structs.replace(found, succeeded=many_shots, failed=lost, curves=dense)
    server = {f"metric {n}": ([i / 3 for i in range(300)], [i / 7 for i in range(300)]) for n in range(15)}
    assert len(run_page.render(summary, full, server).encode()) < 3_000_000


def test_the_same_run_is_the_same_page(example: Measured) -> None:
    again = build(records())
    assert run_page.render(example[0], chart_data.trace(again)) == run_page.render(example[0], example[2])
