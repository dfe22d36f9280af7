"""How a run stands, all processes together: counts, rates, percentiles and doubts so far, from their pulses."""

from __future__ import annotations

import time
from collections import Counter, deque
from typing import Any

from loadstone.engine.progress_digest import bin_middle, count_bins
from loadstone.engine.worker_messages import Progress
from loadstone.live.checks import RunningChecks
from loadstone.live.history import Figures, History
from loadstone.schedule.plan import Plan
from loadstone.units import NS_PER_S

RECENT = 5.0


class RunProgress:
    """Takes in pulses; `figures()` tells how things stand. `run`: the content of run.json when the run begins."""

    def __init__(self, plan: Plan, duration: float | None, run: dict[str, Any]) -> None:
        self._plan = plan
        self._duration = duration if plan.end is None else plan.end / NS_PER_S
        self._began = time.monotonic()
        self._last: dict[int, Progress] = {}
        self._so_far, self._history = RunningChecks(run), History()
        self._kinds: Counter[str] = Counter()
        self._slos: dict[str, tuple[int, int]] = {}
        self._judged = 0
        self._recently: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])

    def add(self, pulse: Progress) -> None:
        before, self._last[pulse.worker] = self._last.get(pulse.worker), pulse
        self._so_far.add(pulse, count_bins([wait * NS_PER_S for wait in pulse.waits]))
        self._kinds.update(pulse.kinds)
        self._judged += len(pulse.outcomes)
        for name, (met, told) in pulse.slos.items():
            sums = self._slos.get(name, (0, 0))
            self._slos[name] = (sums[0] + met, sums[1] + told)
        tokens = max(0, pulse.tokens - (before.tokens if before else 0))
        waits = sum(bin_middle(place) * count for place, count in pulse.ttft.items()), sum(pulse.ttft.values())
        self._history.add(pulse.at / NS_PER_S, tokens, waits, self._in_flight)

    def figures(self) -> Figures:
        now, last, quantile = time.monotonic(), self._last.values(), self._so_far.quantile
        finished, failed = sum(pulse.finished for pulse in last), sum(pulse.failed for pulse in last)
        share, elapsed = self._share(now, finished), now - self._began
        stopping = any(pulse.stopping for pulse in last)
        qps, tokens = self._recent(now, finished - failed, sum(pulse.tokens for pulse in last))
        return Figures(
            elapsed=elapsed,
            remaining=None if not share or elapsed < 1 or stopping else elapsed * (1 - share) / share,
            fraction=share,
            finished=finished,
            expected=self._plan.requests,
            in_flight=self._in_flight,
            failed=failed,
            qps=qps,
            tokens_per_second=tokens,
            ttft_p50=quantile("ttft", 0.5),
            ttft_p99=quantile("ttft", 0.99),
            gap_p50=quantile("gap", 0.5),
            gap_p99=quantile("gap", 0.99),
            stopping=stopping,
            client_cpu=max((pulse.cpu for pulse in last if pulse.cpu is not None), default=None),
            failures=dict(self._kinds.most_common()),
            slos={name: met / told if told == self._judged else None for name, (met, told) in self._slos.items()},
            doubts=self._so_far.doubts(last, self._behind()),
            history=self._history.snapshot(),
        )

    @property
    def _in_flight(self) -> int:
        return sum(pulse.in_flight for pulse in self._last.values())

    def _behind(self) -> float:
        """Seconds since the oldest of the arrivals that wait for a slot was due; 0 in a closed loop."""
        offsets, waiting = self._plan.offsets, sum(pulse.overdue for pulse in self._last.values())
        if offsets is None or not waiting:
            return 0.0
        now = max(pulse.at for pulse in self._last.values())
        oldest = max(0, int(offsets.searchsorted(now, "right")) - waiting)
        return max(0.0, (now - int(offsets[oldest])) / NS_PER_S)

    def _share(self, now: float, finished: int) -> float | None:
        """The further of two ends: requests done, and time passed."""
        shares = []
        if self._plan.requests:
            shares.append(min(1.0, finished / self._plan.requests))
        if self._duration:
            shares.append(min(1.0, (now - self._began) / self._duration))
        return max(shares, default=None)

    def _recent(self, now: float, done: int, tokens: int) -> tuple[float, float]:
        """Successes and output tokens a second over the last few seconds."""
        self._recently.append((now, done, tokens))
        while len(self._recently) > 2 and now - self._recently[0][0] > RECENT:
            self._recently.popleft()
        then, done_then, tokens_then = self._recently[0]
        passed = max(now - then, 1e-9)
        return (done - done_then) / passed, max(0, tokens - tokens_then) / passed
