"""Durations, distributions and chunk sizes of the simulated server."""

from __future__ import annotations

from random import Random

import pytest

from loadstone.errors import UsageError
from loadstone.sim import timing as model
from loadstone.sim.settings import Settings


@pytest.mark.parametrize(
    ("text", "ns"),
    [("50ms", 50e6), ("0.05s", 50e6), ("200us", 200e3), ("1s", 1e9), ("2", 2e9), (".5", 5e8), ("0", 0), ("7ns", 7)],
)
def test_durations(text: str, ns: float) -> None:
    assert model.duration(text) == ns
    assert model.distribution(text) == model.Distribution("constant", (ns,))


@pytest.mark.parametrize(
    "text",
    ["", "fast", "-1s", "1h", "1 2", "uniform(1)", "uniform(2,1)", "normal(1,2,3)", "exp()", "exp(x)", "a(1)"],
)
def test_a_wrong_time_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match=r"--itl takes a time such as 50ms .* uniform\(a,b\), .* lognormal\(mean,sd\)"):
        Settings(itl=text).check()


@pytest.mark.parametrize(
    ("text", "mean"),
    [("uniform(10ms,30ms)", 20e6), ("normal(20ms,2ms)", 20e6), ("exp(20ms)", 20e6), ("lognormal(20ms,20ms)", 20e6)],
)
def test_laws_have_the_mean_that_was_asked(text: str, mean: float) -> None:
    law, rng = model.distribution(text), Random(1)
    drawn = [law.draw(rng) for _ in range(20_000)]
    assert min(drawn) >= 0
    assert sum(drawn) / len(drawn) == pytest.approx(mean, rel=0.05)


def test_zero_means() -> None:
    assert [model.distribution(text).draw(Random(1)) for text in ("exp(0)", "lognormal(0,1)", "normal(0,0)")] == [
        0,
        0,
        0,
    ]


def test_offsets_repeat_for_the_same_request_only() -> None:
    timing = model.Timing(model.distribution("exp(50ms)"), model.distribution("exp(10ms)"), per_chunk=1, seed=5)
    assert timing.offsets(0, 50) == timing.offsets(0, 50)
    assert timing.offsets(0, 50) != timing.offsets(1, 50)
    assert len(timing.offsets(0, 50)) == 50


@pytest.mark.parametrize(
    ("tokens", "per_chunk", "ends"),
    [(1, 1, [0]), (3, 1, [0, 1, 2]), (1, 4, [0]), (2, 4, [0, 1]), (5, 4, [0, 4]), (6, 4, [0, 4, 5])],
)
def test_chunks_cover_all_tokens(tokens: int, per_chunk: int, ends: list[int]) -> None:
    assert [min(end, tokens - 1) for end in model.chunk_ends(tokens, per_chunk)] == ends
