"""What a sweep says of one replica: its curve, its capacity, and figures in between; from made-up runs."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from loadstone.capacity import queueing
from loadstone.capacity.curves import PointJudgement, build_curves
from loadstone.capacity.replica import CapacityModel, find_capacity, isotonic
from loadstone.config.slo import SLO as SLO_FLAG
from loadstone.config.slo import parse, with_errors
from loadstone.errors import UsageError
from loadstone.metrics.slo import Estimate
from loadstone.summary import Metric, Summary
from loadstone.sweep.points import MeasuredPoint
from support.sweeps import SLO, at, busy, curve, run, sweep


def refused(*points: MeasuredPoint) -> str:
    with pytest.raises(UsageError) as caught:
        build_curves(sweep(*points), "s", SLO)
    return str(caught.value)


# curves


def test_a_curve_rises_with_the_load_whatever_the_order_of_points() -> None:
    found = curve(at(30, 0.09), at(10, 0.02), at(20, 0.04))
    assert [spot.load for spot in found.spots] == [10, 20, 30]
    assert (found.loop, found.arrivals, found.tokens) == ("open", "poisson", (100, 50))
    assert found.spots[0].figures["ttft.p95"] == Estimate(0.02, 0.019, 0.021)
    assert "tpot.p95" not in found.spots[0].figures


def test_a_sweep_over_something_else_too_is_several_stacks() -> None:
    points = [
        MeasuredPoint(f"{rate}-{size}", {"rate": rate, "input_len": size}, [run(0.01, rate=rate)])
        for rate in (1, 2)
        for size in (128, 1024)
    ]
    found = build_curves(sweep(*points, gpus=2), "s", SLO)
    assert [(one.label, len(one.spots), one.gpus) for one in found] == [
        ("s (input-len 128)", 2, 2),
        ("s (input-len 1024)", 2, 2),
    ]


def test_how_long_is_measured_makes_no_other_stack() -> None:
    points = [
        MeasuredPoint(str(rate), {"rate": rate, "requests": 100 * rate}, [run(0.01, rate=rate)]) for rate in (1, 2)
    ]
    assert len(build_curves(sweep(*points), "s", SLO)) == 1


def test_repeats_are_one_spot_in_the_interval_of_all() -> None:
    twice = MeasuredPoint("r", {"rate": 10}, [run(0.02, rate=10), run(0.04, rate=10)])
    first = curve(twice, at(20, 0.05)).spots[0]
    assert (first.runs, first.requests) == (2, 2000)
    found = first.figures["ttft.p95"]
    assert (found.value, found.low, found.high) == pytest.approx((0.03, 0.019, 0.041))


def test_invalid_points_are_left_out_and_suspect_ones_named() -> None:
    found = curve(
        at(10, 0.02),
        at(20, 0.02, status="invalid", doubt="client CPU"),
        at(30, 0.03, status="suspect", doubt="drift"),
        MeasuredPoint("rate-40", {"rate": 40}, []),
        MeasuredPoint("rate-50", {"rate": 50}, [], "connection refused"),
    )
    assert [spot.load for spot in found.spots] == [10, 30]
    assert found.spots[1].doubts == ["drift"]
    assert found.left_out == [
        "rate-20: its verdict is invalid (client CPU)",
        "rate-40: not run yet",
        "rate-50: could not be run: connection refused",
    ]


def test_what_makes_no_curve_is_refused() -> None:
    assert refused() == "the sweep s has no points: run it with two rates or more"
    assert refused(at(10, 0.02)).startswith("the sweep s has 1 usable point: a plan takes two loads or more")
    assert "rate-20: its verdict is invalid (x)" in refused(at(10, 0.02), at(20, 0.02, status="invalid", doubt="x"))
    assert "neither one rate nor one concurrency" in refused(
        *(MeasuredPoint(str(number), {"rate": number}, [run(0.02, stages="1:2s")]) for number in (1, 2))
    )
    assert "mixes rates and concurrencies" in refused(at(10, 0.02), busy(4, 8.0, 0.02))


# capacity


def test_capacity_lies_between_the_last_met_and_the_first_missed() -> None:
    found = find_capacity(curve(at(10, 0.02), at(20, 0.05), at(30, 0.0995), at(40, 0.2), at(50, 0.5)), SLO)
    assert (found.low, found.high) == (20, 40)
    assert [one.judgement for one in found.spots] == ["met", "met", "unresolved", "missed", "missed"]
    assert found.limits == ["ttft.p95 200 ms (199 ms to 201 ms) of 100 ms"]
    assert [one.load for one in found.usable] == [10, 20]


def test_a_load_above_one_that_was_missed_does_not_count() -> None:
    found = find_capacity(curve(at(10, 0.02), at(20, 0.2), at(30, 0.05)), SLO)
    assert (found.low, found.high) == (10, 20)


def test_a_load_above_an_unresolved_one_counts() -> None:
    found = find_capacity(curve(at(10, 0.02), at(20, 0.0995), at(30, 0.05), at(40, 0.3)), SLO)
    assert (found.low, found.high) == (30, 40)


def test_nothing_is_said_beyond_the_highest_load() -> None:
    found = find_capacity(curve(at(10, 0.02), at(20, 0.05)), SLO)
    assert (found.low, found.high, found.limits) == (20, None, [])


def test_no_load_that_meets_has_a_reason() -> None:
    found = find_capacity(curve(at(10, 0.2), at(20, 0.5)), SLO)
    assert (found.low, found.high) == (None, 10)
    assert found.reason == "even at the lowest load, 10/s: ttft.p95 200 ms (199 ms to 201 ms) of 100 ms"


def test_too_few_requests_are_a_reason_of_their_own() -> None:
    found = find_capacity(curve(at(10, 0.02, half=None), at(20, 0.03, half=None)), SLO)
    assert (found.low, found.high) == (None, None)
    assert found.reason.startswith(
        "no load is certainly met, even at the lowest load, 10/s: ttft.p95 20 ms of 100 ms, undecided"
    )
    assert found.reason.endswith("measure more requests a point")
    never = with_errors(parse("tpot.p99<1s", SLO_FLAG))
    found = find_capacity(build_curves(sweep(at(1, 0.1), at(2, 0.1)), "s", never)[0], never)
    assert "tpot.p99 unknown after 1,000 requests" in found.reason
    assert found.reason.endswith("or choose a lower percentile")


def test_a_server_that_refuses_requests_does_not_carry_them() -> None:
    found = find_capacity(curve(at(10, 0.02), at(20, 0.02, errors=0.3)), SLO)
    assert (found.low, found.high, found.limits) == (10, 20, ["error_rate 30% of 1%"])


def test_latencies_that_still_rise_meet_nothing() -> None:
    rising: dict[str, float | None] = {"drift_ttft": 0.5, "drift_ttft_margin": 0.1}
    found = find_capacity(curve(at(10, 0.02), at(20, 0.03, checks=rising), at(30, 0.04, ended="saturated")), SLO)
    assert [one.judgement for one in found.spots] == ["met", "unresolved", "missed"]
    assert found.spots[1].against == ["TTFT still rising: not settled"]
    assert (found.low, found.high, found.limits) == (10, 30, ["saturation"])


class Told(Summary, frozen=True, kw_only=True):
    """A summary with what the server said of itself."""

    server: Any = None


def test_the_server_may_tell_what_its_limit_is() -> None:
    gauges = {"waiting": Metric("requests", 9, mean=3.0, max=9.0), "running": Metric("requests", 9, mean=7.5, max=8.0)}
    source = SimpleNamespace(whole=SimpleNamespace(metrics=gauges))
    said = SimpleNamespace(remarks=["the KV cache was 99% full at its fullest"], sources=[source])
    (full,) = at(30, 0.3).runs
    fields = {name: getattr(full, name) for name in Summary.__struct_fields__}
    slow = MeasuredPoint("rate-30", {"rate": 30}, [Told(**fields | {"server": said})])
    assert find_capacity(curve(at(10, 0.02), at(20, 0.05), slow), SLO).limits == [
        "ttft.p95 300 ms (299 ms to 301 ms) of 100 ms",
        "the KV cache was 99% full at its fullest",
        "3 requests waited in the server on average, where at most 8 ran",
    ]


def test_who_knows_every_request_is_believed() -> None:
    points = sweep(at(10, 0.02, half=None), at(20, 0.03, half=None), at(30, 0.04, half=None))
    calls = {f"rate-{rate}": PointJudgement({"ttft.p95": called})
             for rate, called in ((10, "met"), (20, "met"), (30, "missed"))}  # fmt: skip
    found = find_capacity(build_curves(points, "s", SLO, calls)[0], SLO)  # type: ignore[arg-type]
    assert (found.low, found.high) == (20, 30)


# figures in between


def test_figures_are_interpolated_between_loads_and_kept_below_the_least() -> None:
    law = CapacityModel(curve(at(10, 0.02), at(20, 0.04), at(40, 0.08)).spots)

    def figure(load: float) -> tuple[float, float | None, float | None]:
        found = law.at(load, "ttft.p95")
        assert found is not None
        return found.value, found.low, found.high

    assert figure(15) == pytest.approx((0.03, 0.029, 0.031))
    assert figure(30) == pytest.approx((0.06, 0.059, 0.061))
    assert figure(1) == figure(10) == (0.02, 0.019, 0.021)
    assert law.at(15, "tpot.p50") is None
    assert [law.basis(load) for load in (5, 10, 15, 20.1, 40)] == [
        "extrapolated",
        "measured",
        "interpolated",
        "measured",
        "measured",
    ]


def test_figures_do_not_fall_while_the_load_rises() -> None:
    law = CapacityModel(curve(at(10, 0.03), at(20, 0.02), at(30, 0.05)).spots)
    values = [law.at(load, "ttft.p95") for load in range(10, 31)]
    points = [one.value for one in values if one]
    assert points == sorted(points)
    assert points[0] == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([1, 2, 3], [1, 2, 3]), ([3, 2, 1], [2, 2, 2]), ([1, 3, 2, 4], [1, 2.5, 2.5, 4]), ([5], [5]), ([], [])],
)
def test_isotonic(values: list[float], wanted: list[float]) -> None:
    assert isotonic(values) == wanted


# closed loops


def test_random_arrivals_find_a_full_server_as_often_as_erlang_says() -> None:
    """16 servers in parallel, each 3.5 requests/s: M/M/16, of which Erlang C gives the share that waits."""
    levels = [1, 2, 4, 8, 16, 24]
    (_, _, _, _, rate, _) = queueing.arrival_rates(levels, [3.5 * min(level, 16) for level in levels], "p95")
    offered = rate / 3.5
    free = sum(offered**count / math.factorial(count) for count in range(16))
    full = offered**16 / math.factorial(16) * 16 / (16 - offered)
    assert full / (free + full) == pytest.approx(0.05)


def test_one_at_a_time_at_random_arrivals_is_an_mm1_queue() -> None:
    """Throughput 1 whatever is in flight: P(n or more) = rho^n, and rho / (1 - rho) in flight on average."""
    assert queueing.arrival_rates([1, 2, 4], [1, 1, 1], "p50") == pytest.approx([0.5, 0.5**0.5, 0.5**0.25])
    assert queueing.arrival_rates([1, 2, 4], [1, 1, 1], "mean") == pytest.approx([0, 1 / 2, 3 / 4], abs=1e-9)


def test_rates_rise_with_the_level_and_stay_below_the_throughput() -> None:
    levels, throughput = [1, 8, 32, 128], [2.0, 14.0, 40.0, 39.0]
    for figure in ("mean", "p50", "p99", "p99.9"):
        found = queueing.arrival_rates(levels, throughput, figure)
        assert found == sorted(found)
        assert all(rate < 40 for rate in found)


def test_a_closed_loop_carries_less_at_random_arrivals_than_came_through() -> None:
    found = curve(busy(1, 3.5, 0.01), busy(8, 28, 0.01), busy(16, 56, 0.02), busy(24, 57, 0.3))
    assert found.loop == "closed"
    limit = find_capacity(found, SLO)
    assert limit.low == pytest.approx(queueing.arrival_rates([1, 8, 16, 24], [3.5, 28, 56, 57], "p95")[2])
    assert limit.low is not None
    assert limit.low < 0.7 * 56
    assert limit.high == 57
    assert [one.spot.saturated for one in limit.spots] == [False, False, False, True]
    assert "saturation" in limit.limits
    law = CapacityModel([one.spot for one in limit.usable])
    assert law.basis(10) == "derived"
    assert law.at(limit.low, "ttft.p95") == Estimate(0.02, 0.019, 0.021)
