"""Progress of a run over all its processes: counts, rates, percentiles and doubts so far."""

from __future__ import annotations

import time
from collections import Counter, deque

from loadstone.engine.progress_digest import Progress, bin_middle, count_bins
from loadstone.live.checks import RunningChecks
from loadstone.live.history import Figures, History
from loadstone.schedule.plan import Plan
from loadstone.summary import RunInfo
from loadstone.units import NS_PER_S

# Seconds over which current rates are computed.
RECENT = 5.0


class RunProgress:
    """Takes progress messages; `figures` returns the current state.

    run: the RunInfo when the run begins.
    """

    def __init__(self, plan: Plan, duration: float | None, run: RunInfo) -> None:
        self._plan = plan
        self._duration = duration if plan.end is None else plan.end / NS_PER_S
        self._began = time.monotonic()
        self._last: dict[int, Progress] = {}
        self._checks, self._history = RunningChecks(run), History()
        self._failures: Counter[str] = Counter()
        self._slos: dict[str, tuple[int, int]] = {}
        self._judged = 0
        self._recently: deque[tuple[float, int, int]] = deque([(self._began, 0, 0)])

    def add(self, pulse: Progress) -> None:
        """Add a progress message of one process."""
        before, self._last[pulse.worker] = self._last.get(pulse.worker), pulse
        self._checks.add(pulse, count_bins([wait * NS_PER_S for wait in pulse.waits]))
        self._failures.update(pulse.kinds)
        self._judged += len(pulse.outcomes)
        for name, (met, known) in pulse.slos.items():
            sums = self._slos.get(name, (0, 0))
            self._slos[name] = (sums[0] + met, sums[1] + known)
        tokens = max(0, pulse.tokens - (before.tokens if before else 0))
        waits = sum(bin_middle(index) * count for index, count in pulse.ttft.items()), sum(pulse.ttft.values())
        self._history.add(pulse.at / NS_PER_S, tokens, waits, self._in_flight)

    def figures(self) -> Figures:
        """Return the current figures."""
        now, last, quantile = time.monotonic(), self._last.values(), self._checks.quantile
        finished, failed = sum(pulse.finished for pulse in last), sum(pulse.failed for pulse in last)
        fraction, elapsed = self._fraction(now, finished), now - self._began
        stopping = any(pulse.stopping for pulse in last)
        qps, tokens = self._recent(now, finished - failed, sum(pulse.tokens for pulse in last))
        return Figures(
            elapsed=elapsed,
            remaining=None if not fraction or elapsed < 1 or stopping else elapsed * (1 - fraction) / fraction,
            fraction=fraction,
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
            failures=dict(self._failures.most_common()),
            slos={name: met / known if known == self._judged else None for name, (met, known) in self._slos.items()},
            doubts=self._checks.doubts(last, self._behind()),
            history=self._history.snapshot(),
        )

    @property
    def _in_flight(self) -> int:
        return sum(pulse.in_flight for pulse in self._last.values())

    def _behind(self) -> float:
        """Return how long ago the oldest arrival that waits for a slot was due, s; 0 in a closed loop."""
        offsets, waiting = self._plan.offsets, sum(pulse.overdue for pulse in self._last.values())
        if offsets is None or not waiting:
            return 0.0
        now = max(pulse.at for pulse in self._last.values())
        oldest = max(0, int(offsets.searchsorted(now, "right")) - waiting)
        return max(0.0, (now - int(offsets[oldest])) / NS_PER_S)

    def _fraction(self, now: float, finished: int) -> float | None:
        """Return the fraction of the run that is done, by requests or by time, whichever is larger."""
        fractions = []
        if self._plan.requests:
            fractions.append(min(1.0, finished / self._plan.requests))
        if self._duration:
            fractions.append(min(1.0, (now - self._began) / self._duration))
        return max(fractions, default=None)

    def _recent(self, now: float, done: int, tokens: int) -> tuple[float, float]:
        """Compute successes and output tokens per second over the last few seconds."""
        self._recently.append((now, done, tokens))
        while len(self._recently) > 2 and now - self._recently[0][0] > RECENT:
            self._recently.popleft()
        then, done_then, tokens_then = self._recently[0]
        passed = max(now - then, 1e-9)
        return (done - done_then) / passed, max(0, tokens - tokens_then) / passed
