"""Demand: its grammar, users who think, growth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loadstone.capacity import demand
from loadstone.capacity.demand import Demand, load_per_replica, replicas_needed
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


@pytest.mark.parametrize(
    ("read", "text", "wanted"),
    [
        (demand.parse_rates, "40", (40,)),
        (demand.parse_rates, "10, 40,.5", (10, 40, 0.5)),
        (demand.parse_users, "500,2000", (500, 2000)),
        (demand.parse_prices, "2.50,4", (2.5, 4)),
        (demand.parse_gpus, "1,8", (1, 8)),
        (demand.parse_peak, "2.5", 2.5),
        (demand.parse_peak, "3x", 3),
        (demand.parse_headroom, "20%", 0.2),
        (demand.parse_headroom, "0.2", 0.2),
        (demand.parse_headroom, "0", 0),
        (demand.parse_growth, "10%/month", 1.1),
        (demand.parse_growth, "-5%/month", 0.95),
        (demand.parse_growth, "21%/quarter", 1.21 ** (1 / 3)),
        (demand.parse_growth, "100%/year", 2 ** (1 / 12)),
    ],
)
def test_grammar(read: Callable[[str], Any], text: str, wanted: Any) -> None:
    assert read(text) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("read", "text", "told"),
    [
        (demand.parse_rates, "0", "--rate takes requests/s above 0"),
        (demand.parse_rates, "-4", "--rate takes requests/s above 0"),
        (demand.parse_rates, "4,,5", "--rate takes requests/s above 0"),
        (demand.parse_rates, "inf", "--rate takes requests/s above 0"),
        (demand.parse_users, "many", "--users takes numbers above 0"),
        (demand.parse_prices, "0", "--price takes a price above 0"),
        (demand.parse_prices, "$2", "--price takes a price above 0"),
        (demand.parse_gpus, "0.5", "--gpus takes the number of GPUs"),
        (demand.parse_peak, "0.5", "--peak takes a factor of 1 or more"),
        (demand.parse_peak, "high", "--peak takes a factor of 1 or more"),
        (demand.parse_headroom, "100%", "--headroom takes a fraction below 100%"),
        (demand.parse_headroom, "20", "--headroom takes a fraction below 100%"),
        (demand.parse_growth, "10%", "--growth takes a percentage and a period"),
        (demand.parse_growth, "10%/week", "(month, quarter, year)"),
        (demand.parse_growth, "-100%/month", "less than nothing"),
    ],
)
def test_what_is_refused(read: Callable[[str], Any], text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert told in str(caught.value)
    assert repr(text) in str(caught.value)
