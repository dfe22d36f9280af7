"""Prefix caches, loads and doubts in a comparison: said first, and never a better server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadstone.compare import load, page
from loadstone.compare.circumstances import CachedInput, cache_difference
from loadstone.compare.verdicts import SideComparison
from loadstone.records import Usage, to_line
from support.records import streamed
from support.servers import loadstone

Capture = pytest.CaptureFixture[str]


def run(path: Path, cached: int | None, ttft: int = 100, shared: float | None = 0.0, prompts: int = 1000,
        **config: Any) -> str:  # fmt: skip
    """A run folder of 60 requests of 1000 tokens, of which `cached` were in the cache."""
    path.mkdir(parents=True)
    rows = []
    for number in range(60):
        begin, first = 100 * number, 100 * number + ttft + number % 7
        usage = Usage(1000, 3, cached=cached)
        rows.append(streamed(begin, first, first + 10, first + 20, index=number, usage=usage))
    head = {
        "began": "now", "ended": "done", "config": {"rate": 10.0, "dataset": "random"} | config,
        "schedule": {"loop": "open", "prompts": prompts, "shared": shared}, "digest": {"bodies": "a", "schedule": "s"},
        "client": {"loop_lag_p99": 0.0001, "cpu_share": 0.1},
    }  # fmt: skip
    (path / "run.json").write_text(json.dumps(head))
    (path / "records.jsonl").write_bytes(b"".join(map(to_line, rows)))
    return str(path)


def compared(*sides: str) -> SideComparison:
    return load.compare_sides(load.read_sides(sides)).against[0]


def lead(*sides: str) -> tuple[str, str]:
    """The first sentence of the page and its colour."""
    comparison = load.compare_sides(load.read_sides(sides))
    first = page.page(comparison).lead
    return first.text, first.tone


@pytest.mark.parametrize("shared", [0.0, None], ids=["known prompts", "older runs"])
@pytest.mark.parametrize("order", [1, -1], ids=["cold, warm", "warm, cold"])
def test_a_warm_cache_is_no_better_server(tmp_path: Path, order: int, shared: float | None) -> None:
    cold = run(tmp_path / "cold", 0, 300, shared)
    warm = run(tmp_path / "warm", 996, 15, shared)
    sides = [cold, warm][::order]
    against = compared(*sides)
    assert against.verdict == "not comparable"
    assert {figure.verdict for figure in against.figures if figure.family in ("ttft", "latency", "tpot")} == {
        "not comparable"
    }
    text, tone = lead(*sides)
    assert text.startswith("Not comparable: cached input ")
    assert ("0.0% against 99.6%" in text) == (order == 1)
    assert "better than" not in text
    assert tone == "doubt"


@pytest.mark.parametrize(("gate", "status"), [("ttft.mean<=+500%", 1), ("ttft.mean<=10s", 1), ("error_rate<=1%", 0)])
def test_gates_on_a_warm_side_fail(tmp_path: Path, capsys: Capture, gate: str, status: int) -> None:
    cold, warm = run(tmp_path / "cold", 0, 300), run(tmp_path / "warm", 996, 15)
    done = loadstone(capsys, "compare", cold, warm, "--gate", gate)
    assert done.status == status
    assert ("not comparable" in done.err) == bool(status)
    # A cold side is judged by itself, whatever base was.
    if "10s" in gate:
        assert loadstone(capsys, "compare", warm, cold, "--gate", gate).status == 0


def test_equally_warm_caches_compare_with_a_doubt(tmp_path: Path) -> None:
    sides = run(tmp_path / "a", 990, 15), run(tmp_path / "b", 996, 30)
    assert compared(*sides).verdict == "worse"
    text, tone = lead(*sides)
    assert "warm cache" in text
    assert tone == "doubt"


def test_hits_that_the_run_itself_explains_are_part_of_the_difference(tmp_path: Path) -> None:
    """Half of every prompt is a common prefix, and one server keeps it."""
    sides = run(tmp_path / "off", 0, 300, 0.5), run(tmp_path / "on", 500, 150, 0.5)
    against = compared(*sides)
    assert against.verdict == "better"
    text, tone = lead(*sides)
    assert text.startswith("The prefix cache is part of the difference: cached input 0.0% against 50.0%")
    assert tone == "doubt"


def test_unknown_shares_say_nothing(tmp_path: Path) -> None:
    assert compared(run(tmp_path / "a", None), run(tmp_path / "b", 996)).cache is None


def test_one_warm_run_of_several(tmp_path: Path) -> None:
    """As --repeat --same-prompts leaves them on a warm server."""
    one = ",".join([run(tmp_path / "1", 0, 300), run(tmp_path / "2", 996, 15)])
    other = ",".join([run(tmp_path / "3", 0, 300), run(tmp_path / "4", 0, 310)])
    text, _ = lead(one, other)
    assert text.startswith("Not comparable: cached input 0.0% to 99.6% against 0.0%")


def test_a_prompt_that_the_run_sends_again_is_explained(tmp_path: Path) -> None:
    sides = run(tmp_path / "a", 900, 30, prompts=5), run(tmp_path / "b", 910, 31, prompts=5)
    assert (compared(*sides).doubts, compared(*sides).cache) == ([], None)


def test_loads_that_differ_are_named_first_and_not_green(tmp_path: Path) -> None:
    sides = run(tmp_path / "a", 0, 300), run(tmp_path / "b", 0, 100, rate=20.0)
    text, tone = lead(*sides)
    assert text.startswith("The load differs: rate 10 against 20. ")
    assert tone == "doubt"
    assert compared(*sides).verdict == "better"
    text, _ = lead(run(tmp_path / "c", 0), run(tmp_path / "d", 0, concurrency=8, rate=None))
    assert text.startswith("The load differs: concurrency none against 8; rate 10 against none. ")


def test_without_reservations_better_is_green(tmp_path: Path) -> None:
    text, tone = lead(run(tmp_path / "a", 0, 300), run(tmp_path / "b", 0, 100))
    assert " is better than " in text.partition(".")[0]
    assert tone == "good"


@pytest.mark.parametrize(
    ("base", "new", "differ", "comparable"),
    [
        ((0.0, 0.0, False), (0.09, 0.09, False), False, None),
        ((0.0, 0.0, False), (0.5, 0.5, False), True, True),
        ((0.0, 0.0, False), (0.5, 0.5, None), True, False),
        ((0.9, 0.9, True), (0.95, 0.95, True), False, None),
        ((0.0, 0.9, True), (0.0, 0.9, True), True, False),
    ],
)
def test_shares_that_differ_clearly(
    base: tuple[float, float, bool], new: tuple[float, float, bool], differ: bool, comparable: bool | None
) -> None:
    found = cache_difference(CachedInput(*base), CachedInput(*new))
    assert (found is not None) == differ
    assert (found and found.comparable) == comparable
