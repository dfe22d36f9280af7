"""A hundred clean runs of different shapes in virtual time: no rule about answers, load or cache doubts any of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from loadstone.records import Record
from loadstone.results import measure
from loadstone.schedule.plan import Load
from loadstone.transport import Request
from support.records import run_info
from support.streams import DONE, chunk, event, token
from support.virtual_runs import Run
from support.virtual_time import Scripted, Step

# Doubts that only this file's kind of rule can raise. Those about the client and its machine are of other tests.
RULES = {
    "saturated", "error rate", "warm cache", "buffered answers", "events that share a read", "reported tokens",
    "tokens against events", "answers without an end", "no finish reason", "scraper lost", "resent requests",
}  # fmt: skip
Script = Callable[[int, Request], Sequence[Step]]
# How many tokens an answer has, by its number.
Lengths = Callable[[int], int]


def usage(prompt: int, completion: int, **details: int) -> bytes:
    counts: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    if "cached" in details:
        counts["prompt_tokens_details"] = {"cached_tokens": details["cached"]}
    if "reasoning" in details:
        counts["completion_tokens_details"] = {"reasoning_tokens": details["reasoning"]}
    return event({"choices": [], "usage": counts})


def timed(pieces: Sequence[bytes], ttft: float, itl: float, end: bytes) -> list[Step]:
    *others, last = pieces
    waits = [ttft, *[itl] * (len(pieces) - 1)]
    return [(0.0, chunk()), *zip(waits, [*others, last + end], strict=True)]


def plain(lengths: Lengths, ttft: float, itl: float) -> Script:
    def script(number: int, request: Request) -> list[Step]:
        count = lengths(number)
        pieces = [token(f" w{index}") for index in range(count)]
        # The stop token is counted and has no event.
        return timed(pieces, ttft, itl, chunk({}, "stop") + usage(9, count + 1) + DONE)

    return script


def cut(lengths: Lengths, ttft: float, itl: float) -> Script:
    def script(number: int, request: Request) -> list[Step]:
        count = lengths(number)
        pieces = [token(f" w{index}", "length" if index == count - 1 else None) for index in range(count)]
        return timed(pieces, ttft, itl, usage(9, count) + DONE)

    return script


def packed(lengths: Lengths, ttft: float, itl: float) -> Script:
    """Four tokens in each event, as with a stream interval; the rest in the last one."""

    def script(number: int, request: Request) -> list[Step]:
        count = lengths(number)
        pieces = [token(" w" * min(4, count - first)) for first in range(0, count, 4)]
        return timed(pieces, ttft, itl, chunk({}, "stop") + usage(9, count) + DONE)

    return script


def speculative(lengths: Lengths, ttft: float, itl: float) -> Script:
    """One to five tokens in each event."""

    def script(number: int, request: Request) -> list[Step]:
        chance = np.random.default_rng(number)
        sizes = chance.integers(1, 6, lengths(number)).tolist()
        pieces = [token(" w" * size) for size in sizes]
        return timed(pieces, ttft, itl, chunk({}, "stop") + usage(9, sum(sizes)) + DONE)

    return script


def reasoning(lengths: Lengths, ttft: float, itl: float) -> Script:
    def script(number: int, request: Request) -> list[Step]:
        count = lengths(number)
        thought = [chunk({"reasoning_content": " r"}) for _ in range(count)]
        said = [token() for _ in range(count)]
        return timed(thought + said, ttft, itl, chunk({}, "stop") + usage(9, 2 * count, reasoning=count) + DONE)

    return script


def hidden(lengths: Lengths, ttft: float, itl: float) -> Script:
    def script(number: int, request: Request) -> list[Step]:
        count = lengths(number)
        pieces = [token() for _ in range(count)]
        return timed(pieces, ttft, itl, chunk({}, "stop") + usage(9, count + 500, reasoning=500) + DONE)

    return script


def only_reasoning(lengths: Lengths, ttft: float, itl: float) -> Script:
    def script(number: int, request: Request) -> list[Step]:
        count = lengths(number)
        pieces = [chunk({"reasoning": " r"}) for _ in range(count)]
        return timed(pieces, ttft, itl, chunk({}, "length") + usage(9, count, reasoning=count) + DONE)

    return script


def tools(lengths: Lengths, ttft: float, itl: float) -> Script:
    def script(number: int, request: Request) -> list[Step]:
        count = lengths(number)
        begin = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
        piece = {"index": 0, "function": {"arguments": "1"}}
        pieces = [chunk({"tool_calls": [begin]}), *[chunk({"tool_calls": [piece]}) for _ in range(count)]]
        return timed(pieces, ttft, itl, chunk({}, "tool_calls") + usage(9, count + 8) + DONE)

    return script


def uncounted(lengths: Lengths, ttft: float, itl: float) -> Script:
    def script(number: int, request: Request) -> list[Step]:
        return timed([token() for _ in range(lengths(number))], ttft, itl, chunk({}, "stop") + DONE)

    return script


SCRIPTS = [plain, cut, packed, speculative, reasoning, hidden, only_reasoning, tools, uncounted]
LENGTHS: dict[str, Lengths] = {
    "one": lambda _: 1,
    "few": lambda number: 2 + number % 3,
    "same": lambda _: 24,
    "many": lambda number: 5 + number * 7919 % 40,
}
# A closed loop, many slots for few requests, one slot, and open loops (this server carries any load).
LOADS = {
    "closed": Load(concurrency=8, requests=60),
    "few rounds": Load(concurrency=32, requests=40),
    "alone": Load(concurrency=1, requests=25),
    "poisson": Load(rate=20, arrivals="poisson", requests=120, seed=5),
    "constant": Load(rate=50, arrivals="constant", requests=100),
}
CASES = [
    (script, length, load, ttft, itl)
    for number, (script, length, load) in enumerate(
        (script, length, load) for script in SCRIPTS for length in LENGTHS for load in LOADS
    )
    for ttft, itl in [[(0.05, 0.01), (0.4, 0.03), (2.0, 0.002)][number % 3]]
    if number % 9 != 8  # every shape of each kind, a hundred and some in all
][: 9 * len(LENGTHS) * len(LOADS)]


def test_there_are_a_hundred_and_all_kinds() -> None:
    assert len(CASES) >= 100
    assert {case[0] for case in CASES} == set(SCRIPTS)
    assert {case[1] for case in CASES} == set(LENGTHS)
    assert {case[2] for case in CASES} == set(LOADS)


@pytest.mark.parametrize(("script", "length", "load", "ttft", "itl"), CASES)
def test_a_clean_run_is_not_doubted(script: Any, length: str, load: str, ttft: float, itl: float) -> None:
    run = Run(LOADS[load], Scripted(script(LENGTHS[length], ttft, itl)))
    run.go()
    records: list[Record] = run.records
    assert all(record.error is None for record in records)
    plan = LOADS[load]
    config = {"concurrency": plan.concurrency, "rate": plan.rate, "arrivals": plan.arrivals}
    info = {
        "began": "2025-01-01",
        "ended": "done",
        "expected": len(records),
        "config": {name: value for name, value in config.items() if value},
        "schedule": {"loop": "open" if plan.rate else "closed"},
    }
    verdict = measure(records, run_info(info)).verdict
    assert verdict is not None
    assert RULES & {doubt.what for doubt in verdict.doubts} == set()
