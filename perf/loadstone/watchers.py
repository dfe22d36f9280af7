"""Stop conditions beside the number of requests and the time: too many errors, and over-saturation.

Tells the detectors, which are pure, what happens in a run, and the runner when they have seen enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loadstone.config import Config
from loadstone.flight import NS
from loadstone.records import Record
from loadstone.runner import Runner
from loadstone.saturation import Detector
from loadstone.stops import ErrorRate

LOOK = 1.0
"""Seconds between two looks at the requests in flight."""


class Watchers:
    """Those that the configuration asks for. `because` says why they, if they, ended the run.

    TTFT counts from the schedule here: under a cap on what is in flight it is the client's queue that grows.
    """

    def __init__(self, config: Config, notice: Callable[[str], None]) -> None:
        self._notice = notice
        self._grace = config.grace
        self._errors = None if config.stop_error_rate is None else ErrorRate(config.stop_error_rate)
        self._saturation = Detector() if config.stop_saturated else None
        self._looked = 0
        self.runner: Runner | None = None
        self.because: str | None = None

    def add(self, record: Record) -> None:
        """A request has ended."""
        if self._errors is not None:
            self._end("errors", self._errors.add(record))
        if self._saturation is not None:
            first = record.first if record.streamed else record.end
            if first is not None and first > self._looked:
                self._saturation.first((first - record.scheduled) / NS)

    async def watch(self) -> None:
        """Look at the run about once a second, until cancelled."""
        while self._saturation is not None:
            await asyncio.sleep(LOOK)
            assert self.runner is not None
            self._look(self.runner, self._saturation)

    def _look(self, runner: Runner, detector: Detector) -> None:
        since = self._looked + runner.origin
        for flight in runner.carrier.flights:
            first = flight.reply.first
            if first is not None and first > since:
                detector.first((first - flight.order.scheduled) / NS)
        self._looked = runner.now
        in_flight = len(runner.carrier.flights) + runner.overdue
        detector.look(runner.now / NS, runner.carrier.finished + in_flight, in_flight)
        found = detector.verdict()
        self._end("saturated", None if found is None else f"over-saturated: {found}")

    def _end(self, reason: str, because: str | None) -> None:
        assert self.runner is not None
        if because is None or self.runner.stopping:
            return
        self.because = because
        self._notice(f"stopping: {because}")
        self.runner.stop(reason, self._grace)
