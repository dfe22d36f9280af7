"""Stop conditions other than the number of requests and the time: too many errors, and over-saturation.

Passes progress messages to the detectors, which are pure, and stops the run when they agree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from loadstone.config.schema import Config
from loadstone.engine.progress_digest import Progress, bin_middle
from loadstone.metrics.saturation import FAST_STEP, STEP, SaturationDetector
from loadstone.summary import EndReason
from loadstone.units import NS_PER_S

Stop = Callable[[EndReason, float], None]


class StopConditions:
    """The stop conditions of a configuration.

    stop: called once, with a reason and the time to drain.
    reason: why they ended the run, None otherwise.

    TTFT counts from the schedule here: with a limit on requests in flight, the queue of the client grows.
    """

    def __init__(self, config: Config, notice: Callable[[str], None], stop: Stop) -> None:
        self._notice, self._stop = notice, stop
        self._grace = config.grace
        self._errors = None if config.stop_error_rate is None else ErrorRate(config.stop_error_rate)
        # Two views of the run: a short one that decides within seconds, and one of many minutes for a slow rise.
        self._saturation = [SaturationDetector(step) for step in (FAST_STEP, STEP) if config.stop_saturated]
        self._last: dict[int, Progress] = {}
        self.reason: str | None = None

    def add(self, pulse: Progress) -> None:
        """Add a progress message of one process."""
        self._last[pulse.worker] = pulse
        if self._errors is not None:
            for failed in pulse.outcomes:
                self._end(EndReason.ERRORS, self._errors.add(failed))
        for detector in self._saturation:
            self._observe(pulse, detector)

    def _observe(self, pulse: Progress, detector: SaturationDetector) -> None:
        for wait in pulse.waits:
            detector.add_ttft(wait)
        for number, count in pulse.tpot.items():
            for _ in range(count):
                detector.add_tpot(bin_middle(number))
        last = self._last.values()
        in_flight = sum(pulse.in_flight + pulse.overdue for pulse in last)
        detector.observe(pulse.at / NS_PER_S, sum(pulse.finished for pulse in last) + in_flight, in_flight)
        found = detector.verdict()
        self._end(EndReason.SATURATED, None if found is None else f"over-saturated: {found}")

    def _end(self, reason: EndReason, text: str | None) -> None:
        if text is None or self.reason is not None or any(pulse.stopping for pulse in self._last.values()):
            return
        self.reason = text
        self._notice(f"stopping: {text}")
        self._stop(reason, self._grace)


# The error rate is that of the last 50 requests, once there are 20.
RECENT, MIN_REQUESTS = 50, 20


class ErrorRate:
    """Detects that more than a fraction `limit` of the last requests failed. Cancelled requests do not count."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._failed: deque[bool] = deque(maxlen=RECENT)

    def add(self, bad: bool) -> str | None:
        """Add a request that ended. Return the reason to stop, or None."""
        self._failed.append(bad)
        failed, count = sum(self._failed), len(self._failed)
        if count < MIN_REQUESTS or failed <= self._limit * count:
            return None
        return f"{failed} of the last {count} requests failed, above --stop-error-rate {self._limit:g}"
