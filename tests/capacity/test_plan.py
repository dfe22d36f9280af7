"""Capacity plans: replicas and costs against hand-computed numbers, their reports, and a fleet put to work."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadstone.capacity import csv as capacity_csv
from loadstone.capacity import from_sweep
from loadstone.capacity import page as view
from loadstone.capacity import plan as fleet
from loadstone.capacity.curves import build_curves
from loadstone.capacity.demand import Demand
from loadstone.capacity.plan import FleetSize, Plan, PricedStack, Requirements
from loadstone.capacity.replica import find_capacity
from loadstone.cli import main
from loadstone.config import slo
from loadstone.errors import UsageError
from loadstone.metrics.slo import estimate
from loadstone.records import Record, to_line
from loadstone.report import html, markdown, terminal
from loadstone.report.page import Chart, Table
from loadstone.sweep import folder as sweeps
from loadstone.sweep.points import MeasuredPoint
from support import fleet_simulation
from support.sweeps import SLO, at, busy, curve, sweep

SEEN = "ttft.p95<100ms tpot.p95<20ms"


def terms(*demands: Demand, **given: Any) -> Requirements:
    return Requirements(objectives=SLO, demands=demands, **given)


def stack(**given: Any) -> PricedStack:
    """A replica carries 20 requests/s for sure, and not 25; 1 s a request, 100 tokens in, 50 out."""
    return PricedStack(curve(at(10, 0.02), at(20, 0.05), at(25, 0.2)), **given)


def first(offer: PricedStack, asked: Requirements) -> FleetSize:
    return fleet.make_plan([offer], asked).stacks[0].sizes[0]


# replicas


def test_replicas_by_hand() -> None:
    """40 requests/s, 2.5 times that at the peak: 100. A fifth kept free leaves 16 of 20: 6.25, so 7, and one spare."""
    size = first(stack(), terms(Demand(rate=40), peak=2.5, headroom=0.2, spare=1))
    assert (size.replicas, size.spare, size.mean, size.peak) == (8, 1, 40, 100)
    assert (size.load, size.utilisation) == (12.5, 0.625)
    assert size.degraded == pytest.approx(100 / 7 / 20)
    assert size.most == pytest.approx(112)
    assert size.optimistic == 6  # 25 a replica, 20 of them used: 5, and one spare
    assert (size.gpus, size.cost) == (None, None)


def test_a_fleet_that_is_just_enough_is_enough() -> None:
    assert first(stack(), terms(Demand(rate=60))).replicas == 3
    assert first(stack(), terms(Demand(rate=60.1))).replicas == 4
    assert first(stack(), terms(Demand(rate=0.1))).replicas == 1


@pytest.mark.parametrize(
    ("rate", "wanted"), [(15, "missed"), (40, "missed"), (60, "missed"), (99, "unresolved"), (100, "missed")]
)
def test_one_replica_fewer_misses_where_each_then_gets_what_was_too_much(rate: float, wanted: str) -> None:
    """99 take 5 replicas; 4 would get 24.75 each, of which nothing is known; 100 would be 25 each, which was missed."""
    assert first(stack(), terms(Demand(rate=rate))).fewer == wanted


def test_one_replica_fewer_may_do_where_room_is_kept_free() -> None:
    assert first(stack(), terms(Demand(rate=60), headroom=0.5)).fewer == "met"
    assert first(stack(), terms(Demand(rate=130))).fewer == "unresolved"


def test_nothing_too_much_leaves_the_best_case_open() -> None:
    offer = PricedStack(curve(at(10, 0.02), at(20, 0.05)))
    found = fleet.make_plan([offer], terms(Demand(rate=60)))
    assert found.stacks[0].sizes[0].optimistic is None
    assert found.stacks[0].sizes[0].fewer == "unresolved"
    assert found.stacks[0].remarks[0].startswith("the objectives are met at the highest load measured, 20/s")
    offer = PricedStack(curve(at(10, 0.02), at(20, 0.05), at(30, 0.0995)))
    assert (
        fleet.make_plan([offer], terms(Demand(rate=60)))
        .stacks[0]
        .remarks[0]
        .startswith("no load was certainly too much, and 30/s is undecided: the capacity is at least 20/s")
    )


def test_users_with_think_time_by_hand() -> None:
    """A replica holds 20 x (19 + 1) = 400 users; 1,000 take 3, each of which gets 1,000 / 3 / 20 = 16.67 requests/s."""
    size = first(stack(), terms(Demand(users=1000, think=19)))
    assert size.replicas == 3
    assert size.load == pytest.approx(1000 / 3 / 20)
    assert size.most == pytest.approx(1200)


def test_users_take_a_response_time() -> None:
    with pytest.raises(UsageError, match=r"how long answers take is not known"):
        fleet.make_plan([PricedStack(curve(bare(10), bare(20)))], terms(Demand(users=9, think=1)))


def test_growth_month_by_month() -> None:
    sizes = fleet.make_plan([stack()], terms(Demand(rate=40), growth=1.5, months=3)).stacks[0].sizes
    assert [size.month for size in sizes] == [0, 1, 2, 3]
    assert [size.mean for size in sizes] == pytest.approx([40, 60, 90, 135])
    assert [size.replicas for size in sizes] == [2, 3, 5, 7]


def test_the_plan_never_goes_above_what_was_measured() -> None:
    for rate in range(1, 300, 7):
        size = first(stack(), terms(Demand(rate=rate)))
        assert size.load <= 20
        assert size.basis == ("extrapolated" if size.load < 9.9 else size.basis)


def test_figures_are_those_at_the_load_of_a_replica() -> None:
    size = first(stack(), terms(Demand(rate=30)))
    assert (size.load, size.basis) == (15, "interpolated")
    assert size.figures["ttft.p95"].value == pytest.approx(0.035)
    assert size.figures["ttft.p95"].high == pytest.approx(0.036)


# cost


def test_costs_by_hand() -> None:
    """4 replicas at 2.50: 10 an hour, 7,300 a month. 40 requests/s are 144,000 an hour: 7.2 million output tokens, 21.6
    million in all."""
    size = first(stack(price=2.5, gpus=2), terms(Demand(rate=40), peak=2))
    assert (size.replicas, size.gpus) == (4, 8)
    assert size.cost is not None
    assert (size.cost.hour, size.cost.month) == (10, 7300)
    assert size.cost.thousand_requests == pytest.approx(10 / 144)
    assert size.cost.million_output == pytest.approx(10 / 7.2)
    assert size.cost.million_total == pytest.approx(10 / 21.6)


def bare(rate: float) -> MeasuredPoint:
    """A point of which nothing but TTFT is known."""
    (one,) = at(rate, 0.02).runs
    return MeasuredPoint(
        f"{rate}", {"rate": rate}, [msgspec.structs.replace(one, metrics={"ttft": one.metrics["ttft"]})]
    )


def test_tokens_that_are_not_known_cost_nothing_known() -> None:
    size = first(PricedStack(curve(*map(bare, (10, 20))), price=1), terms(Demand(rate=10)))
    assert size.cost is not None
    assert (size.cost.million_output, size.cost.million_total, size.cost.hour) == (None, None, 1)


def test_the_cheapest_stack() -> None:
    """Two replicas at 3 against four at 1; at 10 requests/s one of each."""
    dear = PricedStack(build_curves(sweep(at(10, 0.02), at(20, 0.05)), "dear", SLO)[0], price=3)
    cheap = PricedStack(build_curves(sweep(at(5, 0.02), at(10, 0.05)), "cheap", SLO)[0], price=1)
    found = fleet.make_plan([dear, cheap], terms(Demand(rate=40)))
    assert (found.by, found.cheapest) == ("cost", ["cheap"])
    found = fleet.make_plan([PricedStack(dear.curve), cheap], terms(Demand(rate=40), Demand(rate=4)))
    assert (found.by, found.cheapest) == ("replicas", ["dear", None])
    assert fleet.make_plan([dear], terms(Demand(rate=40))).cheapest == [None]


# what one must know besides


def test_other_lengths_than_the_sweeps_are_told() -> None:
    remarks = fleet.make_plan([stack()], terms(Demand(rate=1), input_tokens=105, output_tokens=500)).stacks[0].remarks
    assert remarks == [
        "the demand has 500 output tokens a request, the sweep 50: this plan does not hold for it; sweep with its"
        " lengths"
    ]


def test_points_the_plan_rests_on_are_told_when_suspect() -> None:
    offer = PricedStack(
        curve(at(10, 0.02, status="suspect", doubt="drift"), at(20, 0.05), at(25, 0.2, doubt="error rate"))
    )
    assert fleet.make_plan([offer], terms(Demand(rate=1))).stacks[0].remarks == [
        "points that the plan is based on are suspect: rate-10 (drift)"
    ]


def test_a_closed_loop_is_told() -> None:
    offer = PricedStack(curve(busy(1, 3.5, 0.01), busy(8, 28, 0.01), busy(16, 57, 0.3)))
    found = fleet.make_plan([offer], terms(Demand(rate=20)))
    assert "derived from it, not measured" in found.stacks[0].remarks[0]
    assert found.stacks[0].sizes[0].basis == "derived"


# reports


@pytest.fixture
def three() -> Plan:
    """A stack that can, one that can for less, and one that cannot."""
    offers = [
        PricedStack(build_curves(sweep(at(10, 0.02), at(20, 0.05), at(25, 0.2)), "A100 <b>", SLO)[0], 2.5, 1),
        PricedStack(build_curves(sweep(at(30, 0.02), at(60, 0.05), at(80, 0.2)), "H100", SLO)[0], 4.0, 1),
        PricedStack(build_curves(sweep(at(10, 0.2), at(20, 0.5)), "L4", SLO)[0], 0.8, 1),
    ]
    asked = (Demand(rate=40), Demand(rate=400))
    return fleet.make_plan(offers, terms(*asked, peak=2, headroom=0.1, spare=1, growth=1.1, months=6, currency="EUR"))


def cells(plan: Plan, title: str) -> list[list[str]]:
    tables = [block for block in view.page(plan).blocks if isinstance(block, Table) and block.title == title]
    return tables[0].rows


def test_the_answer_comes_first(three: Plan) -> None:
    page = view.page(three)
    assert page.lead.text.startswith(
        "400 requests/s (peak 800 requests/s) take 16 replicas (1 of them spare) of H100, "
    )
    assert "the cheapest, 46,720 EUR a month." in page.lead.text
    assert "A replica serves 60 requests/s within the objectives, and not 80 (ttft.p95 200 ms" in page.lead.text
    assert page.lead.tone == "good"


def test_a_stack_that_cannot_has_dashes_and_a_reason(three: Plan) -> None:
    row = next(row for row in cells(three, "Replicas") if row[1] == "L4")
    assert row[2:-1] == ["-"] * 8
    assert row[-1].startswith("even at the lowest load, 10/s: ttft.p95 200 ms")
    assert [row[1] for row in cells(three, "Replicas")][:3] == ["A100 <b>", "H100 (cheapest)", "L4"]


def test_one_stack_has_no_column_for_it() -> None:
    plan = fleet.make_plan([stack()], terms(Demand(rate=60)))
    assert cells(plan, "Replicas") == [["60 requests/s", "3", "3", "60", "20", "100%", "missed", "measured"]]
    assert not [section for section in view.page(plan).sections if section.title in ("Costs", "Growth")]


def test_a_plan_that_nobody_can_carry_says_so() -> None:
    plan = fleet.make_plan([PricedStack(curve(at(10, 0.2), at(20, 0.5)))], terms(Demand(rate=40)))
    page = view.page(plan)
    assert page.lead.tone == "bad"
    assert page.lead.text.startswith("No stack meets the objectives: s: even at the lowest load")
    assert capacity_csv.render(plan).count("\n") == 2


def test_charts_have_a_staircase_and_the_limit(three: Plan) -> None:
    charts = {block.title: block for block in view.page(three).blocks if isinstance(block, Chart)}
    assert {"Replicas over demand", "Cost over demand", "Replicas over months"} <= set(charts)
    stairs = charts["Replicas over demand"].series[0]
    replicas = [value for value in stairs.y if value is not None]
    assert stairs.kind == "step"
    assert replicas == sorted(replicas)
    assert set(range(2, 56)) <= set(map(int, replicas))
    marks = [mark.label for mark in charts["ttft.p95 over the load of a replica"].marks]
    assert marks[0] == "limit 100 ms"


def test_many_months_are_shown_at_milestones(three: Plan) -> None:
    months = [row[2] for row in cells(three, "Growth") if row[:2] == ["400 requests/s", "A100 <b>"]]
    assert months == ["0", "2", "4", "6"]


def test_forms(three: Plan) -> None:
    page = view.page(three)
    assert "A100 &lt;b&gt;" in markdown.draw(page)
    assert "A100 <b>" not in html.draw(page).replace("\\u003c", "&lt;")
    assert "46,720 EUR" in terminal.render_page(page)


def test_rows_for_a_spreadsheet(three: Plan) -> None:
    rows = list(csv.DictReader(io.StringIO(capacity_csv.render(three))))
    assert len(rows) == 2 * 2 * 7 + 2
    here = next(row for row in rows if (row["stack"], row["rate"], row["month"]) == ("H100", "400", "0"))
    assert (here["replicas"], here["cost_month"], here["currency"], here["fewer"]) == ("16", "46720.0", "EUR", "met")
    assert float(here["ttft.p95"]) == pytest.approx(0.02 + 0.03 * (800 / 16 - 30) / 30)
    nowhere = next(row for row in rows if row["stack"] == "L4")
    assert (nowhere["replicas"], nowhere["rate"]) == ("", "40")
    assert nowhere["limits"].startswith("even at the lowest load")


def test_json_can_be_read_back(three: Plan) -> None:
    assert msgspec.json.decode(msgspec.json.encode(three), type=Plan) == three


# the verb


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of the simulated engine, as on disk; 1,500 requests a point."""
    runs = {
        f"rate-{rate}": [fleet_simulation.at_rate(fleet_simulation.SMALL, rate, 1500, rate)]
        for rate in (10, 25, 36, 50)
    }
    return fleet_simulation.save(tmp_path_factory.mktemp("sweeps") / "small", runs, gpus=1)


