"""What one process does of a run: it carries its share of the plan, writes the records, and tells how things stand.

The only process, or one of several, here or on other machines: it does not know. It plans nothing and reports nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.apis import API
from loadstone.config import secrets as keys
from loadstone.config.schema import Config
from loadstone.engine import rate_limit
from loadstone.engine.in_flight import InFlightRequest, TimeLimits
from loadstone.engine.lifecycle import quiet_gc, watched
from loadstone.engine.progress_digest import ProgressDigest, count_bins
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.retry_policy import RetryPolicy
from loadstone.engine.run_folder import Recorder
from loadstone.engine.runner import Runner, Times
from loadstone.engine.sender import Endpoint, RequestOptions, Sender
from loadstone.engine.worker_messages import Progress, WorkerResult
from loadstone.host import timer
from loadstone.host.client_health import ClientHealth
from loadstone.host.timer import Timer
from loadstone.records import Failure, Record
from loadstone.schedule.partition import Partition
from loadstone.schedule.plan import Plan
from loadstone.units import NS_PER_S

# Seconds between two pulses.
PROGRESS_INTERVAL = 0.2
OnProgress = Callable[[Progress], None]
# Is told when the run's time is 0, ns of the clock.
OnStart = Callable[[int], None]


class WorkerInputs(Struct, frozen=True, kw_only=True):
    """What there is to do: as Commission says it, made ready."""

    config: Config
    api: API
    plan: Plan
    requests: PreparedRequests
    endpoints: list[Endpoint]
    records: Path
    partition: Partition = Partition()
    request_ids: str | None = None
    live_concurrency: bool = False


class Worker:
    """A part under way."""

    def __init__(self, part: WorkerInputs) -> None:
        self._part = part
        self._hear: OnProgress | None = None
        self._secrets = keys.find_secrets(part.config)
        self._digest = ProgressDigest(part.config.goodput)
        self._health = ClientHealth()
        self._looked, self._sends, self._cpu = 0, 0, time.process_time()
        self._recorder = Recorder(part.records)
        self._waiter = Timer(asyncio.get_running_loop())
        self.runner = _runner(part, self._keep, self._waiter)

    async def run(
        self, on_progress: OnProgress | None = None, origin: int | None = None, on_start: OnStart = lambda _: None
    ) -> WorkerResult:
        """To the end: why it ended, and how this process fared. `on_progress` is called a few times a second with how things
        stand. `origin`: when the run begins, ns of the clock."""
        self._hear = on_progress
        try:
            with quiet_gc():
                async with watched(self._beat(on_progress) if on_progress else None):
                    self._health.start()
                    asyncio.get_running_loop().call_soon(lambda: on_start(self.runner.origin))
                    ended = await self.runner.run(origin)
        finally:
            client = self._health.stop(self.runner.sender.send_lags)
            self.close()
        if on_progress:
            on_progress(self._pulse())
        if self._recorder.error is not None:  # it may have come with the last of the records
            ended = _unwritten(self._recorder.error)
        runner = self.runner
        return WorkerResult(
            worker=self._part.partition.worker,
            ended=ended,
            written=runner.sender.written,
            unsent_turns=runner.unsent_turns,
            client=client,
            delayed=runner.attempts.delayed,
        )

    def close(self) -> None:
        """All records are in the file then."""
        self._recorder.close()
        self._waiter.close()

    def stop(self, reason: str, grace: float) -> None:
        self.runner.stop(reason, grace)

    @property
    def in_flight(self) -> int:
        return len(self.runner.sender.in_flight)

    def _keep(self, record: Record) -> None:
        """Raises whatever hinders the record from being written, and then nothing of it is."""
        self._recorder.add(_scrubbed(record, self._secrets))
        if self._hear and not record.superseded:
            self._digest.add(record)
        if self._recorder.error is not None and not self.runner.stopping:
            self.runner.stop(_unwritten(self._recorder.error))

    async def _beat(self, hear: OnProgress) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL)
            hear(self._pulse())

    def _pulse(self) -> Progress:
        runner, carrier = self.runner, self.runner.sender
        since, cpu = self._looked, self._cpu
        self._looked, self._cpu = runner.now, time.process_time()
        pulse = self._digest.progress(self._part.partition.worker, self._looked)
        sends, self._sends = carrier.send_lags[self._sends :], len(carrier.send_lags)
        lags, waited = self._health.new_samples()
        passed = max(self._looked - since, 1)
        return msgspec.structs.replace(
            pulse,
            finished=carrier.finished,
            failed=carrier.failed,
            in_flight=len(carrier.in_flight),
            overdue=runner.overdue,
            stopping=runner.stopping,
            tokens=pulse.tokens + sum(len(flight.response.times) for flight in carrier.in_flight),
            waits=pulse.waits + self._waits(since + runner.origin),
            cpu=(self._cpu - cpu) * NS_PER_S / passed,
            core_wait=None if waited is None else waited * NS_PER_S / passed,
            loop_lags=count_bins(lags),
            send_lags=count_bins(sends),
        )

    def _waits(self, since: int) -> list[float]:
        """Seconds from schedule to first output, of the answers that began since then and are still under way."""
        flights = (flight for flight in self.runner.sender.in_flight if not flight.scheduled.attempt)
        begun = ((flight.response.first, flight.scheduled.due) for flight in flights)
        return [(first - scheduled) / NS_PER_S for first, scheduled in begun if first is not None and first > since]


def _runner(part: WorkerInputs, keep: Callable[[Record], None], waiter: Timer) -> Runner:
    config = part.config
    limits = TimeLimits(
        ttft=config.ttft_timeout, idle=config.idle_timeout, total=config.timeout, cancel_after=config.cancel_after
    )
    style = RequestOptions(
        limits=limits,
        keep_text=_keeps_text(config),
        request_ids=part.request_ids,
        worker=part.partition.worker,
        retries=RetryPolicy(max_retries=config.retries, max_wait=config.retry_longest, seed=config.seed),
    )
    carrier = Sender(part.plan, part.requests, part.api, part.endpoints, keep, clock=timer.clock, options=style)
    times = Times(duration=config.duration, grace=config.grace)
    limited = rate_limit.RateLimits(rpm=config.rpm, tpm=config.tpm)
    spending = (
        None if limited == rate_limit.RateLimits() else rate_limit.RateLimiter(limited.divide(part.partition.workers))
    )
    return Runner(carrier, times, waiter.until, part.partition, part.live_concurrency, spending)


def _unwritten(error: OSError) -> str:
    return f"cannot write records: {error.strerror}"


def _scrubbed(record: Record, secrets: list[str]) -> Record:
    if record.error is None:
        return record
    message = keys.hide_secrets(record.error.message, secrets)
    return msgspec.structs.replace(record, error=Failure(record.error.kind, message))


def _keeps_text(config: Config) -> Callable[[InFlightRequest], bool] | None:
    """Texts are kept when asked for, or where only they can tell the number of tokens."""
    if config.save_text:
        return lambda _: True
    if config.tokenizer is not None:
        return lambda flight: flight.response.usage is None
    return None
