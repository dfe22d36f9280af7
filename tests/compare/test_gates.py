"""Gates: what one may type, what is refused in which words, and what intervals make of them."""

from __future__ import annotations

import pytest

from loadstone.compare.gates import Gate, failed, judge, parse
from loadstone.compare.verdicts import Figure, SideComparison
from loadstone.errors import UsageError


def figure(name: str = "ttft.p99", change: tuple[float, float, float] | None = None, **more: object) -> Figure:
    """`change` with its interval."""
    given = {} if change is None else {"change": change[1], "change_interval": (change[0], change[2])}
    fields = {"name": name, "family": "ttft", "unit": "s", "base": 0.4, "new": 0.42, **given, **more}
    return Figure(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("ttft.p99 <= +5%", ("ttft.p99", "<=", 0.05, True)),
        ("output_throughput>=-2%", ("output_throughput", ">=", -0.02, True)),
        ("ttft<500ms", ("ttft.mean", "<", 0.5, False)),
        ("latency.p50 <= 2s", ("latency.p50", "<=", 2.0, False)),
        ("e2el.p50 <= 1.5m", ("latency.p50", "<=", 90.0, False)),
        ("tpot.p95 < 900us", ("tpot.p95", "<", 9e-4, False)),
        ("qps > 10", ("qps", ">", 10.0, False)),
        ("goodput >= 2.5/s", ("goodput", ">=", 2.5, False)),
        ("error_rate <= 1%", ("error_rate", "<=", 0.01, False)),
        ("output_tokens.mean >= 100", ("output_tokens.mean", ">=", 100.0, False)),
    ],
)
def test_grammar(text: str, gate: tuple[str, str, float, bool]) -> None:
    (found,) = parse(text)
    assert (found.figure, found.sense, pytest.approx(found.limit), found.relative) == gate
    assert found.text == text


def test_several_in_one() -> None:
    assert [gate.text for gate in parse("ttft.p99 <= +5%, qps >= -2%; tpot < 50ms,")] == [
        "ttft.p99 <= +5%", "qps >= -2%", "tpot < 50ms",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "METRIC[.STAT] <= LIMIT"),
        ("ttft", "METRIC[.STAT] <= LIMIT"),
        ("ttft.p99 = 5%", "METRIC[.STAT] <= LIMIT"),
        ("ttft.p99 <= fast", "METRIC[.STAT] <= LIMIT"),
        ("ttft.p99 <= 5%", "a change has its sign, write +5% or -5%"),
        ("error_rate <= +5%", "an error rate is held against a share of requests, write 5%"),
        ("ttft.p99 <= 500", "ttft.p99 takes a time such as 500ms, or a change such as +5%"),
        ("qps >= 10ms", "qps takes a number alone"),
        ("error_rate <= 5ms", "error_rate takes a share such as 1%"),
        ("tttft.p99 <= +5%", "there is no figure tttft.p99; did you mean ttft?"),
        ("ttft.p42 <= +5%", "there is no figure ttft.p42; statistics are mean, p50, p95, p99"),
        ("colour <= +5%", "there is no figure colour; known: ttft, tpot, latency"),
        ("qps.p99 >= 3", "there is no figure qps.p99"),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "change", "status"),
    [
        ("ttft.p99 <= +5%", (-0.02, 0.01, 0.04), "met"),
        ("ttft.p99 <= +5%", (0.06, 0.09, 0.12), "missed"),
        ("ttft.p99 <= +5%", (0.01, 0.09, 0.12), "unresolved"),
        ("ttft.p99 >= -2%", (-0.01, 0.0, 0.05), "met"),
        ("ttft.p99 >= -2%", (-0.09, -0.05, -0.03), "missed"),
        ("ttft.p99 < +5%", (-0.02, 0.01, 0.05), "unresolved"),
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
    assert (open_.status, open_.reason) == ("unresolved", "qps is 9/s; too few requests for an interval")


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


def test_a_gate_is_plain_data() -> None:
    assert repr(Gate("qps > 1", "qps", ">", 1.0, False)) == (
        "Gate(text='qps > 1', figure='qps', sense='>', limit=1.0, relative=False)"
    )
