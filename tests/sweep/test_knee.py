"""Where a curve bends: loads that double to saturation and refine the knee, on made-up servers."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest

from loadstone.sweep import knee
from loadstone.sweep.knee import Level
from loadstone.sweep.slo_search import Range

SLOTS = Range(start=1.0, lowest=1.0, highest=4096.0, within=1.25, integers=True, max_points=16)
Curve = Callable[[float], Level]


def measured(curve: Curve, bounds: Range = SLOTS) -> list[Level]:
    """All that is asked for, in the order of asking."""
    levels: list[Level] = []
    while (load := knee.next_load(levels, bounds)) is not None:
        assert load not in [level.load for level in levels]
        levels.append(curve(load))
    return levels


def seats(count: int, latency: float = 1.0, noise: float = 0.0, seed: int = 1) -> Curve:
    """A server of so many seats, and a queue before them (asymptotic bounds of a closed system)."""
    chance = Random(seed)

    def curve(load: float) -> Level:
        output = min(load, count) / latency * (1 + noise * (2 * chance.random() - 1))
        return Level(load, output, load / output, noise)

    return curve


@pytest.mark.parametrize("count", [1, 2, 5, 16, 50, 200])
def test_the_knee_of_a_server_of_so_many_seats(count: int) -> None:
    levels = measured(seats(count))
    best = knee.knee(levels)
    assert best is not None
    assert count / 1.25 <= best.load <= count * 1.25
    assert max(level.load for level in levels) >= 2 * count
    assert len(levels) <= 16


def test_loads_double_until_more_brings_no_more() -> None:
    asked = [level.load for level in measured(seats(16))]
    assert asked[:6] == [1, 2, 4, 8, 16, 32]
    assert all(8 < load < 32 for load in asked[6:])


def test_the_knee_is_refined_until_its_neighbours_are_near() -> None:
    levels = sorted(measured(seats(50)), key=lambda level: level.load)
    best = knee.knee(levels)
    assert best is not None
    place = levels.index(best)
    assert levels[place + 1].load / best.load <= 1.26
    assert best.load / levels[place - 1].load <= 1.26


def test_throughput_that_only_grows_slower_has_its_knee_where_latency_outruns_it() -> None:
    """Output n ** a: power n ** (2a - 1) rises while a > 1/2. Here a falls from 0.8 to 0.3 at 32."""

    def curve(load: float) -> Level:
        output = load**0.8 if load <= 32 else 32**0.8 * (load / 32) ** 0.3
        return Level(load, output, load / output)

    best = knee.knee(measured(curve, Range(1.0, 1.0, 512.0, 1.25, integers=True, max_points=16)))
    assert best is None or best.load == 512 or 26 <= best.load <= 40


def test_a_server_that_never_saturates_has_no_knee() -> None:
    bounds = Range(start=1.0, lowest=1.0, highest=64.0, within=1.25, integers=True, max_points=16)
    levels = measured(seats(10_000), bounds)
    assert [level.load for level in levels] == [1, 2, 4, 8, 16, 32, 64]
    assert knee.describe(levels) == "there is no knee up to 64, the highest load tried: throughput still grew"


def test_a_server_that_breaks_down_under_load_is_saturated() -> None:
    def curve(load: float) -> Level:
        return Level(load, load, 1.0) if load <= 8 else Level(load, 0.0, float("inf"))

    levels = measured(curve)
    best = knee.knee(levels)
    assert best is not None
    assert best.load >= 8 / 1.25
    assert max(level.load for level in levels) == 16


def test_a_knee_of_the_client_is_said_to_be_one() -> None:
    levels = [Level(1, 100.0, 1.0), Level(2, 200.0, 1.0, client_unfit=True), Level(4, 202.0, 2.0), Level(8, 202.0, 4.0)]
    spoiled = [*levels[:2], Level(4, 202.0, 2.0, client_unfit=True), levels[3]]
    early = [
        msgspec.structs.replace(levels[0], client_unfit=True),
        msgspec.structs.replace(levels[1], client_unfit=False),
    ]
    assert knee.describe(spoiled).endswith(
        "at 2, 4 the client was unfit, so the knee may be the client's and not the server's"
    )
    assert knee.describe([*early, Level(3, 202.0, 1.5), *levels[2:]]).endswith(
        "at 1 the client was unfit, so the knee may be the client's and not the server's"
    )
    assert knee.describe([early[0], early[1], Level(3, 290.0, 1.04), *levels[2:]]).endswith("faster than throughput")


def test_nothing_succeeds() -> None:
    levels = measured(lambda load: Level(load, 0.0, float("inf")), Range(1.0, 1.0, 8.0, 1.25, integers=True))
    assert knee.knee(levels) is None
    assert knee.describe(levels) == "nothing succeeded at any load"


@pytest.mark.parametrize("seed", range(20))
def test_noise_within_its_interval_does_not_lead_astray(seed: int) -> None:
    levels = measured(seats(40, noise=0.04, seed=seed))
    best = knee.knee(levels)
    assert best is not None
    assert 40 / 1.4 <= best.load <= 40 * 1.4
    assert max(level.load for level in levels) >= 64


def test_a_gain_that_may_be_chance_is_measured_again_higher_up() -> None:
    """4 % more, give or take 10: not surely saturated, so the load doubles once more."""
    unsure = [Level(1, 100.0, 1.0, 0.07), Level(2, 104.0, 1.9, 0.07)]
    sure = [Level(1, 100.0, 1.0, 0.001), Level(2, 104.0, 1.9, 0.001)]
    assert not knee.saturated(unsure)
    assert knee.saturated(sure)
    assert knee.saturated([*unsure, Level(4, 105.0, 3.8, 0.07)])


def test_points_are_bounded() -> None:
    assert len(measured(seats(1000), Range(1.0, 1.0, 4096.0, 1.01, integers=True, max_points=14))) == 14
