"""Stop conditions beside the number of requests and the time: too many errors, and over-saturation.

Tells the detectors, which are pure, what the pulses of a run say, and its team when they have seen enough.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from loadstone.config.schema import Config
from loadstone.engine.worker_messages import Progress
from loadstone.metrics.saturation import SaturationDetector
from loadstone.units import NS_PER_S

# Seconds between two looks at the requests in flight.
CHECK_EVERY = 1.0
Stop = Callable[[str, float], None]


class StopConditions:
    """Those that the configuration asks for. `stop` is called once, with a reason and the time to drain; `reason` says
    why they, if they, ended the run.

    TTFT counts from the schedule here: under a cap on what is in flight it is the client's queue that grows.
    """

    def __init__(self, config: Config, notice: Callable[[str], None], stop: Stop) -> None:
        self._notice, self._stop = notice, stop
        self._grace = config.grace
        self._errors = None if config.stop_error_rate is None else ErrorRate(config.stop_error_rate)
        self._saturation = SaturationDetector() if config.stop_saturated else None
        self._looked = 0.0
        self._last: dict[int, Progress] = {}
        self.reason: str | None = None

    @property
    def any(self) -> bool:
        """Whether there is anything to watch for."""
        return self._errors is not None or self._saturation is not None

    def add(self, pulse: Progress) -> None:
        """How things stand in one of the processes."""
        self._last[pulse.worker] = pulse
        if self._errors is not None:
            for failed in pulse.outcomes:
                self._end("errors", self._errors.add(failed))
        if self._saturation is not None:
            self._look(pulse, self._saturation)

    def _look(self, pulse: Progress, detector: SaturationDetector) -> None:
        for wait in pulse.waits:
            detector.add_ttft(wait)
        now = pulse.at / NS_PER_S
        if now - self._looked < CHECK_EVERY:
            return
        self._looked, last = now, self._last.values()
        in_flight = sum(pulse.in_flight + pulse.overdue for pulse in last)
        detector.observe(now, sum(pulse.finished for pulse in last) + in_flight, in_flight)
        found = detector.verdict()
        self._end("saturated", None if found is None else f"over-saturated: {found}")

    def _end(self, reason: str, because: str | None) -> None:
        if because is None or self.reason is not None or any(pulse.stopping for pulse in self._last.values()):
            return
        self.reason = because
        self._notice(f"stopping: {because}")
        self._stop(reason, self._grace)


# Requests by which the error rate is judged: so many of the last, once there are so many at all.
RECENT, LEAST = 50, 20


class ErrorRate:
    """More than `limit` of the last requests failed. Those cut off or taken back by the client do not count."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._failed: deque[bool] = deque(maxlen=RECENT)

    def add(self, bad: bool) -> str | None:
        """One more request has ended; why to stop, or None."""
        self._failed.append(bad)
        failed, seen = sum(self._failed), len(self._failed)
        if seen < LEAST or failed <= self._limit * seen:
            return None
        return f"{failed} of the last {seen} requests failed, above --stop-error-rate {self._limit:g}"
