"""Test distributions: the grammar, what it refuses, and whether the draws have the right moments."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from loadstone.config.distributions import FORMS, Distribution, parse
from loadstone.config.kinds import parse_seconds

COUNT = 40_000
INF = math.inf


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("text", "law"),
    [
        (128, Distribution("constant", (128.0,))),
        (0.5, Distribution("constant", (0.5,))),
        ("128", Distribution("constant", (128.0,))),
        (" -3 ", Distribution("constant", (-3.0,))),
        ("uniform(64,256)", Distribution("uniform", (64.0, 256.0))),
        ("Normal( 512 , 128 )", Distribution("normal", (512.0, 128.0))),
        ("normal(512,128,min=16,max=2048)", Distribution("normal", (512.0, 128.0), 16.0, 2048.0)),
        ("lognormal(100,0)", Distribution("lognormal", (100.0, 0.0))),
        ("exp(4, max = 9)", Distribution("exp", (4.0,), -INF, 9.0)),
        ("gamma(10,5,min=1)", Distribution("gamma", (10.0, 5.0), 1.0)),
        ("zipf(1.5)", Distribution("zipf", (1.5,))),
        ("choice(1,2,8)", Distribution("choice", (1.0, 2.0, 8.0))),
    ],
)
def test_the_grammar(text: str | float, law: Distribution) -> None:
    assert parse(text) == law


def test_numbers_are_read_as_the_caller_says() -> None:
    assert parse("uniform(500ms,2m,max=1m)", parse_seconds) == Distribution("uniform", (0.5, 120.0), -INF, 60.0)
    assert parse("90s", parse_seconds) == Distribution("constant", (90.0,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "many",
        "nan",
        "inf",
        math.nan,
        math.inf,
        "1e16",
        "1,2",
        "normal",
        "normal()",
        "normal(1)",
        "normal(1,2,3)",
        "normal(1,-2)",
        "normal(1,2",
        "normal(1,2)x",
        "normal(mean=1,sd=2)",
        "normal(1,2,low=3)",
        "normal(1,2,min=)",
        "normal(1,2,min=nan)",
        "normal(1,2,min=inf)",
        "normal(1,2,min=5,max=4)",
        "uniform(2,1)",
        "uniform(0,1e30)",
        "lognormal(0,1)",
        "lognormal(1e-300,1)",
        "exp(-1)",
        "gamma(1,0)",
        "gamma(-1,-1)",
        "gamma(1,1e-9)",
        "zipf(1)",
        "choice()",
        "choice(min=1)",
        "cauchy(1,2)",
    ],
)
def test_what_is_no_law(text: str | float) -> None:
    with pytest.raises(ValueError, match=r" is not a number, uniform\(LOW,HIGH\),") as caught:
        parse(text)
    assert str(caught.value) == f"{text!r} is not {FORMS}"


@pytest.mark.parametrize(
    ("text", "mean", "sd"),
    [
        ("7", 7, 0),
        ("uniform(10,30)", 20, 20 / math.sqrt(12)),
        ("normal(512,128)", 512, 128),
        ("lognormal(200,100)", 200, 100),
        ("exp(3)", 3, 3),
        ("gamma(50,20)", 50, 20),
        ("zipf(5)", 1.0437788, 0.2529),  # zeta(4)/zeta(5), zeta(3)/zeta(5) less its square
        ("choice(1,2,6)", 3, math.sqrt(14 / 3)),
    ],
)
def test_draws_have_the_mean_and_the_spread_that_were_asked_for(text: str, mean: float, sd: float) -> None:
    drawn = parse(text).draw(rng(), COUNT)
    assert drawn.shape == (COUNT,)
    assert abs(drawn.mean() - mean) <= 4 * sd / math.sqrt(COUNT)
    assert drawn.std() == pytest.approx(sd, rel=0.05)


@pytest.mark.parametrize(
    "law", ["normal(0,100", "uniform(-90,90", "exp(50", "lognormal(20,40", "zipf(1.2", "choice(1,99"]
)
def test_bounds_hold_and_are_reached(law: str) -> None:
    drawn = parse(f"{law},min=3,max=20)").draw(rng(), COUNT)
    assert drawn.min() >= 3
    assert drawn.max() == 20
    whole = parse(f"{law},min=2.6,max=20.4)").draw_integers(rng(), COUNT)
    assert set(whole) <= set(range(3, 21))


def test_a_whole_uniform_law_gives_both_ends_as_often_as_the_rest() -> None:
    drawn = Counter(parse("uniform(2,5)").draw_integers(rng(), COUNT))
    assert sorted(drawn) == [2, 3, 4, 5]
    assert all(abs(count - COUNT / 4) <= 4 * math.sqrt(COUNT * 3 / 16) for count in drawn.values())


def test_whole_numbers_are_rounded_and_at_least_the_least() -> None:
    assert parse("2.6").draw_integers(rng(), 2) == [3, 3]
    assert parse("-4").draw_integers(rng(), 1) == [1]
    assert parse("-4").draw_integers(rng(), 1, least=0) == [0]
    assert set(parse("uniform(-3,2)").draw_integers(rng(), 1000)) == {1, 2}
    assert parse("5").draw_integers(rng(), 0) == []


@pytest.mark.parametrize(
    "text",
    [
        "4",
        "uniform(1,900)",
        "normal(50,20)",
        "lognormal(50,20)",
        "exp(50)",
        "gamma(50,90)",
        "zipf(2)",
        "choice(1,2,3,4)",
    ],
)
def test_a_longer_draw_begins_with_the_shorter(text: str) -> None:
    law = parse(text)
    assert law.draw_integers(rng(), 500)[:120] == law.draw_integers(rng(), 120)
    assert law.draw(rng(), 500)[:120].tolist() == law.draw(rng(), 120).tolist()


@pytest.mark.parametrize(
    ("text", "constant"), [("9", 9), (0, 0), ("constant(9,max=4)", 4), ("normal(9,0)", None), ("uniform(9,9)", None)]
)
def test_which_laws_have_one_value(text: str | float, constant: float | None) -> None:
    assert parse(text).constant == constant
