"""A server with the simulated engine in virtual time, and whole runs against it, with folders as a run leaves them.

Also the same engine by itself under a very long load, which tells what is true of it at a rate.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np

from loadstone import results
from loadstone.apis import base
from loadstone.apis.openai import Chat
from loadstone.config.schema import Config
from loadstone.engine import run_folder
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.runner import Runner
from loadstone.engine.sender import Endpoint, Sender
from loadstone.records import Prompt, Record, to_line
from loadstone.schedule import plan
from loadstone.schedule.plan import DatasetShape
from loadstone.sim.engine.presets import Costs, Limits, Profile
from loadstone.sim.engine.scheduler import Engine, Sequence
from loadstone.summary import Summary
from loadstone.transport import Exchange, Request
from support import virtual_time
from support.streams import answer

PATH = "/v1/chat/completions"
SMALL = Profile(
    description="eight seats, a step of some 10 ms: about 100 requests/s",
    limits=Limits(max_num_seqs=8, max_num_batched_tokens=512, num_gpu_blocks=1000, prefix_caching=False),
    costs=Costs(overhead=5e-3, weights=5e-3, token=2e-5, context=0.0),
)
# Tokens of a prompt, and of its answer: from SHORTEST to LONGEST, each as likely.
PROMPT, SHORTEST, LONGEST = 128, 4, 12
NS = 1_000_000_000


def length(chance: Random) -> int:
    return SHORTEST + int(chance.random() * (LONGEST - SHORTEST + 1))


class Served:
    """A transport whose answers come from the engine, step by step, in the time of the running loop."""

    def __init__(self, profile: Profile, seed: int) -> None:
        self._engine, self._chance = Engine(profile), Random(seed)
        self._wakes: dict[int, asyncio.Queue[tuple[int, bool]]] = {}
        self._number = 0
        self._busy = False

    async def exchange(self, request: Request, exchange: Exchange) -> None:
        number, wake = self._number, asyncio.Queue[tuple[int, bool]]()
        self._number += 1
        tokens = length(self._chance)
        role, *words, usage, done = answer(tokens)
        exchange.connect, exchange.sent = 0, virtual_time.clock()
        exchange.first_byte, exchange.status = virtual_time.clock(), 200
        exchange.headers = [(b"content-type", b"text/event-stream")]
        self._wakes[number] = wake
        self._engine.add(Sequence(number, PROMPT, tokens))
        if not self._busy:
            self._begin()
        exchange.sink(role, virtual_time.clock())
        for word in words:
            await wake.get()
            exchange.reads += 1
            exchange.sink(word, virtual_time.clock())
        exchange.sink(usage + done, virtual_time.clock())
        exchange.end = virtual_time.clock()

    def _begin(self) -> None:
        step = self._engine.step()
        self._busy = step is not None
        if step is not None:
            asyncio.get_running_loop().call_later(step.duration / NS, self._end, step)

    def _end(self, step: Any) -> None:
        for number, tokens, last in step.outputs:
            wake = self._wakes.pop(number) if last else self._wakes[number]
            wake.put_nowait((tokens, last))
        self._begin()

    async def close(self) -> None:
        pass


def go(profile: Profile = SMALL, prompts: int = 1000) -> Callable[[Config], Summary]:
    """What makes a run of a campaign: in virtual time, its folder as `loadstone run` would leave it."""

    def run(config: Config) -> Summary:
        filled = config.with_defaults(timed=False)
        rows = [Prompt(id=f"p{row}", text="hello") for row in range(prompts)]
        made = plan.make_plan(plan.Load.of(filled), DatasetShape([row.id for row in rows]))
        records: list[Record] = []
        jobs = PreparedRequests(rows, Chat(), [base.RequestSettings(model="m")], PATH, ())
        served = Served(profile, config.seed * 1_000_003 + config.skip)
        carrier = Sender(made, jobs, Chat(), [Endpoint(served, PATH)], records.append, clock=virtual_time.clock)
        ended = virtual_time.run(Runner(carrier, stagger=0).run())
        return _kept(filled, made, records, ended)

    return run


def _kept(config: Config, made: plan.Plan, records: list[Record], ended: str) -> Summary:
    folder = run_folder.RunFolder(Path(config.output or ""))
    loop = "closed" if made.offsets is None else "open"
    head = {"began": "then", "config": config.redacted(), "expected": made.expected, "ended": ended, "client": {},
            "schedule": {"loop": loop, "requests": made.requests, "repeats": made.repeats}}  # fmt: skip
    folder.write_json(run_folder.RUN, head)
    folder.write(run_folder.RECORDS, b"".join(map(to_line, records)))
    summary, _ = results.read_summary_and_columns(folder.path)
    folder.write("summary.json", msgspec.json.encode(summary))
    return summary


def waits(rate: float, count: int, seed: int, profile: Profile = SMALL) -> np.ndarray[Any, np.dtype[np.float64]]:
    """TTFT of `count` Poisson arrivals at the engine, without runner, transport or plan; the first tenth left out."""
    chance, engine = Random(seed), Engine(profile)
    at, clock, number = 0.0, 0.0, 0
    arrived: dict[int, float] = {}
    found = np.zeros(count)
    at = -math.log(1 - chance.random()) / rate
    while number < count or arrived:
        while number < count and at <= clock:
            arrived[number] = at
            engine.add(Sequence(number, PROMPT, length(chance)))
            number, at = number + 1, at - math.log(1 - chance.random()) / rate
        step = engine.step()
        if step is None:
            clock = at
            continue
        clock += step.duration / NS
        for one, _, _ in step.outputs:
            if one in arrived:
                found[one] = clock - arrived.pop(one)
    return found[count // 10 :]
