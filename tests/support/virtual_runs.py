"""Runs of the engine in virtual time, on a scripted transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from loadstone.apis import base
from loadstone.apis.openai import Chat
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.runner import Runner
from loadstone.engine.sender import Endpoint, Sender
from loadstone.records import Prompt, Record
from loadstone.schedule import plan
from loadstone.schedule.plan import DatasetShape, Load
from loadstone.transport import Request
from support import virtual_time
from support.streams import answer
from support.virtual_time import Scripted, Step

S = 1_000_000_000


PATH = "/v1/chat/completions"


def steady(ttft: float = 0.5, itl: float = 0.1, tokens: int = 3) -> Callable[[int, Request], Sequence[Step]]:
    """Every answer alike; usage and [DONE] come with the last token."""

    def script(number: int, request: Request) -> list[Step]:
        role, *words, usage, done = answer(tokens)
        last = words[-1] + usage + done
        waits = [ttft, *[itl] * (tokens - 1)]
        return [(0.0, role), *zip(waits, [*words[:-1], last], strict=True)]

    return script


class Run:
    """A runner on scripts: `records` are what came of it, in order of their ends."""

    def __init__(
        self, load: Load, transport: Scripted, prompts: int = 4, rows: Sequence[Prompt] = (), **options: Any
    ) -> None:
        self.records: list[Record] = []
        rows = rows or [Prompt(id=f"p{i}", text="hello") for i in range(prompts)]
        made = PreparedRequests(rows, Chat(), [base.RequestSettings(model="m")], PATH, ())
        self.transport = transport
        self.plan = plan.make_plan(load, DatasetShape([row.id for row in rows], [1 + len(row.later) for row in rows]))
        times = {name: options.pop(name) for name in ("duration", "grace", "stagger") if name in options}
        self.carrier = Sender(
            self.plan,
            made,
            Chat(),
            [Endpoint(transport, PATH)],
            self.records.append,
            clock=virtual_time.clock,
            **options,
        )
        self.runner = Runner(self.carrier, **{"stagger": 0, **times})

    def go(self, also: Callable[[Runner], None] | None = None) -> str:
        async def work() -> str:
            if also is not None:
                asyncio.get_running_loop().call_soon(also, self.runner)
            return await self.runner.run()

        ended: str = virtual_time.run(work())
        return ended

    def by_index(self) -> list[Record]:
        return sorted(self.records, key=lambda record: record.index)


def at(seconds: float, what: Callable[[Runner], None]) -> Callable[[Runner], None]:
    return lambda runner: asyncio.get_running_loop().call_later(seconds, what, runner)  # type: ignore[func-returns-value]
