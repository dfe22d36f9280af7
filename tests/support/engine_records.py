"""Runs against the simulated engine without any waiting: its steps one after the other, and the records that a client
would have written. Seeds differ in the lengths of prompts and answers and in the instants of arrival.
"""

from __future__ import annotations

import heapq
from random import Random
from typing import Any

from msgspec import Struct

from loadstone.metrics.columns import Columns, build
from loadstone.records import Pieces, Record, Usage
from loadstone.results import measure_columns
from loadstone.sim.engine.presets import PRESETS
from loadstone.sim.engine.scheduler import Engine, Sequence
from loadstone.summary import Summary

NS = 1_000_000_000
# ns, and up to twice that, from the end of an answer to the server's receipt of the next request.
WAY = 1_000_000


class Load(Struct, frozen=True):
    """Closed loop with so many in flight or, with `rate`, Poisson arrivals a second. `slower`: every first token comes
    later by this share of its time, and the rest of the answer with it. `drift`: the machine is faster or slower in
    each run, at random, by this share (one standard deviation). `spread`: of the logarithm of prompt lengths."""

    requests: int = 500
    warmup: int = 0
    concurrency: int = 16
    rate: float | None = None
    slower: float = 0.0
    drift: float = 0.0
    spread: float = 0.8
    preset: str = "h100-8b"


class _Request(Struct):
    sent: int
    prompt: int
    length: int
    times: list[int] = []


def records(load: Load, seed: int) -> list[Record]:
    """In the order in which they ended."""
    rng, engine = Random(f"run/{seed}"), Engine(PRESETS[load.preset])
    pace = max(0.5, 1 + load.drift * rng.gauss(0, 1))
    arrivals = _arrivals(load, rng)
    requests: dict[int, _Request] = {}
    ended: list[Record] = []
    now, number = 0, 0
    while len(ended) < load.warmup + load.requests:
        while arrivals and arrivals[0] <= now and number < load.warmup + load.requests:
            request = _draw(rng, heapq.heappop(arrivals), load.spread)
            requests[number] = request
            engine.add(Sequence(number, request.prompt, request.length))
            number += 1
        step = engine.step()
        if step is None:
            now = arrivals[0]
            continue
        now += round(step.duration * pace)
        for which, _, last in step.outputs:
            request = requests[which]
            request.times.append(now)
            if last:
                ended.append(_record(which, requests.pop(which), load))
                if load.rate is None:
                    heapq.heappush(arrivals, now + round(WAY * (1 + rng.random())))
    return ended


def _arrivals(load: Load, rng: Random) -> list[int]:
    if load.rate is None:
        return [number * 1_000 for number in range(load.concurrency)]
    now, instants = 0.0, []
    for _ in range(load.warmup + load.requests):
        now += rng.expovariate(load.rate)
        instants.append(round(now * NS))
    return instants


def _draw(rng: Random, sent: int, spread: float) -> _Request:
    prompt = min(4000, max(8, round(rng.lognormvariate(5.5, spread))))
    return _Request(sent, prompt, min(400, 2 + round(rng.expovariate(1 / 50))), times=[])


def _record(number: int, request: _Request, load: Load) -> Record:
    late = round(load.slower * (request.times[0] - request.sent))
    first, last = request.times[0] + late, request.times[-1] + late
    deltas = [0, *(after - before for before, after in zip(request.times, request.times[1:], strict=False))]
    return Record(
        index=number,
        phase="warmup" if number < load.warmup else "measure",
        prompt=f"p{number}",
        scheduled=request.sent,
        sent=request.sent,
        connect=0,
        first_byte=first,
        first=first,
        first_answer=first,
        last=last,
        end=last,
        pieces=Pieces(deltas, [4] * len(deltas)),
        reads=len(deltas),
        status=200,
        finish="length",
        usage=Usage(prompt=request.prompt, completion=request.length),
    )


def run(load: Load) -> dict[str, Any]:
    """The content of run.json."""
    config = {"rate": load.rate} if load.rate else {"concurrency": load.concurrency}
    return {"format": 1, "began": "2025-01-01T12:00:00.000+00:00", "ended": "done", "config": config}


def measured(load: Load, seed: int) -> tuple[Summary, Columns]:
    columns = build(records(load, seed))
    return measure_columns(columns, run(load)), columns
