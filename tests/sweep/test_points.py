"""Which rates tell what a server carried under the load that was asked for."""

from __future__ import annotations

import msgspec
import pytest

from loadstone.results import measure
from loadstone.summary import Summary
from loadstone.sweep.points import rates_under_load
from support.example_run import records, run


def summary(loop: str, ended: float = 100.0) -> Summary:
    """One whose steady window lasts 2 s with 8 in flight, of which so many `ended`."""
    told = measure(records(), run() | {"schedule": {"loop": loop}})
    assert told.steady is not None
    rates = told.steady.rates | {"qps": ended / 2, "concurrency": 8.0}
    return msgspec.structs.replace(told, steady=msgspec.structs.replace(told.steady, start=1.0, end=3.0, rates=rates))


@pytest.mark.parametrize(
    ("loop", "ended", "steady"),
    [("closed", 100, True), ("closed", 8, True), ("closed", 7, False), ("open", 100, False)],
)
def test_rates_of_a_load(loop: str, ended: int, steady: bool) -> None:
    found = summary(loop, ended)
    assert found.steady is not None
    assert rates_under_load(found) == (found.steady.rates if steady else found.rates)


def test_a_run_without_a_steady_window() -> None:
    found = msgspec.structs.replace(summary("closed"), steady=None)
    assert rates_under_load(found) == found.rates
