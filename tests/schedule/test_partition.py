"""Test plans split over processes: every position once, at its own time, in proportion to the slots."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from loadstone.apis import base
from loadstone.apis.openai import Chat
from loadstone.config.schema import Config
from loadstone.config.stages import parse_stages
from loadstone.engine.progress_digest import Progress
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.runner import Runner
from loadstone.engine.sender import Endpoint, Sender
from loadstone.engine.worker import WorkerResult
from loadstone.engine.worker_messages import (
    FrameSplitter,
    Ready,
    Refusal,
    SetConcurrency,
    StartSignal,
    Stop,
    WorkerSpec,
    decode_from_worker,
    decode_to_worker,
    encode_frame,
    pack_plan,
    unpack_plan,
)
from loadstone.records import Prompt, Record
from loadstone.schedule import plan
from loadstone.schedule.partition import Partition, split_plan
from loadstone.schedule.plan import DatasetShape, Load, Plan
from support import virtual_time
from support.streams import answer
from support.virtual_time import Scripted, Step

PATH = "/v1/chat/completions"
TURNS = [1, 3, 2, 1, 4]
OPEN = Load(rate=20.0, requests=90, seed=3, shuffle=True, models=(2.0, 1.0), servers=3, cancel_share=0.2)
LOADS = {
    "open": OPEN,
    "with a cap": Load(rate=20.0, requests=90, concurrency=7, seed=1),
    "with warm-up": Load(rate=20.0, requests=60, warmup=7, cooldown=5, seed=1),
    "by time": Load(rate=30.0, duration=4.0, arrivals="gamma", burstiness=0.5, seed=9),
    "stages": Load(stages=parse_stages("2s@5,4s@5..20"), seed=4),
    "closed": Load(concurrency=10, requests=83, seed=2, shuffle=True),
    "closed and warm": Load(concurrency=7, requests=40, warmup=9, cooldown=4),
}


def made(load: Load, turns: list[int] = TURNS) -> Plan:
    return plan.make_plan(load, DatasetShape([f"r{i}" for i in range(len(turns))], turns))


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_every_place_belongs_to_one_process(load: Load, workers: int) -> None:
    whole = made(load)
    assert whole.total is not None
    shares = split_plan(whole, workers)
    assert len(shares) == workers
    dealt = [share.positions(whole.total).tolist() for share in shares]
    assert sorted(place for places in dealt for place in places) == list(range(whole.total))
    for share, places in zip(shares, dealt, strict=True):
        assert share.count(whole.total) == len(places)
        assert [share.position(ordinal) for ordinal in range(len(places))] == places


@pytest.mark.parametrize(("slots", "workers", "each"), [(10, 4, [3, 3, 2, 2]), (8, 3, [3, 3, 2]), (5, 1, [5])])
def test_slots_are_dealt_out_exactly_and_places_in_proportion(slots: int, workers: int, each: list[int]) -> None:
    shares = split_plan(made(Load(concurrency=slots, requests=100 * slots)), workers)
    assert [share.slots(slots) for share in shares] == each
    assert [share.count(100 * slots) for share in shares] == [100 * own for own in each]


def test_arrivals_are_dealt_out_by_their_number_modulo_the_processes() -> None:
    assert [share.positions(10).tolist() for share in split_plan(made(OPEN), 3)] == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize(
    ("load", "workers"),
    [
        (Load(concurrency=2, requests=50), 2),
        (Load(concurrency=50, requests=3), 3),
        (Load(rate=5.0, requests=100, concurrency=1), 1),
        (Load(stages=parse_stages("1s@c1,1s@c1..c3")), 3),
    ],
)
def test_no_process_is_started_that_has_nothing_to_do(load: Load, workers: int) -> None:
    assert len(split_plan(made(load), 8)) == workers


def script(number: int, request: object) -> list[Step]:
    return [(0.25, b"".join(answer(2)))]


def carried(load: Load, workers: int) -> list[Record]:
    """What `workers` runners on one virtual clock record, each with its share."""
    records: list[Record] = []
    rows = [Prompt(id=f"r{i}", text="hi", later=[Prompt(id="", text="on")] * (n - 1)) for i, n in enumerate(TURNS)]

    async def work() -> None:
        shares = split_plan(made(load), workers)
        runners = []
        for share in shares:
            jobs = PreparedRequests(rows, Chat(), [base.RequestSettings(model=name) for name in ("a", "b")], PATH, ())
            endpoints = [Endpoint(Scripted(script), PATH)] * load.servers
            sender = Sender(
                made(load), jobs, Chat(), endpoints, records.append, clock=virtual_time.clock, worker=share.worker
            )
            runners.append(Runner(sender, stagger=0, partition=share))
        await asyncio.gather(*(runner.run(0) for runner in runners))

    virtual_time.run(work())
    return sorted(records, key=lambda record: record.index)


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes_send_what_one_would(load: Load, workers: int) -> None:
    alone, together = carried(load, 1), carried(load, workers)
    said = ("index", "phase", "prompt", "conversation", "turn", "stage", "model", "server")
    for name in said:
        assert [getattr(record, name) for record in together] == [getattr(record, name) for record in alone], name
    assert {record.worker for record in together} == set(range(workers))
    if load.rate and not load.concurrency:
        planned = [record.scheduled for record in alone]
        assert [record.scheduled for record in together] == planned
        assert [record.sent for record in together] == [record.sent for record in alone]


def test_a_conversation_stays_with_one_process() -> None:
    workers: dict[str, set[int]] = {}
    for record in carried(LOADS["closed"], 3):
        workers.setdefault(record.conversation or f"single {record.index}", set()).add(record.worker)
    assert any(not name.startswith("single") for name in workers)
    assert all(len(found) == 1 for found in workers.values())


def test_slots_in_flight_are_never_more_than_asked() -> None:
    records = carried(Load(concurrency=7, requests=70), 3)
    for record in records:
        assert record.sent is not None
        flying = Counter(other.worker for other in records if (other.sent or 0) <= record.sent < other.end)
        assert max(flying[0] - 3, flying[1] - 2, flying[2] - 2) <= 0


def test_a_runner_that_is_led_holds_the_level_it_is_told() -> None:
    """The level comes from outside: up at once, down as requests end, and the run ends when it is stopped."""
    records: list[Record] = []
    flights: dict[float, int] = {}

    async def work() -> str:
        jobs = PreparedRequests([Prompt(id="p", text="hi")], Chat(), [base.RequestSettings(model="m")], PATH, ())
        whole = plan.make_plan(Load(concurrency=1, duration=99.0), DatasetShape(["p"]))
        sender = Sender(
            whole, jobs, Chat(), [Endpoint(Scripted(script), PATH)], records.append, clock=virtual_time.clock
        )
        runner = Runner(
            sender,
            stagger=0,
            grace=5.0,
            partition=Partition(worker=1, workers=2, cycle=2),
            live_concurrency=True,
        )
        loop = asyncio.get_running_loop()
        for at, level in ((1.0, 4), (2.0, 9), (3.0, 2), (4.0, 0), (5.0, 3)):
            loop.call_later(at, runner.set_concurrency, level)
            loop.call_later(at + 0.9, lambda at=at: flights.update({at: len(sender.in_flight)}))
        loop.call_later(6.0, runner.stop, "stopped", 5.0)
        return await runner.run()

    assert virtual_time.run(work()) == "stopped"
    assert flights == {1.0: 4, 2.0: 9, 3.0: 2, 4.0: 0, 5.0: 3}
    assert all(record.index % 2 == 1 and record.error is None for record in records)
    assert len({record.index for record in records}) == len(records)


def test_a_led_runner_ends_when_everything_is_sent() -> None:
    records: list[Record] = []

    async def work() -> str:
        jobs = PreparedRequests([Prompt(id="p", text="hi")], Chat(), [base.RequestSettings(model="m")], PATH, ())
        whole = plan.make_plan(Load(concurrency=1, requests=11), DatasetShape(["p"]))
        sender = Sender(
            whole, jobs, Chat(), [Endpoint(Scripted(script), PATH)], records.append, clock=virtual_time.clock
        )
        runner = Runner(sender, stagger=0, partition=Partition(worker=0, workers=2, cycle=2), live_concurrency=True)
        asyncio.get_running_loop().call_later(0.5, runner.set_concurrency, 4)
        return await runner.run()

    assert virtual_time.run(work()) == "done"
    assert [record.index for record in sorted(records, key=lambda record: record.index)] == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_a_plan_travels_whole(load: Load) -> None:
    whole = made(load)
    there = unpack_plan(msgspec.msgpack.decode(msgspec.msgpack.encode(pack_plan(whole)), type=type(pack_plan(whole))))
    assert list(plan.schedule_lines(there)) == list(plan.schedule_lines(whole))
    assert (there.expected, there.requests, there.end) == (whole.expected, whole.requests, whole.end)
    assert there.levels == whole.levels


def example_spec() -> WorkerSpec:
    prompts = {3: Prompt(id="x", messages=[{"role": "user", "content": "é"}], later=[Prompt(id="y", text="on")])}
    return WorkerSpec(
        partition=Partition(worker=1, workers=2, cycle=2),
        config=Config(extra_body={"a": [1, None]}, goodput={"ttft": 0.2}, header={"X-A": "b"}),
        plan=pack_plan(made(OPEN)),
        prompts=prompts,
        models=["m"],
        records=str(Path("records.1.jsonl")),
        request_ids="id-",
    )


DOWN = [example_spec(), StartSignal(12345678901234567), SetConcurrency(7), Stop("interrupted", 3.0)]
UP = [Ready(77), Refusal("give --url"), Progress(worker=1, at=5, ttft={3: 4}, kinds={"timeout": 1}), WorkerResult(
    worker=1, ended="done", written=9, unsent_turns=0, client={"cpu_share": 0.5, "run_queue_share": None})]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 1000, 1 << 20])
def test_messages_survive_a_pipe_that_cuts_them_anywhere(size: int) -> None:
    for messages, read in ((DOWN, decode_to_worker), (UP, decode_from_worker)):
        stream, frames = b"".join(encode_frame(message) for message in messages), FrameSplitter()  # type: ignore[arg-type]
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [read(body) for piece in pieces for body in frames.feed(piece)] == messages


def test_numbers_of_any_size_survive_a_pipe() -> None:
    told = example_spec()
    large = msgspec.structs.replace(told, prompts={3: Prompt(id="x", text="é", body={"seed": 10**30})})
    assert decode_to_worker(next(FrameSplitter().feed(encode_frame(large)))) == large


def test_what_is_not_a_message_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_to_worker(encode_frame(Ready(1))[4:])
    with pytest.raises(msgspec.DecodeError):
        decode_from_worker(b"\xc1")
