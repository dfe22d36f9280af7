"""Comparisons that the prefix cache, the load or doubtful runs explain."""

from __future__ import annotations

from typing import Any

import pytest

from loadstone.compare import caveats, gates, page
from loadstone.compare.verdicts import Comparison, Health, Setting, Side, SideComparison
from loadstone.config import slo
from loadstone.report import markdown


def side(name: str, cached: float | None = None, status: str = "valid", doubts: tuple[str, ...] = ()) -> Side:
    fields: dict[str, Any] = dict.fromkeys(("cpu_share", "loop_lag_p99", "send_lag_p99"))
    run = Health(run=name, status=status, doubts=list(doubts), cached_share=cached, succeeded=9, failed=0, **fields)
    return Side(name, [run])


def compared(base: Side, new: Side, *settings: Setting, same: bool | None = True) -> SideComparison:
    return caveats.add(SideComparison(new.name, "better", []), base, new, list(settings), same)


@pytest.mark.parametrize(
    ("base", "new", "verdict"),
    [
        (0.0, 0.996, "incomparable"),
        (0.996, 0.0, "incomparable"),
        (0.37, 0.937, "incomparable"),
        (0.5, 0.59, "better"),
        (0.9, 0.9, "better"),
        (None, 0.9, "better"),
        (None, None, "better"),
    ],
)
def test_a_warm_cache_is_no_better_server(base: float | None, new: float | None, verdict: str) -> None:
    found = compared(side("a", base), side("b", new))
    assert found.verdict == verdict
    assert len(found.caveats) == (verdict == "incomparable")
    for share in (base, new):
        assert verdict != "incomparable" or f"{share:.1%}" in found.caveats[0]


def test_the_advice_depends_on_the_prompts() -> None:
    assert "--seed" in compared(side("a", 0.0), side("b", 0.9)).caveats[0]
    assert "--seed" not in compared(side("a", 0.0), side("b", 0.9), same=False).caveats[0]


def test_loads_and_doubts_come_after_the_cache() -> None:
    settings = [Setting("config.rate", [["8.0"], ["-"]]), Setting("config.seed", [["1"], ["2"]])]
    doubtful = side("b", 0.9, "suspect", ("saturated: 60/s came (limit ...)",))
    texts = compared(side("a", 0.0), doubtful, *settings).caveats
    assert ["cache" in texts[0], "rate 8.0 against -" in texts[1], "b is suspect: saturated" in texts[2]] == [True] * 3
    assert not any("seed" in text for text in texts[1:])


def whole(*against: SideComparison) -> Comparison:
    return Comparison(
        margin=0.05,
        window="whole",
        sides=[side("a", 0.0), side("b", 0.9)],
        settings=[],
        same_prompts=True,
        same_schedule=True,
        against=list(against),
    )


def test_the_first_line_says_so_and_is_not_green() -> None:
    made = page.page(whole(compared(side("a", 0.0), side("b", 0.9))))
    assert made.lead.text.startswith("Of the input tokens, the prefix cache held 0.0% of a and 90.0% of b")
    assert "b is not comparable with a." in made.lead.text
    assert made.lead.tone == "doubt"
    assert page.page(whole(SideComparison("b", "better", []))).lead.tone == "good"
    doubtful = SideComparison("b", "better", [], ["b is suspect."])
    assert page.page(whole(doubtful)).lead.tone == "doubt"
    assert "cached input" in markdown.draw(made)


def test_a_gate_on_a_change_is_missed_then() -> None:
    conditions = slo.parse("ttft.p99 <= +5%, error_rate <= 1%, output_throughput >= -2%", slo.GATE)
    found = gates.judge(conditions, [compared(side("a", 0.0), side("b", 0.9))])
    assert [result.status for result in found] == ["missed"] * 3
    assert ["cache" in result.reason for result in found] == [True, False, True]
