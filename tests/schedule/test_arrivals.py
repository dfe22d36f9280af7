"""Arrival laws: the rate is exact, the gaps have the law's mean and dispersion, and changing rates are followed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loadstone.config.stages import Stage, parse_stages
from loadstone.schedule.arrivals import ARRIVALS, ArrivalProcess, scale_recorded
from loadstone.units import Array

S = 1_000_000_000


def process(law: str, seed: int = 1, **more: float | bool) -> ArrivalProcess:
    return ArrivalProcess(law, np.random.default_rng(seed), **more)  # type: ignore[arg-type]


def gaps(law: str, rate: float, count: int, **more: float | bool) -> Array:
    return np.diff(process(law, **more).at_rate(rate, count), prepend=0) / S


def distance(values: Array, model: Array) -> float:
    """Kolmogorov-Smirnov: the greatest distance between the two distribution functions."""
    steps = np.arange(len(values) + 1) / len(values)
    return float(max(np.abs(model - steps[1:]).max(), np.abs(model - steps[:-1]).max()))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (1000.0, [0, 1_000_000, 2_000_000, 3_000_000]),
        (0.5, [0, 2 * S, 4 * S, 6 * S]),
        (3.0, [0, 333_333_333, 666_666_667, S]),
    ],
)
def test_constant_is_exact(rate: float, expected: list[int]) -> None:
    assert process("constant").at_rate(rate, 4).tolist() == expected


def test_constant_does_not_drift() -> None:
    assert process("constant").at_rate(7.0, 7_000_001)[-1] == 1_000_000 * S


@pytest.mark.parametrize("law", ["poisson", "gamma"])
@pytest.mark.parametrize(("rate", "count"), [(0.25, 1), (10.0, 7), (333.3, 1000), (20_000.0, 50_000)])
def test_random_laws_end_at_count_over_rate(law: str, rate: float, count: int) -> None:
    offsets = process(law, burstiness=0.5).at_rate(rate, count)
    assert (len(offsets), int(offsets[-1])) == (count, round(count / rate * S))
    assert (np.diff(offsets) >= 0).all()
    assert offsets[0] >= 0


def test_poisson_gaps_are_exponential() -> None:
    values = np.sort(gaps("poisson", 50.0, 20_000))
    assert values.mean() == pytest.approx(1 / 50, rel=1e-6)
    assert values.std() / values.mean() == pytest.approx(1, abs=0.02)
    assert distance(values, 1 - np.exp(-50 * values)) < 1.36 / math.sqrt(20_000)


def test_gamma_of_burstiness_1_is_poisson() -> None:
    one, other = process("gamma").at_rate(50.0, 1000), process("poisson").at_rate(50.0, 1000)
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize("burstiness", [0.25, 0.5, 2.0, 4.0])
def test_gamma_gaps_have_the_dispersion_of_their_burstiness(burstiness: float) -> None:
    values = gaps("gamma", 20.0, 40_000, burstiness=burstiness)
    assert values.mean() == pytest.approx(1 / 20, rel=1e-6)
    assert values.var() / values.mean() ** 2 == pytest.approx(1 / burstiness, rel=0.06)


def test_gamma_of_burstiness_2_has_erlang_gaps() -> None:
    """Whose distribution function is known in closed form: 1 - exp(-x) (1 + x), at twice the rate."""
    values = np.sort(gaps("gamma", 20.0, 20_000, burstiness=2.0))
    x = 40 * values
    assert distance(values, 1 - np.exp(-x) * (1 + x)) < 1.36 / math.sqrt(20_000)


@pytest.mark.parametrize(
    ("law", "burstiness", "index"), [("poisson", 1.0, 1.0), ("gamma", 0.25, 4.0), ("gamma", 4.0, 0.25)]
)
def test_index_of_dispersion_of_the_counts(law: str, burstiness: float, index: float) -> None:
    """Of a renewal process it comes near the squared coefficient of variation of its gaps, in long enough windows."""
    times = process(law, burstiness=burstiness).at_rate(100.0, 200_000) / S
    counts = np.histogram(times, bins=400, range=(0, 2000))[0]
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(index, rel=0.25)


@pytest.mark.parametrize("law", ["poisson", "gamma"])
def test_without_rescaling_the_number_is_left_to_chance(law: str) -> None:
    numbers = [len(process(law, seed, rescale=False).within(10.0, 100.0)) for seed in range(40)]
    assert len(set(numbers)) > 10
    assert np.mean(numbers) == pytest.approx(1000, abs=20)
    assert all((process(law, seed, rescale=False).within(10.0, 100.0) < 100 * S).all() for seed in range(5))


def test_without_rescaling_a_bursty_process_fills_its_time() -> None:
    numbers = [len(process("gamma", seed, rescale=False, burstiness=0.1).within(10.0, 100.0)) for seed in range(60)]
    assert np.mean(numbers) == pytest.approx(1000, abs=45)


@pytest.mark.parametrize("law", ARRIVALS)
@pytest.mark.parametrize(
    ("text", "count"),
    [("10s@4..12", 80), ("10s@12..4", 80), ("10s@1..9", 50), ("10s@0..10", 50), ("5s@2,5s@10", 60)],
)
def test_stages_bring_what_their_rates_add_up_to(law: str, text: str, count: int) -> None:
    parts = process(law).over_stages(parse_stages(text))
    begin = 0.0
    for stage, part in zip(parse_stages(text), parts, strict=True):
        assert ((part >= begin * S) & (part <= (begin + stage.seconds) * S)).all()
        begin += stage.seconds
    offsets = np.concatenate(parts)
    assert len(offsets) == count
    assert (np.diff(offsets) >= 0).all()
    assert offsets[-1] <= 10 * S


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100s@10..50", lambda t: 10 + 0.4 * t),
        ("100s@50..10", lambda t: 50 - 0.4 * t),
        ("100s@5..80exp", lambda t: 5 * 16 ** (t / 100)),
    ],
)
def test_the_rate_of_a_ramp_is_followed(text: str, rate: object) -> None:
    """Arrivals in each tenth are the integral of the rate over it, within one."""
    offsets = process("constant").over_stages(parse_stages(text))[0] / S
    counted = np.histogram(offsets, bins=10, range=(0, 100))[0]
    grid = np.linspace(0, 100, 100_001)
    wanted = np.add.reduceat(rate(grid)[:-1] * 0.001, np.arange(0, 100_000, 10_000))  # type: ignore[operator]
    assert np.abs(counted - wanted).max() <= 1.01


def test_a_poisson_ramp_is_poisson_in_its_own_time() -> None:
    """An inhomogeneous process mapped through the integral of its rate has exponential gaps."""
    stage = Stage(1000.0, 5.0, 45.0)
    seconds = process("poisson").over_stages([stage])[0] / S
    units = np.sort(np.diff(5 * seconds + 0.02 * seconds**2, prepend=0))
    assert distance(units, 1 - np.exp(-units)) < 1.36 / math.sqrt(len(units))


def test_replay() -> None:
    assert scale_recorded([0, S, 5 * S], 10.0).tolist() == [0, S // 10, S // 2]


LEFT = [(",".join(["1s@1.5"] * 20), 30), ("1s@0.1,1s@5,9s@0.1", 6), ("1s@0..1,1s@5", 5)]


@pytest.mark.parametrize("law", ARRIVALS)
@pytest.mark.parametrize(("text", "count"), LEFT)
def test_what_is_left_of_a_stage_counts_for_the_next(law: str, text: str, count: int) -> None:
    offsets = np.concatenate(process(law).over_stages(parse_stages(text)))
    assert abs(len(offsets) - count) <= (law == "constant")
    assert (np.diff(offsets) >= 0).all()
