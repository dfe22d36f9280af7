"""Gates: what intervals make of them, and which of them stop a build."""

from __future__ import annotations

import pytest

from loadstone.compare.gates import failed, judge
from loadstone.compare.verdicts import Figure, SideComparison
from loadstone.config import slo
from loadstone.config.slo import Objective


def figure(name: str = "ttft.p99", change: tuple[float, float, float] | None = None, **more: object) -> Figure:
    """`change` with its interval."""
    given = {} if change is None else {"change": change[1], "change_interval": (change[0], change[2])}
    fields = {"name": name, "family": "ttft", "unit": "s", "base": 0.4, "new": 0.42, **given, **more}
    return Figure(**fields)  # type: ignore[arg-type]


def parse(text: str) -> tuple[Objective, ...]:
    return slo.parse(text, slo.GATE)


@pytest.mark.parametrize(
    ("text", "change", "status"),
    [
        ("ttft.p99 <= +5%", (-0.02, 0.01, 0.04), "met"),
        ("ttft.p99 <= +5%", (0.06, 0.09, 0.12), "missed"),
        ("ttft.p99 <= +5%", (0.01, 0.09, 0.12), "unresolved"),
        ("ttft.p99 >= -2%", (-0.01, 0.0, 0.05), "met"),
        ("ttft.p99 >= -2%", (-0.09, -0.05, -0.03), "missed"),
    ],
)
def test_judged_by_the_interval(text: str, change: tuple[float, float, float], status: str) -> None:
    (found,) = judge(parse(text), [SideComparison("new", "worse", [figure(change=change)])])
    assert (found.name, found.side, found.status) == (text, "new", status)
    assert f"{change[1]:+.1%} (95 % interval {change[0]:+.1%} to {change[2]:+.1%})" in found.reason


def test_a_limit_is_held_against_the_new_side() -> None:
    against = [SideComparison("new", "same", [figure(new_interval=(0.41, 0.43)), figure("qps", unit="/s", new=9.0)])]
    met, open_ = judge(parse("ttft.p99 <= 500ms, qps >= 10"), against)
    assert (met.status, met.reason) == (
        "met", "ttft.p99 is 420 ms (95 % interval 410 ms to 430 ms): all of it is within the gate",
    )  # fmt: skip
    assert (open_.status, open_.reason) == ("unresolved", "qps is 9/s; too few requests or runs for an interval")


def test_what_was_not_measured_is_missed() -> None:
    gates = parse("ttft.p99 <= +5%, tpot.p50 <= 1s")
    found = judge(gates, [SideComparison("new", "same", [figure(new=None)])])
    assert [gate.status for gate in found] == ["missed", "missed"]
    assert "ttft.p99 was not measured, or of too few requests" in found[0].reason
    (gone,) = judge(gates[:1], [SideComparison("new", "same", [figure(base=None)])])
    assert (gone.status, "base has none" in gone.reason) == ("missed", True)


def test_what_stops_a_build() -> None:
    changes = {"one": (0.0, 0.01, 0.02), "two": (0.0, 0.05, 0.2), "three": (0.1, 0.2, 0.3)}
    sides = [SideComparison(name, "same", [figure(change=change)]) for name, change in changes.items()]
    judged = judge(parse("ttft.p99 <= +5%"), sides)
    assert [gate.side for gate in failed(judged)] == ["three"]
    assert [gate.side for gate in failed(judged, strict=True)] == ["two", "three"]
    assert failed([]) == []


def test_a_metric_alone_is_its_mean() -> None:
    side = SideComparison("new", "same", [figure("ttft.mean", new_interval=(0.41, 0.43))])
    assert judge(parse("ttft<500ms"), [side])[0].reason.startswith("ttft.mean is 420 ms")


def test_a_limit_itself_is_met() -> None:
    side = SideComparison("new", "same", [figure(change=(0.0, 0.01, 0.05))])
    assert [gate.status for gate in judge(parse("ttft.p99 < +5%, ttft.p99 >= +0%"), [side])] == ["met", "met"]


def test_goodput_that_is_unknown_says_what_is_missing() -> None:
    (own,) = judge(parse("goodput(ttft<1s, tpot<1s) >= 9%"), [SideComparison("new", "same", [])])
    assert own.reason == (
        "goodput(ttft<1000ms, tpot<1000ms) is unknown: some response has no ttft or no tpot, or there are too few"
        " requests"
    )
    (found,) = judge(parse("goodput >= 99%"), [SideComparison("new", "same", [])])
    assert (found.status, "it needs --goodput in every run" in found.reason) == ("missed", True)
