"""The simulated engine in real time: each step ends at its absolute time, and its tokens go to their responses.

A step starts when the one before ends, so that nothing drifts; the first after a pause starts when the request arrives.
scheduler.py decides what a step computes; responses.py sends the tokens.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Protocol

from msgspec import Struct

from loadstone.host.timer import Alarm, make_alarm
from loadstone.sim import metrics, request
from loadstone.sim.bodies import Page
from loadstone.sim.engine import kv_cache
from loadstone.sim.engine.presets import Profile
from loadstone.sim.engine.scheduler import Engine, Sequence, Step
from loadstone.sim.state import ServerState
from loadstone.sim.stream_events import ParsedRequest
from loadstone.sim.truth import TruthRow
from loadstone.sim.words import text_word


class EngineResponse(Protocol):
    """What the loop needs of a response (responses.py)."""

    request: ParsedRequest
    truth_row: TruthRow
    text_starts: list[int]
    sequence_numbers: list[int]

    def admit(self, choice: int, cached: int | None) -> None:
        """Take the number of cached prompt tokens of a choice, before its first token."""

    def receive(self, choice: int, tokens: int, planned: int) -> None:
        """Take new tokens of a choice, from a step that ended at `planned` (ns)."""


class EngineSequence(Struct, gc=False):
    """A sequence in the engine and its response.

    arrived_at, first_token_at, last_token_at: ns, 0 if not yet.
    """

    response: EngineResponse
    choice: int
    sequence: Sequence
    arrived_at: int
    first_token_at: int = 0
    last_token_at: int = 0


class EngineLoop:
    """Run the engine in real time. A response that is added receives tokens until it has them all or is removed.

    times: histograms for GET /metrics.
    _step, _end: the current step, and when it ends (ns).
    """

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
        """Stop the loop."""
        if self._alarm:
            self._alarm.close()
            self._alarm = None

    def fits(self, parsed: ParsedRequest) -> bool:
        """Return True if the engine can hold the request.

        All parsed requests fit, except that an empty prompt takes a token here.
        """
        return parsed.prompt_tokens > 0 or parsed.tokens < self.engine.limits.max_sequence_tokens

    def add(self, response: EngineResponse) -> None:
        """Add a sequence for each choice of each prompt, and for each prompt that has no choices."""
        parsed, limits = response.request, self.engine.limits
        each = max(1, parsed.choices // len(parsed.prompts))
        for index, content in enumerate(parsed.prompts):
            tokens = request.split_prompt(content) or [""]
            hashes = kv_cache.block_hashes(tokens, limits.block_size) if limits.prefix_caching else ()
            tail = tuple(tokens[len(tokens) - len(tokens) % limits.block_size :])
            for choice in range(index * each, (index + 1) * each):
                number = self._next_number
                word = partial(text_word, response.text_starts[choice % parsed.choices])
                sequence = Sequence(number, len(tokens), parsed.tokens, hashes, tail, word)
                self._sequences[number] = EngineSequence(response, choice, sequence, response.truth_row.base)
                response.sequence_numbers.append(number)
                self.engine.add(sequence)
                self._next_number += 1
        if self._step is None:
            self._start_step(max(response.truth_row.base, self._end))

    def remove(self, response: EngineResponse) -> None:
        """Remove a response that is over, and abort the sequences that it still has in the engine."""
        for number in response.sequence_numbers:
            if self._sequences.pop(number, None):
                self.engine.abort(number)
                self.times.finished["abort"] += 1

    def metrics(self) -> Page:
        """Return GET /metrics."""
        running, usage = (self._step.running, self._step.usage) if self._step else (0, self.engine.pool.usage)
        return metrics.engine_page(self.engine, self.times, self.state.settings.model, running, usage)

    def _start_step(self, at: int) -> None:
        """Start the next step at `at` (ns), if there is anything to do."""
        self._step = step = self.engine.step()
        self._end = at
        if step is None:
            return
        self._end += max(1, round(step.duration / self._speed))
        # The time in the queue ends when the step starts.
        for number in step.admitted:
            if entry := self._sequences.get(number):
                self.times.queued.add(max(0, at - entry.arrived_at))
        if self._alarm:
            self._alarm.set(self._end)

    def _end_step(self) -> None:
        """Send the tokens of the finished step to their responses, then start the next step."""
        now = time.monotonic_ns()
        if self._step is None or now < self._end:
            if self._alarm:
                self._alarm.set(self._end if self._step else None)
            return
        for number, tokens, last in self._step.outputs:
            if entry := self._sequences.get(number):
                if last:
                    del self._sequences[number]
                self._record_times(entry, now, last)
                entry.response.receive(entry.choice, tokens, self._end)
        self._start_step(self._end)
        if self._step is None and self._alarm:
            self._alarm.set(None)

    def _record_times(self, entry: EngineSequence, now: int, last: bool) -> None:
        """Record what vLLM's engine client would observe (v1/metrics/stats.py)."""
        times = self.times
        if not entry.first_token_at:
            times.ttft.add(now - entry.arrived_at)
            entry.first_token_at = now
            caching = self.engine.limits.prefix_caching
            entry.response.admit(entry.choice, entry.sequence.cached_tokens if caching else None)
        else:
            times.itl.add(now - entry.last_token_at)
        entry.last_token_at = now
        if last:
            times.finished[entry.response.request.finish_reason] += 1
            times.latency.add(now - entry.arrived_at)
            if entry.sequence.length > 1:
                times.tpot.add((now - entry.first_token_at) // (entry.sequence.length - 1))
