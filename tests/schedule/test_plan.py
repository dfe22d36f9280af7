"""Plans: one seed, one schedule; every row once before any comes twice; what is measured, and what is around it."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from loadstone.config.stages import parse_stages
from loadstone.errors import UsageError
from loadstone.schedule import plan
from loadstone.schedule.arrivals import ARRIVALS
from loadstone.schedule.plan import DatasetShape, Load, Plan

S = 1_000_000_000


def rows(count: int = 7, **more: Any) -> DatasetShape:
    return DatasetShape([f"p{number}" for number in range(count)], **more)


def written(load: Load, of: DatasetShape | None = None) -> bytes:
    return b"".join(plan.schedule_lines(plan.make_plan(load, of or rows())))


def lines(load: Load, of: DatasetShape | None = None) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in written(load, of).splitlines()]


@pytest.mark.parametrize("name", ARRIVALS)
def test_same_seed_same_bytes(name: str) -> None:
    load = Load(rate=10.0, arrivals=name, requests=50, shuffle=True, seed=3)
    assert written(load) == written(load)
    assert written(load) != written(msgspec.structs.replace(load, seed=4))


def test_constant_in_file_order_does_not_depend_on_the_seed() -> None:
    load = Load(rate=10.0, arrivals="constant", requests=50)
    assert written(load) == written(msgspec.structs.replace(load, seed=4))


def test_shuffling_leaves_the_arrivals_as_they_are() -> None:
    straight, shuffled = (
        plan.make_plan(Load(rate=5.0, requests=30, shuffle=shuffle), rows(7)) for shuffle in (False, True)
    )
    assert straight.offsets is not None
    assert shuffled.offsets is not None
    assert straight.offsets.tolist() == shuffled.offsets.tolist()


def test_file_order_repeats() -> None:
    assert [plan.make_plan(Load(requests=9), rows(4)).row(i) for i in range(9)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]


def test_shuffle_takes_every_prompt_once_an_epoch() -> None:
    shuffled = plan.make_plan(Load(requests=100, shuffle=True), rows(20))
    epochs = [tuple(shuffled.row(i) for i in range(start, start + 20)) for start in range(0, 100, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len(set(epochs)) == 5


def test_rows_may_be_asked_for_in_any_order() -> None:
    shuffled = plan.make_plan(Load(requests=100, shuffle=True), rows(20))
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
        (Load(rate=0.1, duration=1.0, arrivals="constant"), 1, 1),
        (Load(rate=1.0, requests=10, warmup_time=0.5, cooldown_time=0.5), 10, 10),
        (Load(rate=0.3, requests=10, warmup_time=5.0, cooldown_time=5.0), 14, 10),
    ],
)
def test_how_many(load: Load, total: int | None, expected: int | None) -> None:
    made = plan.make_plan(load, rows(5))
    assert (made.total, made.expected) == (total, expected)
    assert (made.offsets is None) == (load.rate is None)
    assert made.offsets is None or len(made.offsets) == total


def test_arrivals_of_a_duration_fit_into_it() -> None:
    for name in ARRIVALS:
        offsets = plan.make_plan(Load(rate=9.0, duration=11.0, arrivals=name), rows(5)).offsets
        assert offsets is not None
        assert len(offsets) == 99
        assert offsets[-1] <= 11 * S


def test_an_open_loop_needs_an_end() -> None:
    with pytest.raises(UsageError, match=r"^an open loop needs an end: give -n REQUESTS or --duration SECONDS$"):
        plan.make_plan(Load(rate=1.0), rows(5))


@pytest.mark.parametrize(
    "load",
    [
        Load(rate=0.1, duration=1.0),
        Load(rate=0.1, duration=1.0, rescale=False),
        Load(stages=parse_stages("1s@0.1"), rescale=False),
    ],
)
def test_a_load_without_requests_is_refused(load: Load) -> None:
    with pytest.raises(UsageError, match=r"^this load brings no request at all: give it more time, or a higher rate$"):
        plan.make_plan(load, rows())


@pytest.mark.parametrize("load", [Load(duration=5.0, cooldown=3), Load(stages=parse_stages("5s@c2"), cooldown=3)])
def test_a_cooldown_by_number_needs_a_number(load: Load) -> None:
    with pytest.raises(
        UsageError, match=r"^--cooldown takes a time, such as 10s, where it is a time that ends the run$"
    ):
        plan.make_plan(load, rows())


@pytest.mark.parametrize(
    ("load", "counts"),
    [
        (Load(arrivals="replay", requests=10, warmup=2, cooldown=3), (2, 10, 3)),
        (Load(arrivals="replay", duration=10.0, cooldown_time=5.0), (0, 10, 5)),
        (Load(arrivals="replay", duration=10.0, warmup_time=2.0, speed=2.0), (4, 20, 0)),
    ],
)
def test_a_replay_may_be_cut(load: Load, counts: tuple[int, int, int]) -> None:
    made = plan.make_plan(load, rows(60, recorded_at=[number * S for number in range(60)]))
    assert made.total is not None
    phases = [made.phase(place) for place in range(made.total)]
    assert (phases.count("warmup"), phases.count("measure"), phases.count("cooldown")) == counts


def test_warmup_comes_first() -> None:
    made = plan.make_plan(Load(requests=3, warmup=2), rows(5))
    assert [made.phase(i) for i in range(5)] == ["warmup", "warmup", "measure", "measure", "measure"]


@pytest.mark.parametrize(
    ("load", "prompts", "repeats"),
    [(Load(requests=5), 5, False), (Load(requests=5, warmup=1), 5, True), (Load(duration=9.0), 1, False)],
)
def test_repeats(load: Load, prompts: int, repeats: bool) -> None:
    assert plan.make_plan(load, rows(prompts)).repeats is repeats


def test_lines_open_loop() -> None:
    assert lines(Load(rate=4.0, arrivals="constant", requests=2, warmup=1)) == [
        {"index": 0, "phase": "warmup", "prompt": "p0", "offset": 0},
        {"index": 1, "phase": "measure", "prompt": "p1", "offset": 250_000_000},
        {"index": 2, "phase": "measure", "prompt": "p2", "offset": 500_000_000},
    ]


def test_lines_closed_loop() -> None:
    assert [(line["prompt"], line["offset"]) for line in lines(Load(requests=9))] == [
        (name, None) for name in itertools.islice(itertools.cycle([f"p{number}" for number in range(7)]), 9)
    ]


def test_lines_where_the_number_is_open_are_one_a_prompt() -> None:
    assert sorted(line["prompt"] for line in lines(Load(duration=1.0, shuffle=True))) == sorted(
        f"p{number}" for number in range(7)
    )


def test_one_prompt_is_enough() -> None:
    assert {Plan(Load(shuffle=True), rows(1), None, None).row(i) for i in range(50)} == {0}


TALKS = rows(3, turns=[1, 3, 2])


def test_requests_of_conversations_are_numbered_through() -> None:
    made = plan.make_plan(Load(requests=5), TALKS)
    assert [made.index(place) for place in range(6)] == [0, 1, 4, 6, 7, 10]
    assert made.index(1, turn=2) == 3
    assert (made.total, made.expected, made.requests) == (5, 10, 10)
    assert [line.get("turns") for line in lines(Load(requests=3), TALKS)] == [None, 3, 2]


def test_numbers_of_shuffled_conversations_leave_no_hole() -> None:
    made = plan.make_plan(Load(requests=9, shuffle=True, seed=5), TALKS)
    numbers = [made.index(place, turn) for place in range(9) for turn in range(int(made.turns[made.row(place)]))]
    assert numbers == list(range(18))


def test_names_of_conversations_differ_when_rows_repeat() -> None:
    made = plan.make_plan(Load(requests=6), TALKS)
    assert [made.conversation(place) for place in range(6)] == [None, "p1", "p2", None, "p1#2", "p2#2"]


@pytest.mark.parametrize(
    ("load", "phases"),
    [
        (Load(requests=2, warmup=1, cooldown=2), "wmmcc"),
        (Load(rate=2.0, requests=2, warmup_time=1.0, cooldown_time=1.5), "wwmmccc"),
        (Load(rate=1.0, duration=2.0, warmup=1, cooldown_time=2.0), "wmmcc"),
        (Load(arrivals="constant", stages=parse_stages("4s@1"), warmup_time=1.5, cooldown_time=0.5), "wwmc"),
        (Load(stages=parse_stages("6s@1"), arrivals="constant", cooldown=2), "mmmmcc"),
    ],
)
def test_what_is_around_the_measured_requests(load: Load, phases: str) -> None:
    made = plan.make_plan(load, rows())
    assert made.total is not None
    assert "".join(made.phase(place)[0] for place in range(made.total)) == phases
    assert made.expected == phases.count("m")


def test_replay_takes_recorded_instants_at_its_speed() -> None:
    recorded = rows(3, recorded_at=[0, 3 * S, 7 * S])
    made = plan.make_plan(Load(arrivals="replay", speed=2.0), recorded)
    assert made.offsets is not None
    assert made.offsets.tolist() == [0, 3 * S // 2, 7 * S // 2]
    with pytest.raises(UsageError, match=r"^--arrivals replay needs a dataset with recorded times"):
        plan.make_plan(Load(arrivals="replay"), rows(3))


def test_stages_of_rates() -> None:
    made = plan.make_plan(Load(stages=parse_stages("4s@2,2s@5"), arrivals="constant"), rows())
    assert made.offsets is not None
    assert [made.stage(place, 0) for place in range(18)] == [0] * 8 + [1] * 10
    assert (made.total, made.end) == (18, 6 * S)
    assert [line["stage"] for line in lines(made.load)] == [0] * 8 + [1] * 10


def test_stages_of_concurrencies_are_levels() -> None:
    made = plan.make_plan(Load(stages=parse_stages("4s@c2,3s@c2..c4")), rows())
    assert made.offsets is None
    assert made.levels == [(0, 2), (4 * S, 2), (5 * S, 3), (6 * S, 4)]
    assert (made.total, made.end, made.stage(0, S), made.stage(0, 4 * S), made.stage(0, 99 * S)) == (
        None,
        7 * S,
        0,
        1,
        1,
    )


def test_models_are_mixed_by_their_shares() -> None:
    made = plan.make_plan(Load(requests=20_000, models=(3.0, 1.0), seed=2), rows())
    other = plan.make_plan(Load(requests=20_000, models=(3.0, 1.0), seed=3), rows())
    drawn = [made.model(place) for place in range(20_000)]
    assert drawn.count(1) / 20_000 == pytest.approx(0.25, abs=0.01)
    assert drawn != [other.model(place) for place in range(20_000)]
    assert {line["model"] for line in lines(Load(requests=50, models=(3.0, 1.0)))} == {0, 1}


def test_cancelled_requests_are_known_before() -> None:
    made = plan.make_plan(Load(requests=1000, cancel_share=0.3), rows())
    assert sum(made.cancelled(index) for index in range(10_000)) == pytest.approx(3000, abs=150)
    assert [line["index"] for line in lines(made.load) if "cancelled" in line] == [
        index for index in range(1000) if made.cancelled(index)
    ]


def test_requests_go_round_and_conversations_may_stick() -> None:
    assert [plan.make_plan(Load(servers=2), TALKS).server(1, turn) for turn in range(3)] == [1, 0, 1]
    assert [plan.make_plan(Load(servers=2, sticky=True), TALKS).server(1, turn) for turn in range(3)] == [1, 1, 1]


def test_rows_that_were_used_before_are_passed_over() -> None:
    rows = DatasetShape([f"p{row}" for row in range(5)])
    made = plan.make_plan(Load(concurrency=1, requests=3, skip=4), rows)
    assert [made.row(place) for place in range(3)] == [4, 0, 1]
    assert [made.index(place) for place in range(3)] == [0, 1, 2]
    assert made.repeats
    assert not plan.make_plan(Load(concurrency=1, requests=3, skip=2), rows).repeats


def test_a_shuffle_goes_on_where_it_stopped() -> None:
    rows = DatasetShape([f"p{row}" for row in range(10)])
    whole = plan.make_plan(Load(concurrency=1, requests=10, shuffle=True, seed=3), rows)
    second = plan.make_plan(Load(concurrency=1, requests=5, shuffle=True, seed=3, skip=5), rows)
    assert [second.row(place) for place in range(5)] == [whole.row(place) for place in range(5, 10)]


def test_conversations_behind_others_are_numbered_from_0() -> None:
    rows = DatasetShape(["a", "b", "c"], turns=[3, 1, 2])
    made = plan.make_plan(Load(concurrency=1, requests=3, skip=2), rows)
    assert [made.index(place) for place in range(3)] == [0, 2, 5]
    assert [made.conversation(place) for place in range(3)] == ["c", "a#2", None]


def test_arrivals_behind_others_are_others() -> None:
    rows = DatasetShape([f"p{row}" for row in range(100)])
    first, second = (plan.make_plan(Load(rate=10.0, requests=20, skip=skip), rows).offsets for skip in (0, 20))
    assert first is not None
    assert second is not None
    assert first.tolist() != second.tolist()


def test_recorded_times_cannot_be_passed_over() -> None:
    with pytest.raises(UsageError, match="give --from to begin so far into recorded times"):
        plan.make_plan(Load(arrivals="replay", skip=3), DatasetShape(["a", "b"], recorded_at=[0, 5]))
