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
from loadstone.sim.settings import text_word
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import ParsedRequest
from loadstone.sim.truth import TruthRow


class EngineResponse(Protocol):
    """A response whose tokens the engine gives out, step by step (responses.py)."""

    request: ParsedRequest
    truth_row: TruthRow
    text_starts: list[int]
    sequence_numbers: list[int]

    def admit(self, choice: int, cached: int | None) -> None:
        """Note that a choice is about to have its first token."""

    def receive(self, choice: int, tokens: int, planned: int) -> None:
        """Take new tokens of a choice from a step that ended at `planned` (ns)."""


class EngineSequence(Struct, gc=False):
    """A sequence in the engine and the answer it belongs to; times in ns."""

    response: EngineResponse
    choice: int
    sequence: Sequence
    arrived_at: int
    first_token_at: int = 0
    last_token_at: int = 0


class EngineLoop:
    """`add` an answer; its tokens come by `receive`, until it has all or leaves."""

    def __init__(self, state: ServerState, profile: Profile, loop: asyncio.AbstractEventLoop) -> None:
        self.state = state
        self.engine = Engine(profile, state.settings.seed)
        self.times = metrics.EngineTimes()
        self._speed = state.settings.speedup or 1
        self._sequences: dict[int, EngineSequence] = {}
        self._next_number = 0
        self._step: Step | None = None
        self._end = 0
        self._alarm: Alarm | None = make_alarm(loop, self._end_step)

    def close(self) -> None:
        if self._alarm:
            self._alarm.close()
            self._alarm = None

    def fits(self, ask: ParsedRequest) -> bool:
        """All that `asks` lets through fits, but for prompts without a word, which take a token nevertheless."""
        return ask.prompt_tokens > 0 or ask.tokens < self.engine.limits.max_sequence_tokens

    def add(self, answer: EngineResponse) -> None:
        """A sequence for each choice of each prompt; a prompt without an answer is one as well."""
        ask = answer.request
        each = max(1, ask.choices // len(ask.prompts))
        for index, content in enumerate(ask.prompts):
            tokens = request.split_prompt(content) or [""]
            hashes, rest = self._hashed(tokens)
            for choice in range(index * each, (index + 1) * each):
                start = answer.text_starts[choice % ask.choices]
                self._add(
                    answer,
                    choice,
                    Sequence(self._next_number, len(tokens), ask.tokens, hashes, rest, partial(text_word, start)),
                )
        if self._step is None:
            self._start_step(max(answer.truth_row.base, self._end))

    def _hashed(self, tokens: list[str | int]) -> tuple[tuple[int, ...], tuple[Hashable, ...]]:
        """The hashes of the full blocks, and the tokens after them."""
        size = self.engine.limits.block_size
        hashes = kv_cache.block_hashes(tokens, size) if self.engine.limits.prefix_caching else ()
        return hashes, tuple(tokens[len(tokens) - len(tokens) % size :])

    def _add(self, answer: EngineResponse, choice: int, sequence: Sequence) -> None:
        self._sequences[self._next_number] = EngineSequence(answer, choice, sequence, answer.truth_row.base)
        answer.sequence_numbers.append(self._next_number)
        self.engine.add(sequence)
        self._next_number += 1

    def remove(self, answer: EngineResponse) -> None:
        """The answer is over: what it still has in the engine is aborted."""
        for number in answer.sequence_numbers:
            if self._sequences.pop(number, None):
                self.engine.abort(number)
                self.times.finished["abort"] += 1

    def metrics(self) -> Page:
        """GET /metrics."""
        running, usage = (self._step.running, self._step.usage) if self._step else (0, self.engine.pool.usage)
        return metrics.engine_page(self.engine, self.times, self.state.settings.model, running, usage)

    def _start_step(self, at: int) -> None:
        self._step = step = self.engine.step()
        self._end = at
        if step is None:
            return
        self._end += max(1, round(step.duration / self._speed))
        for number in step.admitted:
            if seat := self._sequences.get(number):
                self.times.queued.add(max(0, at - seat.arrived_at))
        if self._alarm:
            self._alarm.set(self._end)

    def _end_step(self) -> None:
        """The step is over: its tokens first, then the next one."""
        now = time.monotonic_ns()
        if self._step is None or now < self._end:
            if self._alarm:
                self._alarm.set(self._end if self._step else None)
            return
        for number, tokens, last in self._step.outputs:
            if seat := self._sequences.get(number):
                if last:
                    del self._sequences[number]
                self._time(seat, now, last)
                seat.response.receive(seat.choice, tokens, self._end)
        self._start_step(self._end)
        if self._step is None and self._alarm:
            self._alarm.set(None)

    def _time(self, seat: EngineSequence, now: int, last: bool) -> None:
        """What vLLM's engine client would observe (v1/metrics/stats.py)."""
        times = self.times
        if not seat.first_token_at:
            times.ttft.add(now - seat.arrived_at)
            seat.first_token_at = now
            caching = self.engine.limits.prefix_caching
            seat.response.admit(seat.choice, seat.sequence.cached_tokens if caching else None)
        else:
            times.itl.add(now - seat.last_token_at)
        seat.last_token_at = now
        if last:
            times.finished[seat.response.request.finish_reason] += 1
            times.latency.add(now - seat.arrived_at)
            if seat.sequence.length > 1:
                times.tpot.add((now - seat.first_token_at) // (seat.sequence.length - 1))
