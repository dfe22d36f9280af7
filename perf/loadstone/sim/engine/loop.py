"""The simulated engine in real time: each step ends at its absolute time, and what came out is handed to its answers.

A step begins when the one before ends, so that nothing drifts; the first after a pause when the request arrives. What
a step holds is `engine`'s business, how its tokens are told is that of `batched`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from functools import partial
from typing import Protocol

from msgspec import Struct

from loadstone.host.timer import Alarm, make_alarm
from loadstone.sim import metrics, request
from loadstone.sim.bodies import Page
from loadstone.sim.engine import kv_cache
from loadstone.sim.engine.presets import Profile
from loadstone.sim.engine.scheduler import Engine, Sequence, Step
from loadstone.sim.settings import word
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import ParsedRequest
from loadstone.sim.truth import Row


class Batched(Protocol):
    """A response whose tokens the engine gives out, step by step (responses.py)."""

    ask: ParsedRequest
    row: Row
    start: list[int]
    numbers: list[int]

    def admitted(self, choice: int, cached: int | None) -> None:
        """Note that a choice is about to have its first token."""

    def give(self, choice: int, tokens: int, planned: int) -> None:
        """Take new tokens of a choice from a step that ended at `planned` (ns)."""


class EngineSequence(Struct, gc=False):
    """A sequence in the engine and the answer it belongs to; times in ns."""

    answer: Batched
    choice: int
    sequence: Sequence
    arrived: int
    first: int = 0
    last: int = 0


class EngineLoop:
    """`enter` an answer; its tokens come by `give`, until it has all or leaves."""

    def __init__(self, desk: ServerState, profile: Profile, loop: asyncio.AbstractEventLoop) -> None:
        self.desk = desk
        self.engine = Engine(profile, desk.settings.seed)
        self.times = metrics.Times()
        self._speed = desk.settings.speedup or 1
        self._seats: dict[int, EngineSequence] = {}
        self._number = 0
        self._step: Step | None = None
        self._end = 0
        self._alarm: Alarm | None = make_alarm(loop, self._ring)

    def close(self) -> None:
        if self._alarm:
            self._alarm.close()
            self._alarm = None

    def fits(self, ask: ParsedRequest) -> bool:
        """All that `asks` lets through fits, but for prompts without a word, which take a token nevertheless."""
        return ask.prompt_tokens > 0 or ask.tokens < self.engine.limits.longest

    def enter(self, answer: Batched) -> None:
        """A sequence for each choice of each prompt; a prompt without an answer is one as well."""
        ask = answer.ask
        each = max(1, ask.choices // len(ask.prompts))
        for index, content in enumerate(ask.prompts):
            tokens = request.tokens(content) or [""]
            hashes, rest = self._hashed(tokens)
            for choice in range(index * each, (index + 1) * each):
                start = answer.start[choice % ask.choices]
                self._add(
                    answer, choice, Sequence(self._number, len(tokens), ask.tokens, hashes, rest, partial(word, start))
                )
        if self._step is None:
            self._begin(max(answer.row.base, self._end))

    def _hashed(self, tokens: list[str | int]) -> tuple[tuple[int, ...], tuple[Hashable, ...]]:
        """The hashes of the full blocks, and the tokens after them."""
        size = self.engine.limits.block_size
        hashes = kv_cache.chain(tokens, size) if self.engine.limits.prefix_caching else ()
        return hashes, tuple(tokens[len(tokens) - len(tokens) % size :])

    def _add(self, answer: Batched, choice: int, sequence: Sequence) -> None:
        self._seats[self._number] = EngineSequence(answer, choice, sequence, answer.row.base)
        answer.numbers.append(self._number)
        self.engine.add(sequence)
        self._number += 1

    def leave(self, answer: Batched) -> None:
        """The answer is over: what it still has in the engine is aborted."""
        for number in answer.numbers:
            if self._seats.pop(number, None):
                self.engine.abort(number)
                self.times.finished["abort"] += 1

    def metrics(self) -> Page:
        """GET /metrics."""
        running, usage = (self._step.running, self._step.usage) if self._step else (0, self.engine.pool.usage)
        return metrics.engine(self.engine, self.times, self.desk.settings.model, running, usage)

    def _begin(self, at: int) -> None:
        self._step = step = self.engine.step()
        self._end = at
        if step is None:
            return
        self._end += max(1, round(step.duration / self._speed))
        for number in step.admitted:
            if seat := self._seats.get(number):
                self.times.queued.add(max(0, at - seat.arrived))
        if self._alarm:
            self._alarm.set(self._end)

    def _ring(self) -> None:
        """The step is over: its tokens first, then the next one."""
        now = time.monotonic_ns()
        if self._step is None or now < self._end:
            if self._alarm:
                self._alarm.set(self._end if self._step else None)
            return
        for number, tokens, last in self._step.outputs:
            if seat := self._seats.get(number):
                if last:
                    del self._seats[number]
                self._time(seat, now, last)
                seat.answer.give(seat.choice, tokens, self._end)
        self._begin(self._end)
        if self._step is None and self._alarm:
            self._alarm.set(None)

    def _time(self, seat: EngineSequence, now: int, last: bool) -> None:
        """What vLLM's engine client would observe (v1/metrics/stats.py)."""
        times = self.times
        if not seat.first:
            times.ttft.add(now - seat.arrived)
            seat.first = now
            caching = self.engine.limits.prefix_caching
            seat.answer.admitted(seat.choice, seat.sequence.cached if caching else None)
        else:
            times.itl.add(now - seat.last)
        seat.last = now
        if last:
            times.finished[seat.answer.ask.finish] += 1
            times.latency.add(now - seat.arrived)
            if seat.sequence.length > 1:
                times.tpot.add((now - seat.first) // (seat.sequence.length - 1))
