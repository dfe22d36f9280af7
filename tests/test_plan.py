"""Arrivals and plans: one seed, one schedule; rates as asked for; every prompt once before any comes twice."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest

from loadstone import plan
from loadstone.arrivals import ARRIVALS, constant, poisson
from loadstone.plan import Load, Plan
from loadstone.records import Prompt, UsageError

PROMPTS = [Prompt(id=f"p{number}", text="x") for number in range(7)]
S = 1_000_000_000


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def written(load: Load, prompts: list[Prompt] = PROMPTS) -> bytes:
    return b"".join(plan.lines(plan.make(load, len(prompts)), prompts))


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (1000.0, [0, 1_000_000, 2_000_000, 3_000_000]),
        (0.5, [0, 2 * S, 4 * S, 6 * S]),
        (3.0, [0, 333_333_333, 666_666_667, S]),
    ],
)
def test_constant_is_exact(rate: float, expected: list[int]) -> None:
    offsets = constant(rate, 4, rng())
    assert offsets.tolist() == expected


def test_constant_does_not_drift() -> None:
    assert constant(7.0, 7_000_001, rng())[-1] == 1_000_000 * S


@pytest.mark.parametrize(("rate", "count"), [(0.25, 1), (10.0, 7), (333.3, 1000), (20_000.0, 50_000)])
def test_poisson_ends_at_count_over_rate(rate: float, count: int) -> None:
    offsets = poisson(rate, count, rng())
    assert (len(offsets), int(offsets[-1])) == (count, round(count / rate * S))
    assert (np.diff(offsets) >= 0).all()
    assert offsets[0] >= 0


def test_poisson_gaps_are_exponential() -> None:
    """Mean and dispersion of an exponential law are equal, and its distribution function is close throughout (KS)."""
    count = 20_000
    gaps = np.sort(np.diff(poisson(50.0, count, rng()), prepend=0) / S)
    assert gaps.mean() == pytest.approx(1 / 50, rel=1e-6)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.02)
    model = 1 - np.exp(-50 * gaps)
    steps = np.arange(count + 1) / count
    distance = max(np.abs(model - steps[1:]).max(), np.abs(model - steps[:-1]).max())
    assert distance < 1.36 / math.sqrt(count)


def test_poisson_counts_are_as_variable_as_their_mean() -> None:
    counts = np.histogram(poisson(100.0, 20_000, rng()) / S, bins=200, range=(0, 200))[0]
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("name", ARRIVALS)
def test_same_seed_same_bytes(name: str) -> None:
    load = Load(rate=10.0, arrivals=name, requests=50, shuffle=True, seed=3)
    assert written(load) == written(load)
    assert written(load) != written(msgspec.structs.replace(load, seed=4))


def test_constant_in_file_order_does_not_depend_on_the_seed() -> None:
    load = Load(rate=10.0, arrivals="constant", requests=50)
    assert written(load) == written(msgspec.structs.replace(load, seed=4))


def test_shuffling_leaves_the_arrivals_as_they_are() -> None:
    straight, shuffled = (plan.make(Load(rate=5.0, requests=30, shuffle=shuffle), 7) for shuffle in (False, True))
    assert straight.offsets is not None
    assert shuffled.offsets is not None
    assert straight.offsets.tolist() == shuffled.offsets.tolist()


def test_file_order_repeats() -> None:
    assert [plan.make(Load(requests=9), 4).row(i) for i in range(9)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_shuffle_takes_every_prompt_once_an_epoch() -> None:
    shuffled = plan.make(Load(requests=100, shuffle=True), 20)
    epochs = [tuple(shuffled.row(i) for i in range(start, start + 20)) for start in range(0, 100, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len(set(epochs)) == 5


def test_rows_may_be_asked_for_in_any_order() -> None:
    shuffled = plan.make(Load(requests=100, shuffle=True), 20)
    forth = [shuffled.row(i) for i in range(100)]
    assert [shuffled.row(i) for i in reversed(range(100))] == forth[::-1]


@pytest.mark.parametrize(
    ("load", "total", "expected"),
    [
        (Load(requests=10), 10, 10),
        (Load(requests=10, warmup=3), 13, 10),
        (Load(duration=5.0), None, None),
        (Load(duration=5.0, requests=10), 10, 10),
        (Load(rate=2.0, requests=10), 10, 10),
        (Load(rate=2.0, requests=10, warmup=4), 14, 10),
        (Load(rate=2.0, duration=3.0), 6, 6),
        (Load(rate=2.0, duration=3.0, requests=4), 4, 4),
        (Load(rate=2.0, duration=3.0, requests=40, warmup=1), 7, 6),
        (Load(rate=0.29, duration=100.0), 29, 29),
        (Load(rate=0.1, duration=1.0), 1, 1),
    ],
)
def test_how_many(load: Load, total: int | None, expected: int | None) -> None:
    made = plan.make(load, 5)
    assert (made.total, made.expected) == (total, expected)
    assert (made.offsets is None) == (load.rate is None)
    assert made.offsets is None or len(made.offsets) == total


def test_arrivals_of_a_duration_fit_into_it() -> None:
    for name in ARRIVALS:
        offsets = plan.make(Load(rate=9.0, duration=11.0, arrivals=name), 5).offsets
        assert offsets is not None
        assert len(offsets) == 99
        assert offsets[-1] <= 11 * S


def test_an_open_loop_needs_an_end() -> None:
    with pytest.raises(UsageError, match=r"^an open loop needs an end: give -n REQUESTS or --duration SECONDS$"):
        plan.make(Load(rate=1.0), 5)


def test_warmup_comes_first() -> None:
    made = plan.make(Load(requests=3, warmup=2), 5)
    assert [made.phase(i) for i in range(5)] == ["warmup", "warmup", "measure", "measure", "measure"]


@pytest.mark.parametrize(
    ("load", "prompts", "repeats"),
    [(Load(requests=5), 5, False), (Load(requests=5, warmup=1), 5, True), (Load(duration=9.0), 1, False)],
)
def test_repeats(load: Load, prompts: int, repeats: bool) -> None:
    assert plan.make(load, prompts).repeats is repeats


def test_lines_open_loop() -> None:
    rows = [
        msgspec.json.decode(line) for line in written(Load(rate=4.0, arrivals="constant", requests=2, warmup=1)).split()
    ]
    assert rows == [
        {"index": 0, "phase": "warmup", "prompt": "p0", "offset": 0},
        {"index": 1, "phase": "measure", "prompt": "p1", "offset": 250_000_000},
        {"index": 2, "phase": "measure", "prompt": "p2", "offset": 500_000_000},
    ]


def test_lines_closed_loop() -> None:
    rows = [msgspec.json.decode(line) for line in written(Load(requests=9)).split()]
    assert [(row["prompt"], row["offset"]) for row in rows] == [
        (name, None) for name in itertools.islice(itertools.cycle([prompt.id for prompt in PROMPTS]), 9)
    ]


def test_lines_where_the_number_is_open_are_one_a_prompt() -> None:
    rows = [msgspec.json.decode(line) for line in written(Load(duration=1.0, shuffle=True)).split()]
    assert sorted(row["prompt"] for row in rows) == sorted(prompt.id for prompt in PROMPTS)


def test_one_prompt_is_enough() -> None:
    assert {Plan(Load(shuffle=True), 1, None, None).row(i) for i in range(50)} == {0}
