"""Demand: its grammar, users who think, growth."""

from __future__ import annotations

from typing import Any

import pytest

from loadstone.capacity.demand import Demand, load_per_replica, replicas_needed
from loadstone.capacity.settings import PlanSettings
from loadstone.config import flags
from loadstone.errors import UsageError


def test_a_rate_is_spread_evenly() -> None:
    assert load_per_replica(Demand(rate=30), 4, lambda _: 1.0) == 7.5
    assert replicas_needed(Demand(rate=30), 7.5, lambda _: 1.0) == 4
    assert replicas_needed(Demand(rate=30.001), 7.5, lambda _: 1.0) == 5
    assert replicas_needed(Demand(rate=0.001), 7.5, lambda _: 1.0) == 1


def test_a_sum_of_floats_takes_no_replica_more() -> None:
    assert replicas_needed(Demand(rate=0.1 + 0.2), 0.1, lambda _: 1.0) == 3


def test_users_with_think_time_by_hand() -> None:
    """300 users, 20 s to think, 5 s to answer: 300 / 25 = 12 requests/s, on two replicas 6 each."""
    users = Demand(users=300, think=20)
    assert load_per_replica(users, 1, lambda _: 5.0) == pytest.approx(12)
    assert load_per_replica(users, 2, lambda _: 5.0) == pytest.approx(6)


def test_users_slow_down_a_slow_server() -> None:
    """R(X) = X seconds: N = X (Z + X), and with N = 24 and Z = 2 that is X = 4."""
    users = Demand(users=24, think=2)
    assert load_per_replica(users, 1, lambda rate: rate) == pytest.approx(4)
    assert replicas_needed(users, 4.0, lambda rate: rate) == 1
    assert replicas_needed(users, 3.9, lambda rate: rate) == 2


def test_users_without_think_time() -> None:
    assert load_per_replica(Demand(users=8, think=0), 1, lambda _: 0.5) == pytest.approx(16)


def test_no_replica_gets_more_than_the_most() -> None:
    def response(rate: float) -> float:
        return 0.5 + rate / 10

    for users in (1, 10, 99, 1234):
        for most in (0.5, 3.0, 7.7):
            asked = Demand(users=users, think=10)
            count = replicas_needed(asked, most, response)
            assert load_per_replica(asked, count, response) <= most * (1 + 1e-6)
            assert count == 1 or load_per_replica(asked, count - 1, response) > most


def test_times_and_words() -> None:
    assert Demand(rate=4).times(2.5) == Demand(rate=10)
    assert Demand(users=4, think=7).times(2).users == 8
    assert str(Demand(rate=40)) == "40 requests/s"
    assert str(Demand(users=1500, think=20)) == "1,500 users, 20 s think time"


def settings(**given: Any) -> PlanSettings:
    """The settings of a plan as a file or flags give them."""
    made = flags.from_mapping(PlanSettings, given, "plan")
    made.check()
    return made


@pytest.mark.parametrize(
    ("given", "name", "wanted"),
    [
        ({"rate": "40"}, "demands", (Demand(rate=40.0),)),
        ({"rate": 40}, "demands", (Demand(rate=40.0),)),
        ({"rate": "10, 40,.5"}, "demands", (Demand(rate=10.0), Demand(rate=40.0), Demand(rate=0.5))),
        ({"rate": [10, "40"]}, "demands", (Demand(rate=10.0), Demand(rate=40.0))),
        ({"users": "500,2000", "think": "1m"}, "demands", (Demand(users=500, think=60), Demand(users=2000, think=60))),
        ({"users": 5, "think": 0}, "demands", (Demand(users=5, think=0),)),
        ({"rate": 1, "price": "2.50,4"}, "price", [2.5, 4]),
        ({"rate": 1, "gpus": "1,8"}, "gpus", [1, 8]),
        ({"rate": 1, "peak": "2.5"}, "peak", 2.5),
        ({"rate": 1, "peak": "3x"}, "peak", 3),
        ({"rate": 1, "headroom": "20%"}, "headroom", 0.2),
        ({"rate": 1, "headroom": 0.2}, "headroom", 0.2),
        ({"rate": 1, "growth": "10%/month"}, "growth", pytest.approx(1.1)),
        ({"rate": 1, "growth": "-5%/month"}, "growth", pytest.approx(0.95)),
        ({"rate": 1, "growth": "21%/quarter"}, "growth", pytest.approx(1.21 ** (1 / 3))),
        ({"rate": 1, "growth": "100%/year"}, "growth", pytest.approx(2 ** (1 / 12))),
    ],
)
def test_grammar(given: dict[str, Any], name: str, wanted: Any) -> None:
    assert getattr(settings(**given), name) == wanted


def test_months_follow_growth() -> None:
    def months(**given: Any) -> int:
        return settings(rate=1, **given).requirements([]).months

    assert [months(), months(growth="1%/month"), months(growth="0%/year"), months(growth="1%/month", months=0)] == [
        *(0, 12, 12, 0),
    ]


def test_one_value_or_one_for_each_sweep() -> None:
    made = settings(rate=1, price="2.5", gpus="1,4")
    assert made.for_each_sweep("price", 3) == [2.5, 2.5, 2.5]
    assert made.for_each_sweep("gpus", 2) == [1, 4]
    assert settings(rate=1).for_each_sweep("gpus", 2) == [None, None]
    with pytest.raises(UsageError, match="--gpus takes one value, or one for each of the 3 sweeps, not 2"):
        made.for_each_sweep("gpus", 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": "0"}, "--rate takes a number above 0, not 0.0"),
        ({"rate": [4, -4]}, "--rate takes a number above 0, not -4.0"),
        ({"rate": "4,,5"}, "--rate takes a number or several such as 10,40,160, not '4,,5'"),
        ({"rate": "inf"}, "--rate takes a number above 0, not inf"),
        ({"users": "many", "think": 1}, "--users takes a number or several such as 10,40,160, not 'many'"),
        ({"rate": 1, "price": "0"}, "--price takes a number above 0, not 0.0"),
        ({"rate": 1, "price": "$2"}, "--price takes a number or several such as 10,40,160, not '$2'"),
        ({"rate": 1, "gpus": "0.5"}, "--gpus takes a whole number or several such as 1,4, not '0.5'"),
        ({"rate": 1, "peak": "0.5"}, "--peak takes 1 or more, not 0.5"),
        ({"rate": 1, "peak": "high"}, "--peak takes a factor such as 2.5, not 'high'"),
        ({"rate": 1, "headroom": "100%"}, "--headroom takes a fraction below 100%, not 1"),
        ({"rate": 1, "headroom": 20}, "--headroom takes a fraction below 100%, not 20"),
        ({"rate": 1, "growth": "10%"}, "such as 10%/month, not '10%'"),
        ({"rate": 1, "growth": "10%/week"}, "(month, quarter, year)"),
        ({"rate": 1, "growth": "-100%/month"}, "--growth takes a percentage above -100%"),
    ],
)
def test_what_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(**given)
    assert said in str(caught.value)