def command(*words: str | Path) -> int:
    return main.main(["plan", *map(str, words)])


def test_the_verb(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--slo", SEEN, "--rate", "40,160", "--price", "2.5")
    assert command(folder, *asked) == 0
    text = capsys.readouterr().out
    assert "160 requests/s take " in text
    assert "requests had 100 input and 3" in text
    assert command(folder, *asked, "--as", "json", "-o", tmp_path / "plan.json") == 0
    found = json.loads((tmp_path / "plan.json").read_text())
    assert (found["format"], found["stacks"][0]["gpus"]) == (1, 1)
    assert command(folder, *asked, "--as", "md") == 0
    assert capsys.readouterr().out.startswith("## Capacity plan\n")
    assert command(folder, *asked, "--as", "csv", "-o", tmp_path / "plan.json") == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_plan_from_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text(f"rate: [40, 160]\nslo: {SEEN}\ngrowth: 10%/month\nheadroom: 20%\nprice: 2.5\n", "utf-8")
    assert command(folder, "--config", file, "--rate", "9", "--months", "1", "--as", "json") == 0
    found = json.loads(capsys.readouterr().out)["terms"]
    assert [demand["rate"] for demand in found["demands"]] == [9.0]
    assert (found["months"], found["headroom"], found["growth"]) == (1, 0.2, pytest.approx(1.1))
    file.write_text("growth: 1%/month\nusers: 4\n", "utf-8")
    assert command(folder, "--config", file) == 2
    assert "plan.yaml, line 2: --users needs --think" in capsys.readouterr().err.replace("\n", " ")


def test_nobody_can_is_a_failed_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, "--slo", "ttft.p95<1ms", "--rate", "4") == 1
    assert "No stack meets the objectives" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--rate", "4"), "plan takes objectives"),
        (("--slo", SEEN), "plan takes a demand: either --rate 40"),
        (("--slo", SEEN, "--rate", "4", "--users", "5", "--think", "1"), "--rate and --users exclude each other"),
        (("--slo", SEEN, "--users", "5"), "--users needs --think"),
        (("--slo", SEEN, "--rate", "5", "--think", "3s"), "--think needs --users: it is how long users think"),
        (("--slo", SEEN, "--rate", "4", "--months", "3"), "--months needs --growth"),
        (("--slo", SEEN, "--rate", "4", "--growth", "1%/month", "--months", "999"), "--months takes 0 to 120, not 999"),
        (("--slo", SEEN, "--rate", "4", "--spare", "-1"), "--spare takes 0 or more, not -1"),
        (("--slo", SEEN, "--rate", "4", "--price", "0"), "--price takes a number above 0"),
        (("--slo", SEEN, "--rate", "4", "--price", "1,2"), "--price takes one value, or one for each of the 1 sweeps"),
        (("--slo", "fast", "--rate", "4"), "--slo takes METRIC.STATISTIC<LIMIT"),
    ],
)
def test_mistakes(folder: Path, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, *words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_no_sweep_and_the_same_twice(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--slo", SEEN, "--rate", "4")
    assert command(tmp_path, *asked) == 2
    assert "is not a sweep" in capsys.readouterr().err
    assert command(folder, folder, *asked) == 2
    assert "two of these sweeps are called small" in capsys.readouterr().err
    one = fleet_simulation.save(
        tmp_path / "one", {"rate-9": [fleet_simulation.at_rate(fleet_simulation.SMALL, 9, 100, 1)]}
    )
    assert command(one, *asked) == 2
    assert "has 1 usable point" in capsys.readouterr().err


def _served(rate: float) -> list[Record]:
    """Return the records of 420 requests at a rate."""
    arrivals = zip(fleet_simulation.poisson(rate, 420, 1), fleet_simulation.lengths(420, 1), strict=True)
    return list(fleet_simulation.serve(fleet_simulation.SMALL, list(arrivals)))


def test_records_tell_more_than_summaries(tmp_path: Path) -> None:
    """420 requests are too few for an interval of p99, and enough to see that none of them was slow."""
    objectives = slo.parse("ttft.p99<60ms", slo.SLO)
    records = {rate: _served(rate) for rate in (5, 10, 70)}
    runs = {f"rate-{rate}": [fleet_simulation.summary(found, rate=rate)] for rate, found in records.items()}
    path = fleet_simulation.save(tmp_path / "short", runs)
    assert from_sweep.judge_points(path, sweeps.read_sweep(path), objectives) == {}
    for rate, found in records.items():
        (path / f"rate-{rate}" / "0" / "records.jsonl").write_bytes(b"".join(map(to_line, found)))
    called = from_sweep.judge_points(path, sweeps.read_sweep(path), objectives)
    assert [called[f"rate-{rate}"].called["ttft.p99"] for rate in (5, 10, 70)] == ["met", "met", "missed"]
    read = sweeps.read_sweep(path)
    assert find_capacity(build_curves(read, "short", objectives)[0], objectives).low is None
    assert find_capacity(build_curves(read, "short", objectives, called)[0], objectives).low == 10
    assert command(path, "--slo", "ttft.p99<60ms", "--rate", "40", "-o", tmp_path / "plan.txt") == 0
    assert "take 4 replicas" in (tmp_path / "plan.txt").read_text("utf-8")


def test_goodput_of_a_plan_has_objectives_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The sweep has no --goodput; its records say how many requests met what the term names."""
    records = {rate: _served(rate) for rate in (5, 10, 70)}
    runs = {f"rate-{rate}": [fleet_simulation.summary(found, rate=rate)] for rate, found in records.items()}
    path = fleet_simulation.save(tmp_path / "good", runs)
    for rate, found in records.items():
        (path / f"rate-{rate}" / "0" / "records.jsonl").write_bytes(b"".join(map(to_line, found)))
    term = "goodput(ttft<60ms, tpot<1s)>=95%"
    assert command(path, "--slo", term, "--rate", "40", "--as", "json") == 0
    stack = json.loads(capsys.readouterr().out)["stacks"][0]
    assert stack["capacity"]["low"] == 10
    name = "goodput(ttft<60ms, tpot<1000ms)"
    low, _, high = (spot["figures"][name] for spot in stack["curve"]["spots"])
    assert low["value"] > 0.95 > high["value"]
    assert low["low"] < low["value"] <= low["high"] <= 1
    assert name in stack["sizes"][0]["figures"]
    assert command(path, "--slo", term, "--rate", "40") == 0
    assert "of 95%" in capsys.readouterr().out
    assert command(path, "--slo", "goodput>=95%", "--rate", "40") == 2
    assert "needs --goodput, or what a request must meet" in capsys.readouterr().err


# the proof, in small: tests/bench/fleet.py has it at length


def test_a_planned_fleet_meets_the_objectives_and_one_replica_fewer_does_not() -> None:
    objectives = slo.parse(SEEN, slo.SLO)
    found = fleet_simulation.refined(fleet_simulation.SMALL, (20.0, 40.0, 60.0), SEEN, 2000, seed=1, narrow=1.2)
    rate = 1.9 * (find_capacity(found, objectives).low or 0.0)
    (size,) = (
        fleet.make_plan([PricedStack(found)], Requirements(objectives=objectives, demands=(Demand(rate=rate),)))
        .stacks[0]
        .sizes
    )
    assert (size.replicas, size.fewer) == (2, "missed")
    for replicas, wanted in ((2, True), (1, False)):
        seen = fleet_simulation.fleet(fleet_simulation.SMALL, replicas, rate, 3000, seed=9)
        figures = [estimate(one.metric, one.figure, seen.metrics, seen.rates) for one in objectives]
        met = [figure is not None and figure.value < one.limit for figure, one in zip(figures, objectives, strict=True)]
        assert all(met) is wanted
