"""How a run stands, all processes together: counts, rates, percentiles so far, from their pulses."""

from __future__ import annotations

import time
from collections import deque

from msgspec import Struct

from loadstone.messages import Pulse
from loadstone.plan import Plan
from loadstone.pulses import Histogram

RECENT = 5.0


class Figures(Struct, frozen=True):
    """A glance at a run. Times are seconds, None where nothing was measured. `share`: done, where the end is known;
    `busiest`: CPU share of the process that has most to do."""

    elapsed: float
    remaining: float | None
    share: float | None
    finished: int
    expected: int | None
    in_flight: int
    failed: int
    qps: float
    tokens_per_second: float
    ttft_p50: float | None
    ttft_p99: float | None
    gap_p50: float | None
    gap_p99: float | None
    stopping: bool
    busiest: float | None


class Progress:
    """Takes in pulses; `figures()` tells how things stand."""

    def __init__(self, plan: Plan, duration: float | None) -> None:
        self._expected = plan.requests
        self._duration = duration if plan.end is None else plan.end / 1e9
        self._began = time.monotonic()
        self._last: dict[int, Pulse] = {}
        self._ttft, self._gap = Histogram(), Histogram()
        self._history: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])

    def add(self, pulse: Pulse) -> None:
        self._last[pulse.worker] = pulse
        self._ttft.add(pulse.ttft)
        self._gap.add(pulse.gap)

    def figures(self) -> Figures:
        now, last = time.monotonic(), self._last.values()
        finished, failed = sum(pulse.finished for pulse in last), sum(pulse.failed for pulse in last)
        share, elapsed = self._share(now, finished), now - self._began
        qps, tokens = self._recent(now, finished - failed, sum(pulse.tokens for pulse in last))
        return Figures(
            elapsed=elapsed,
            remaining=None if not share or elapsed < 1 else elapsed * (1 - share) / share,
            share=share,
            finished=finished,
            expected=self._expected,
            in_flight=sum(pulse.in_flight for pulse in last),
            failed=failed,
            qps=qps,
            tokens_per_second=tokens,
            ttft_p50=self._ttft.quantile(0.5),
            ttft_p99=self._ttft.quantile(0.99),
            gap_p50=self._gap.quantile(0.5),
            gap_p99=self._gap.quantile(0.99),
            stopping=any(pulse.stopping for pulse in last),
            busiest=max((pulse.cpu for pulse in last if pulse.cpu is not None), default=None),
        )

    def _share(self, now: float, finished: int) -> float | None:
        """The further of two ends: requests done, and time passed."""
        shares = []
        if self._expected:
            shares.append(min(1.0, finished / self._expected))
        if self._duration:
            shares.append(min(1.0, (now - self._began) / self._duration))
        return max(shares, default=None)

    def _recent(self, now: float, done: int, tokens: int) -> tuple[float, float]:
        """Successes and output tokens a second over the last few seconds."""
        self._history.append((now, done, tokens))
        while len(self._history) > 2 and now - self._history[0][0] > RECENT:
            self._history.popleft()
        then, done_then, tokens_then = self._history[0]
        passed = max(now - then, 1e-9)
        return (done - done_then) / passed, max(0, tokens - tokens_then) / passed
