"""Conversations, stages, several servers and models, cancellations: the runner in virtual time, on scripted answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from loadstone.apis import RequestSettings
from loadstone.apis.openai import Chat
from loadstone.config.schema import Config
from loadstone.config.stages import parse_stages
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.runner import LAST, Runner
from loadstone.engine.sender import Endpoint, Sender
from loadstone.records import Failure, FailureCause, Prompt, Record, next_prompt
from loadstone.schedule.plan import DatasetShape, Load, make_plan
from loadstone.transport import Request, TransportError
from support import virtual_time
from support.streams import DONE, chunk
from support.virtual_runs import PATH, Run, S, at, steady
from support.virtual_time import Scripted, Step

TALK = Prompt(
    id="talk",
    messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "one"}],
    later=[Prompt(id="talk", text="two", think=2.0), Prompt(id="talk", text="three", think=0.5)],
)
ALONE = Prompt(id="alone", text="hello")


def body(request: Request) -> Any:
    return json.loads(request.body)


class Talker(Scripted):
    """Answers `said <number>` with some reasoning before it, and keeps what it was asked."""

    def __init__(self, failing: Sequence[int] = ()) -> None:
        super().__init__(self._answer)
        self.asked: list[Any] = []
        self._failing = failing

    def _answer(self, number: int, request: Request) -> Sequence[Step]:
        self.asked.append(body(request))
        if number in self._failing:
            return [(0.25, TransportError(Failure(FailureCause.CONNECT, "connection refused")))]
        thought, words = chunk({"reasoning_content": "hm"}), chunk({"content": f"said {number}"})
        end = chunk({}, finish="stop") + DONE
        return [(0.5, thought), (0.25, words), (0.25, end)]


def test_turns_wait_for_the_answer_and_the_thought() -> None:
    run = Run(Load(concurrency=1, requests=1), Talker(), rows=[TALK])
    assert run.go() == "done"
    assert run.transport.started == [0, 3.0, 4.5]
    assert [(r.index, r.turn, r.conversation, r.scheduled, r.sent) for r in run.records] == [
        (0, 1, "talk", 0, 0),
        (1, 2, "talk", 3 * S, 3 * S),
        (2, 3, "talk", 9 * S // 2, 9 * S // 2),
    ]
    assert run.carrier.send_lags.tolist() == [0, 0, 0]


def test_the_history_holds_the_answers_and_not_the_reasoning() -> None:
    talker = Talker()
    Run(Load(concurrency=1, requests=1), talker, rows=[TALK]).go()
    assert talker.asked[2]["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "said 0"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "said 1"},
        {"role": "user", "content": "three"},
    ]


def test_texts_of_conversations_are_not_kept_unless_asked_for() -> None:
    run = Run(Load(concurrency=1, requests=1), Talker(), rows=[TALK])
    run.go()
    assert {record.text for record in run.records} == {None}


def test_a_failed_turn_ends_its_conversation() -> None:
    run = Run(Load(concurrency=1, requests=2), Talker(failing=[1]), rows=[TALK, ALONE])
    run.go()
    first, second, alone = run.by_index()
    assert (first.error, first.abandoned) == (None, 0)
    assert second.error == Failure(FailureCause.CONNECT, "connection refused")
    assert (second.turn, second.abandoned) == (2, 1)
    assert (alone.index, alone.conversation, alone.turn, alone.error) == (3, None, None, None)


def test_conversations_arrive_at_a_rate() -> None:
    run = Run(Load(rate=1.0, arrivals="constant", requests=3), Talker(), rows=[TALK])
    run.go()
    assert [r.sent for r in run.by_index() if r.turn == 1] == [0, S, 2 * S]
    assert [r.index for r in run.by_index()] == list(range(9))


def test_c_conversations_at_a_time() -> None:
    run = Run(Load(concurrency=2, requests=4), Talker(), rows=[TALK])
    run.go()
    assert [r.sent for r in run.by_index() if r.turn == 1] == [0, 0, 11 * S // 2, 11 * S // 2]


def test_a_stop_does_not_wait_for_a_thought() -> None:
    slow = msgspec.structs.replace(TALK, later=[Prompt(id="talk", text="two", think=3600.0)])
    run = Run(Load(concurrency=1), Talker(), rows=[slow], duration=5.0, grace=1.0)
    ended: list[float] = []

    async def work() -> None:
        import asyncio

        await run.runner.run()
        ended.append(asyncio.get_running_loop().time())

    virtual_time.run(work())
    assert ended == [5.0]
    assert [record.error for record in run.records] == [None]


def test_what_follows_an_answer() -> None:
    turn = Prompt(id="x", text="and?", output_len=7)
    asked = next_prompt(Prompt(id="x", text="why?"), "because", turn)
    assert asked.messages == [
        {"role": "user", "content": "why?"},
        {"role": "assistant", "content": "because"},
        {"role": "user", "content": "and?"},
    ]
    assert (asked.text, asked.output_len) == (None, 7)


# Stages and phases


def in_flight(records: Sequence[Record], when: float) -> int:
    return sum((r.sent or 0) <= when * S < r.end for r in records)


def test_concurrency_follows_its_stages() -> None:
    run = Run(Load(stages=parse_stages("10s@c1,10s@c3,10s@c2")), Scripted(steady(ttft=0.4, itl=0.1)), grace=5.0)
    assert run.go() == "stages"
    assert [in_flight(run.records, when) for when in (5.05, 15.05, 25.05)] == [1, 3, 2]
    assert {r.stage for r in run.records if (r.sent or 0) < 10 * S} == {0}
    assert max(r.sent or 0 for r in run.records) < 30 * S
    assert {r.error for r in run.records} == {None}


def test_a_level_that_falls_lets_what_is_in_flight_finish() -> None:
    run = Run(Load(stages=parse_stages("1s@c4,3s@c1")), Scripted(steady(ttft=1.5, itl=0.0)), grace=5.0)
    run.go()
    assert [r.sent for r in run.by_index()] == [0, 0, 0, 0, 3 * S // 2, 3 * S]
    assert {r.error for r in run.records} == {None}


def test_stages_of_rates_end_with_what_they_brought() -> None:
    run = Run(Load(stages=parse_stages("4s@2,2s@5"), arrivals="constant"), Scripted(steady(ttft=0.5)), grace=1.0)
    assert run.go() == "stages"
    assert [r.stage for r in run.by_index()] == [0] * 8 + [1] * 10
    assert {r.error for r in run.records} == {None}


def test_what_outlives_the_stages_has_the_grace() -> None:
    run = Run(Load(stages=parse_stages("2s@1"), arrivals="constant"), Scripted(steady(ttft=30)), grace=1.0)
    run.go()
    assert [(r.error or Failure(FailureCause.EMPTY, "")).kind for r in run.records] == ["stopped", "stopped"]
    assert {r.end for r in run.records} == {3 * S + LAST}


def test_stages_end_by_time_under_a_cap() -> None:
    load = Load(stages=parse_stages("2s@10"), arrivals="constant", concurrency=1)
    run = Run(load, Scripted(steady(ttft=5.0)), grace=1.0)
    assert run.go() == "stages"
    assert max(r.end for r in run.records) == 3 * S + LAST
    assert [r.sent is None for r in run.by_index()] == [False] + [True] * 19


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("around", [{"warmup_time": 5.0}, {"warmup": 50}, {"cooldown": 20}, {"cooldown_time": 2.0}])
def test_an_open_loop_sends_all_that_it_planned(seed: int, around: dict[str, Any]) -> None:
    run = Run(Load(rate=10.0, duration=10.0, seed=seed, **around), Scripted(steady()), duration=10.0)
    run.go()
    assert len(run.records) == run.plan.total
    assert sum(r.phase == "measure" for r in run.records) == run.plan.expected == 100


def test_a_cooldown_by_time_lasts_its_time() -> None:
    load = Load(concurrency=1, requests=8, cooldown_time=3.0)
    run = Run(load, Scripted(steady(ttft=1.0, itl=0.0)), duration=5.0, grace=9.0)
    assert run.go() == "duration"
    assert "".join(r.phase[0] for r in run.by_index()) == "mmmmmccc"


def test_stages_of_concurrencies_cool_down_by_time() -> None:
    run = Run(Load(stages=parse_stages("5s@c1"), cooldown_time=2.0), Scripted(steady(ttft=1.0, itl=0.0)), grace=9.0)
    run.go()
    assert "".join(r.phase[0] for r in run.by_index()) == "mmmcc"


def test_turns_that_there_was_no_time_for_are_counted() -> None:
    run = Run(Load(concurrency=1), Talker(), rows=[TALK], duration=2.0, grace=9.0)
    run.go()
    assert (len(run.records), run.runner.unsent_turns) == (1, 2)


@pytest.mark.parametrize(
    ("load", "duration", "phases"),
    [
        (Load(concurrency=1, warmup_time=2.0, cooldown_time=1.0), 3.0, "wwmmmc"),
        (Load(concurrency=1, requests=3, warmup_time=2.0), None, "wwmmm"),
        (Load(concurrency=1, requests=3, cooldown_time=2.0), None, "mmmcc"),
        (Load(concurrency=1, requests=2, warmup=1, cooldown=1), None, "wmmc"),
    ],
)
def test_phases_of_a_closed_loop(load: Load, duration: float | None, phases: str) -> None:
    run = Run(load, Scripted(steady(ttft=1.0, itl=0.0)), duration=duration, grace=10.0)
    run.go()
    assert "".join(r.phase[0] for r in run.by_index()) == phases
    assert {r.error for r in run.records} == {None}


def test_ten_minutes_at_50_a_second_drift_by_nothing() -> None:
    run = Run(Load(rate=50.0, requests=30_000), Scripted(lambda *_: [(0.0, DONE)]), prompts=3)
    run.go()
    drift = [(r.sent or 0) - r.scheduled for r in run.records]
    assert len(drift) == 30_000
    assert max(map(abs, drift)) <= 1_000  # ns: the virtual clock is a float
    assert max(r.scheduled for r in run.records) == 600 * S


# Servers, models, ids, cancellations


def test_several_servers_and_models() -> None:
    transports = [Talker(), Talker()]
    rows = [Prompt(id=f"p{number}", text="x") for number in range(40)]
    settings = [RequestSettings(model="base"), RequestSettings(model="lora")]
    records: list[Record] = []
    plan = make_plan(
        Load(concurrency=1, requests=40, servers=2, models=(1.0, 1.0)), DatasetShape([row.id for row in rows])
    )
    jobs = PreparedRequests(rows, Chat(), settings, PATH, ())
    doors = [Endpoint(transports[0], PATH), Endpoint(transports[1], "/other/chat/completions")]
    carrier = Sender(plan, jobs, Chat(), doors, records.append, clock=virtual_time.clock)
    virtual_time.run(Runner(carrier, stagger=0).run())
    assert [r.server for r in records] == [0, 1] * 20
    assert [len(transport.asked) for transport in transports] == [20, 20]
    asked = [transports[r.server or 0].asked[number // 2]["model"] for number, r in enumerate(records)]
    assert asked == [r.model for r in records]
    assert {r.model for r in records} == {"base", "lora"}


def test_request_ids_are_sent_and_recorded() -> None:
    seen = []

    def script(number: int, request: Request) -> Sequence[Step]:
        seen.append(dict(request.own_headers).get("X-Request-Id"))
        return steady()(number, request)

    rows = [ALONE, Prompt(id="own", text="x", headers={"x-request-id": "theirs"})]
    run = Run(Load(concurrency=1, requests=2), Scripted(script), rows=rows, request_ids="run7-")
    run.go()
    assert [r.request_id for r in run.records] == ["run7-0", "theirs"]
    assert seen == ["run7-0", None]


def test_requests_are_taken_back_after_a_while() -> None:
    load = Load(concurrency=1, requests=40, cancel_share=0.5, seed=1)
    run = Run(load, Scripted(steady(ttft=0.5, itl=0.5)), limits=Config(cancel_after=0.75))
    run.go()
    taken = [r for r in run.by_index() if r.error is not None]
    assert [r.index for r in taken] == [index for index in range(40) if run.plan.cancelled(index)]
    assert {r.error for r in taken} == {Failure(FailureCause.CANCELLED, "cancelled after 0.75 s (--cancel-after)")}
    assert {r.end - (r.sent or 0) for r in taken} == {3 * S // 4}
    assert run.carrier.failed == 0
    assert run.transport.cancelled == len(taken)


def test_an_answer_that_is_quicker_than_the_client_is_a_success() -> None:
    run = Run(Load(concurrency=1, requests=5, cancel_share=1.0), Scripted(steady()), limits=Config(cancel_after=9.0))
    run.go()
    assert {r.error for r in run.records} == {None}


def test_a_run_may_be_stopped_between_two_stages() -> None:
    run = Run(Load(stages=parse_stages("60s@c1,60s@c2")), Scripted(steady()), grace=1.0)
    assert run.go(at(1.0, lambda runner: runner.stop("interrupted", 5.0))) == "interrupted"
    assert {r.error for r in run.records} == {None}
