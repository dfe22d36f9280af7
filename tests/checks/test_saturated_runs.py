"""Runs against servers of different shape in virtual time: what is saturated is named first, and nothing else is."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from loadstone import results
from loadstone.config.schema import Config
from loadstone.engine.progress_digest import Progress, count_bins
from loadstone.live.stop_conditions import StopConditions
from loadstone.records import Pieces, Record, Usage
from loadstone.summary import EndReason, Summary
from support import queues
from support.queues import Rate, Served
from support.records import run_info

S = 1_000_000_000
CARRIED = 32.0
Server = Callable[[Sequence[float], Random], list[Served]]
SERVERS: dict[str, Server] = {
    "slots": lambda times, chance: queues.slots(times, chance, 32, 0.95),
    "few slots": lambda times, chance: queues.slots(times, chance, 2, 0.0525, prefill=0.01),
    "slots of equal answers": lambda times, chance: queues.slots(times, chance, 32, 0.95, spread=0.0),
    "slots of very different answers": lambda times, chance: queues.slots(times, chance, 64, 1.95, spread=1.2),
    "all at once": queues.shared,
    "all at once, first outputs early": lambda times, chance: queues.shared(times, chance, first=0.003),
    "slower with each": lambda times, chance: queues.shared(times, chance, slows=0.02),
}
# Answers of 10 s: the number in flight grows for a long time before it is steady.
LONG: dict[str, Server] = {
    "slots": lambda times, chance: queues.slots(times, chance, 320, 9.95),
    "all at once": lambda times, chance: queues.shared(times, chance, work=10.0, capacity=320.0),
}


def served(server: Server, rate: float | Rate, seconds: float, seed: int = 0, **how: Any) -> list[Served]:
    chance = Random(seed)
    at = rate if callable(rate) else lambda _: rate
    return server(queues.arrivals(at, seconds, chance, **how), chance)


def measured(requests: Sequence[Served], config: dict[str, Any] | None = None, **run: Any) -> Summary:
    """The summary of a run as the client would have recorded it."""
    records = []
    for index, one in enumerate(requests):
        sent, first, last = (round(at * S) for at in (one.sent, one.first, one.end))
        step = (last - first) // max(1, one.tokens - 1)
        times = [0, *[step] * (one.tokens - 1)]
        records.append(
            Record(
                index=index,
                prompt=f"p{index}",
                scheduled=sent,
                sent=sent,
                first_byte=first,
                first=first,
                first_answer=first,
                last=first + sum(times),
                end=first + sum(times),
                status=200,
                finish="stop",
                usage=Usage(prompt=100, completion=one.tokens),
                pieces=Pieces(times, [3] * len(times)),
                streamed=True,
            )
        )
    whole = {"began": "now", "ended": "done", "config": {"rate": 60.0} | (config or {}), "schedule": {"loop": "open"}}
    return results.measure(records, run_info(whole | run))


def doubts(summary: Summary) -> list[str]:
    assert summary.verdict is not None
    return [doubt.what for doubt in summary.verdict.doubts]


@pytest.mark.parametrize("seconds", [8, 30, 120])
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_with_twice_its_load_is_saturated_first_of_all(name: str, seconds: float) -> None:
    summary = measured(served(SERVERS[name], 2 * CARRIED, seconds, seed=round(seconds)))
    assert doubts(summary)[0] == "saturated"
    assert not {"Little's law", "drift", "warm-up"} & set(doubts(summary))
    assert summary.verdict is not None
    first = summary.verdict.doubts[0]
    assert "were sent, the server carried" in first.measured
    assert "--rate to" in first.advice
    assert all("longer" not in doubt.advice.replace("ever longer", "") for doubt in summary.verdict.doubts)
    sent, carried = summary.checks["saturated_sent"], summary.checks["saturated_carried"]
    assert sent is not None
    assert carried is not None
    assert sent == pytest.approx(2 * CARRIED, rel=0.15)
    if name != "slower with each":
        assert carried == pytest.approx(CARRIED, rel=0.2)


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("seconds", [6, 30, 90])
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_below_its_capacity_is_not(name: str, seconds: float, load: float) -> None:
    for seed in range(2):
        assert "saturated" not in doubts(measured(served(SERVERS[name], load * CARRIED, seconds, seed)))


@pytest.mark.parametrize("seconds", [6, 15, 30, 60])
@pytest.mark.parametrize("name", LONG)
def test_while_long_answers_fill_the_server_it_is_not(name: str, seconds: float) -> None:
    for load in (0.4, 0.8):
        assert "saturated" not in doubts(measured(served(LONG[name], load * CARRIED, seconds)))
    assert doubts(measured(served(LONG[name], 2 * CARRIED, 60)))[0] == "saturated"


CALM: dict[str, Rate] = {
    "bursts": lambda at: CARRIED * (1.2 if at % 4 < 1 else 0.3),
    "a ramp": lambda at: CARRIED * min(0.85, 0.1 + at / 60),
    "a step": lambda at: CARRIED * (0.2 if at < 20 else 0.8),
    "on and off": lambda at: CARRIED * (0.8 if int(at / 10) % 2 else 0.01),
}
CROWDED: dict[str, Rate] = {
    "bursts": lambda at: CARRIED * (6.0 if at % 4 < 1 else 0.5),
    "a ramp": lambda at: CARRIED * (0.2 + at / 20),
    "a step": lambda at: CARRIED * (0.3 if at < 20 else 2.0),
}


@pytest.mark.parametrize("name", ["slots", "all at once"])
@pytest.mark.parametrize("load", CALM)
def test_a_load_that_changes_below_capacity(load: str, name: str) -> None:
    assert "saturated" not in doubts(measured(served(SERVERS[name], CALM[load], 60)))


@pytest.mark.parametrize("name", ["slots", "all at once"])
@pytest.mark.parametrize("load", CROWDED)
def test_a_load_that_changes_and_is_more_than_the_server_carries(load: str, name: str) -> None:
    assert doubts(measured(served(SERVERS[name], CROWDED[load], 60)))[0] == "saturated"


def test_stages_are_named_where_the_server_had_caught_up_by_the_end() -> None:
    """40 s of twice the capacity, then time to recover."""
    requests = served(SERVERS["slots"], lambda at: CARRIED * (0.5 if at < 20 else 2.0 if at < 60 else 0.05), 160)
    stages = [{"index": 0, "name": "16/s", "start": 0.0, "end": 20.0}]
    found = measured(requests, {"rate": None, "stages": "16:20s"}, stages=stages)
    assert doubts(found)[0] == "saturated"
    assert found.verdict is not None
    assert "--stages" in found.verdict.doubts[0].advice


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "lower the --rate to "),
        ({"concurrency": 8}, "raise -c if the server can take more, or lower the --rate to "),
        ({"rate": None, "arrivals": "replay", "speed": 4.0}, "give a lower --speed, such as 1."),
        ({"rate": None}, "offer less than "),
    ],
)
def test_the_advice_fits_the_load(config: dict[str, Any], says: str) -> None:
    summary = measured(served(SERVERS["slots"], 2 * CARRIED, 30), config)
    assert summary.verdict is not None
    assert says in summary.verdict.doubts[0].advice


def test_a_closed_loop_is_never_saturated() -> None:
    requests = served(SERVERS["slots"], 2 * CARRIED, 30)
    assert "saturated" not in doubts(measured(requests, {"rate": None, "concurrency": 8}, schedule={"loop": "closed"}))


# --stop-saturated


def stopped(requests: Sequence[Served], tick: float = 0.2) -> tuple[EndReason, float] | None:
    """Why and when --stop-saturated ends a run."""
    ended = list[EndReason]()
    conditions = StopConditions(
        Config(rate=60.0, stop_saturated=True), lambda _: None, lambda why, _: ended.append(why)
    )
    sent = [one.sent for one in requests]
    firsts = sorted((one.first, one.first - one.sent) for one in requests)
    ends = sorted((one.end, (one.end - one.first) / (one.tokens - 1)) for one in requests)
    first_times, end_times = [at for at, _ in firsts], [at for at, _ in ends]
    began = 0.0
    while began < sent[-1]:
        now = began + tick
        tpots = [tpot * S for _, tpot in ends[bisect_right(end_times, began) : bisect_right(end_times, now)]]
        finished = bisect_right(end_times, now)
        conditions.add(
            Progress(
                worker=0,
                at=round(now * S),
                finished=finished,
                in_flight=bisect_right(sent, now) - finished,
                waits=[wait for _, wait in firsts[bisect_right(first_times, began) : bisect_right(first_times, now)]],
                tpot=count_bins(tpots),
            )
        )
        if ended:
            return ended[0], now
        began = now
    return None


@pytest.mark.parametrize("name", SERVERS)
def test_a_short_run_is_stopped_early(name: str) -> None:
    found = stopped(served(SERVERS[name], 60.0, 30))
    assert found is not None
    assert found[0] is EndReason.SATURATED
    assert found[1] < 15


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_below_its_capacity_is_not_stopped(name: str) -> None:
    assert stopped(served(SERVERS[name], 0.8 * CARRIED, 60)) is None


@pytest.mark.parametrize("name", LONG)
def test_a_server_that_fills_up_is_not_stopped(name: str) -> None:
    assert [stopped(served(LONG[name], 0.8 * CARRIED, 40, seed)) for seed in range(3)] == [None] * 3
