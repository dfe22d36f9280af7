"""Test what a dead process owed: requests in flight or due, each once, and none that was not due yet."""

from __future__ import annotations

import pytest

from loadstone.config.stages import parse_stages
from loadstone.engine.lost_requests import WrittenRecords, missing_records, open_slots
from loadstone.records import Failure, FailureCause, Record
from loadstone.schedule import plan
from loadstone.schedule.partition import Partition, split_plan
from loadstone.schedule.plan import DatasetShape, Load, Plan

S = 1_000_000_000
SINGLE = [1] * 5


def made(load: Load, turns: list[int] = SINGLE) -> Plan:
    return plan.make_plan(load, DatasetShape([f"r{i}" for i in range(len(turns))], turns))


def wrote(*indexes: int, failed: tuple[int, ...] = ()) -> WrittenRecords:
    bad = Failure(FailureCause.TIMEOUT, "late")
    return WrittenRecords(
        Record(index=index, prompt="p", scheduled=0, end=1, error=bad if index in failed else None) for index in indexes
    )


def lost(whole: Plan, share: Partition, written: WrittenRecords, at: float, slots: int = 1) -> list[Record]:
    return list(missing_records(whole, share, written, round(at * S), slots, "its process died"))


def test_an_open_loop_owes_what_was_due() -> None:
    whole = made(Load(rate=1.0, arrivals="constant", requests=20))
    share = split_plan(whole, 2)[1]  # due at 1, 3, 5, ... s
    records = lost(whole, share, wrote(1, 3), 7.5)
    assert [(record.index, record.scheduled, record.end) for record in records] == [
        (5, 5 * S, round(7.5 * S)),
        (7, 7 * S, round(7.5 * S)),
    ]
    assert {record.error for record in records} == {Failure(FailureCause.STOPPED, "its process died")}
    assert {(record.worker, record.sent, record.first) for record in records} == {(1, None, None)}


def test_a_closed_loop_owes_what_its_slots_had_taken() -> None:
    """Slots take places in their order, so what is under way are the first that have no record."""
    whole = made(Load(concurrency=4, requests=40))
    share = split_plan(whole, 2)[0]  # 0 2 4 6 ...
    assert [record.index for record in lost(whole, share, wrote(0, 2, 6, 8), 3.0, slots=2)] == [4, 10]


def test_nothing_is_owed_where_everything_is_written() -> None:
    whole = made(Load(concurrency=2, requests=6))
    assert lost(whole, split_plan(whole, 2)[0], wrote(0, 2, 4), 3.0, slots=1) == []


def test_the_end_of_a_closed_loop_leaves_fewer_than_its_slots() -> None:
    whole = made(Load(concurrency=4, requests=6))
    assert [record.index for record in lost(whole, split_plan(whole, 2)[1], wrote(1), 3.0, slots=2)] == [3, 5]


def test_a_closed_loop_without_a_number_owes_its_slots_too() -> None:
    whole = made(Load(concurrency=3, duration=60.0))
    assert [record.index for record in lost(whole, split_plan(whole, 3)[2], wrote(2, 5), 3.0, slots=1)] == [8]


@pytest.mark.parametrize(
    ("written", "turn", "abandoned"),
    [((), 1, 3), ((0,), 2, 2), ((0, 1, 2), 4, 0)],
)
def test_a_conversation_owes_its_next_turn(written: tuple[int, ...], turn: int, abandoned: int) -> None:
    whole = made(Load(concurrency=1, requests=2), [4, 1])
    (record,) = lost(whole, Partition(), wrote(*written), 9.0)
    assert (record.index, record.turn, record.abandoned, record.conversation) == (turn - 1, turn, abandoned, "r0")


def test_a_conversation_that_failed_owes_nothing() -> None:
    whole = made(Load(concurrency=1, requests=1), [4])
    assert lost(whole, Partition(), wrote(0, 1, failed=(1,)), 9.0) == []


def test_warm_up_stays_warm_up() -> None:
    whole = made(Load(concurrency=2, requests=4, warmup=2))
    assert [record.phase for record in lost(whole, Partition(cycle=2), wrote(), 1.0, slots=2)] == ["warmup", "warmup"]


def test_before_the_beginning_nothing_was_due() -> None:
    whole = made(Load(concurrency=2, requests=4))
    assert lost(whole, split_plan(whole, 2)[0], wrote(), -0.05) == []


@pytest.mark.parametrize("around", [{"warmup_time": 2.0}, {"cooldown_time": 2.0}], ids=["warm-up", "cool-down"])
def test_places_that_a_time_has_added_are_owed_too(around: dict[str, float]) -> None:
    whole = made(Load(concurrency=2, requests=4, **around))
    (record,) = lost(whole, split_plan(whole, 2)[1], wrote(1, 3, 5), 1.0)
    assert record.index == 7
    assert record.phase == ("warmup" if "warmup_time" in around else "measure")


@pytest.mark.parametrize(
    ("at", "in_flight", "worker", "expected"),
    [(0.5, 0, 2, 0), (0.5, 0, 0, 1), (1.5, 0, 2, 3), (2.5, 0, 2, 0), (2.5, 2, 2, 2)],
    ids=["none yet", "the only one", "high", "low again", "low again, and two not over"],
)
def test_slots_are_those_of_the_time(at: float, in_flight: int, worker: int, expected: int) -> None:
    whole = made(Load(stages=parse_stages("1s@c1,1s@c9,1s@c1")))
    assert open_slots(whole, split_plan(whole, 3)[worker], round(at * S), in_flight) == expected
