"""Stages as they are typed, and what their ramps pass through."""

from __future__ import annotations

import numpy as np
import pytest

from loadstone.config.stages import Stage, parse_stages
from loadstone.errors import UsageError


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("30s@2", [Stage(30, 2, 2)]),
        ("30s@2,1m@8.5", [Stage(30, 2, 2), Stage(60, 8.5, 8.5)]),
        ("500ms@1..16", [Stage(0.5, 1, 16)]),
        ("10@1..16exp", [Stage(10, 1, 16, exponential=True)]),
        ("30s@c4, 60s@c4..c64", [Stage(30, 4, 4, True), Stage(60, 4, 64, True)]),
        ("60s@c4..64exp", [Stage(60, 4, 64, True, True)]),
        ("1h@0..3", [Stage(3600, 0, 3)]),
    ],
)
def test_what_is_typed(text: str, stages: list[Stage]) -> None:
    assert list(parse_stages(text)) == stages
    assert parse_stages(",".join(stage.name for stage in stages)) == tuple(stages)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "--stages takes TIME@RATE"),
        ("30s", "--stages takes TIME@RATE"),
        ("30s@", "--stages takes TIME@RATE"),
        ("30x@2", "--stages takes TIME@RATE"),
        ("30s@2-8", "--stages takes TIME@RATE"),
        ("1.2.3s@2", "--stages takes TIME@RATE"),
        ("30s@1.2.3", "--stages takes TIME@RATE"),
        ("0s@2", "needs a time and a level above 0"),
        ("30s@0", "needs a time and a level above 0"),
        ("30s@2,30s@c4", "not both in one run"),
        ("30s@2..c4", "write c at both ends or at none"),
        ("30s@c1.5", "a concurrency is a whole number from 1"),
        ("30s@c0..c4", "a concurrency is a whole number from 1"),
        ("30s@0..4exp", "neither end can be 0"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=r"^--stages") as caught:
        parse_stages(text)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["10s@4", "10s@4..12", "10s@12..4", "10s@1..9exp", "10s@9..1exp", "10s@0..8"])
def test_when_is_the_inverse_of_the_integral(text: str) -> None:
    (stage,) = parse_stages(text)
    at = stage.when(np.array([0.0, stage.area / 2, stage.area]))
    assert at[[0, 2]] == pytest.approx([0, 10])
    grid = np.linspace(0, at[1], 100_001)
    middle = (grid[1:] + grid[:-1]) / 2
    share = middle / 10
    rate = (
        stage.low * (stage.high / stage.low) ** share
        if stage.exponential
        else stage.low + (stage.high - stage.low) * share
    )
    assert rate.sum() * (grid[1] - grid[0]) == pytest.approx(stage.area / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("9s@c5", [(0, 5)]),
        ("9s@c1..c3", [(0, 1), (3, 2), (6, 3)]),
        ("9s@c3..c1", [(0, 3), (3, 2), (6, 1)]),
    ],
)
def test_levels_of_a_straight_ramp_last_equally_long(text: str, steps: list[tuple[float, int]]) -> None:
    assert list(parse_stages(text)[0].steps()) == steps


def test_levels_of_an_exponential_ramp() -> None:
    steps = list(parse_stages("60s@c4..c64exp")[0].steps())
    times, levels = zip(*steps, strict=True)
    assert levels == tuple(range(4, 65))
    assert list(times) == sorted(times)
    half = max(level for time, level in steps if time <= 30)
    assert half == 16
