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
from loadstone.engine.progress_digest import Digest, bins
from loadstone.engine.requests import PreparedRequests
from loadstone.engine.retry_policy import RetryPolicy
from loadstone.engine.run_folder import Recorder
from loadstone.engine.runner import Runner, Times
from loadstone.engine.sender import Endpoint, RequestStyle, Sender
from loadstone.engine.worker_messages import Progress, WorkerResult
from loadstone.host import timer
from loadstone.host.client_health import ClientHealth
from loadstone.host.timer import Timer
from loadstone.records import Failure, Record
from loadstone.schedule.partition import Partition
from loadstone.schedule.plan import Plan
from loadstone.units import NS_PER_S

# Seconds between two pulses.
BEAT = 0.2
Hear = Callable[[Progress], None]
# Is told when the run's time is 0, ns of the clock.
Began = Callable[[int], None]


class WorkerInputs(Struct, frozen=True, kw_only=True):
    """What there is to do: as Commission says it, made ready."""

    config: Config
    api: API
    plan: Plan
    jobs: PreparedRequests
    doors: list[Endpoint]
    records: Path
    share: Partition = Partition()
    request_ids: str | None = None
    led: bool = False


class Worker:
    """A part under way."""

    def __init__(self, part: WorkerInputs) -> None:
        self._part = part
        self._hear: Hear | None = None
        self._secrets = keys.secrets(part.config)
        self._digest = Digest(part.config.goodput)
        self._health = ClientHealth()
        self._looked, self._sends, self._cpu = 0, 0, time.process_time()
        self._recorder = Recorder(part.records)
        self._waiter = Timer(asyncio.get_running_loop())
        self.runner = _runner(part, self._keep, self._waiter)

    async def run(
        self, hear: Hear | None = None, origin: int | None = None, began: Began = lambda _: None
    ) -> WorkerResult:
        """To the end: why it ended, and how this process fared. `hear` is called a few times a second with how things
        stand. `origin`: when the run begins, ns of the clock."""
        self._hear = hear
        try:
            with quiet_gc():
                async with watched(self._beat(hear) if hear else None):
                    self._health.start()
                    asyncio.get_running_loop().call_soon(lambda: began(self.runner.origin))
                    ended = await self.runner.run(origin)
        finally:
            client = self._health.stop(self.runner.carrier.lags)
            self.close()
        if hear:
            hear(self._pulse())
        if self._recorder.error is not None:  # it may have come with the last of the records
            ended = _unwritten(self._recorder.error)
        runner = self.runner
        return WorkerResult(
            worker=self._part.share.worker,
            ended=ended,
            written=runner.carrier.written,
            unsent=runner.unsent,
            client=client,
            held=runner.attempts.held,
        )

    def close(self) -> None:
        """All records are in the file then."""
        self._recorder.close()
        self._waiter.close()

    def stop(self, reason: str, grace: float) -> None:
        self.runner.stop(reason, grace)

    @property
    def in_flight(self) -> int:
        return len(self.runner.carrier.flights)

    def _keep(self, record: Record) -> None:
        """Raises whatever hinders the record from being written, and then nothing of it is."""
        self._recorder.add(_scrubbed(record, self._secrets))
        if self._hear and not record.superseded:
            self._digest.add(record)
        if self._recorder.error is not None and not self.runner.stopping:
            self.runner.stop(_unwritten(self._recorder.error))

    async def _beat(self, hear: Hear) -> None:
        while True:
            await asyncio.sleep(BEAT)
            hear(self._pulse())

    def _pulse(self) -> Progress:
        runner, carrier = self.runner, self.runner.carrier
        since, cpu = self._looked, self._cpu
        self._looked, self._cpu = runner.now, time.process_time()
        pulse = self._digest.pulse(self._part.share.worker, self._looked)
        sends, self._sends = carrier.lags[self._sends :], len(carrier.lags)
        lags, waited = self._health.since()
        passed = max(self._looked - since, 1)
        return msgspec.structs.replace(
            pulse,
            finished=carrier.finished,
            failed=carrier.failed,
            in_flight=len(carrier.flights),
            overdue=runner.overdue,
            stopping=runner.stopping,
            tokens=pulse.tokens + sum(len(flight.reply.times) for flight in carrier.flights),
            waits=pulse.waits + self._waits(since + runner.origin),
            cpu=(self._cpu - cpu) * NS_PER_S / passed,
            waited=None if waited is None else waited * NS_PER_S / passed,
            lags=bins(lags),
            sends=bins(sends),
        )

    def _waits(self, since: int) -> list[float]:
        """Seconds from schedule to first output, of the answers that began since then and are still under way."""
        flights = (flight for flight in self.runner.carrier.flights if not flight.order.attempt)
        begun = ((flight.reply.first, flight.order.scheduled) for flight in flights)
        return [(first - scheduled) / NS_PER_S for first, scheduled in begun if first is not None and first > since]


def _runner(part: WorkerInputs, keep: Callable[[Record], None], waiter: Timer) -> Runner:
    config = part.config
    limits = TimeLimits(
        ttft=config.ttft_timeout, idle=config.idle_timeout, whole=config.timeout, cancel=config.cancel_after
    )
    style = RequestStyle(
        limits=limits,
        keep_text=_keeps_text(config),
        request_ids=part.request_ids,
        worker=part.share.worker,
        retries=RetryPolicy(most=config.retries, longest=config.retry_longest, seed=config.seed),
    )
    carrier = Sender(part.plan, part.jobs, part.api, part.doors, keep, clock=timer.clock, style=style)
    times = Times(duration=config.duration, grace=config.grace)
    limited = rate_limit.RateLimits(rpm=config.rpm, tpm=config.tpm)
    spending = None if limited == rate_limit.RateLimits() else rate_limit.RateLimiter(limited.part(part.share.workers))
    return Runner(carrier, times, waiter.until, part.share, part.led, spending)


def _unwritten(error: OSError) -> str:
    return f"cannot write records: {error.strerror}"


def _scrubbed(record: Record, secrets: list[str]) -> Record:
    if record.error is None:
        return record
    message = keys.without(record.error.message, secrets)
    return msgspec.structs.replace(record, error=Failure(record.error.kind, message))


def _keeps_text(config: Config) -> Callable[[InFlightRequest], bool] | None:
    """Texts are kept when asked for, or where only they can tell the number of tokens."""
    if config.save_text:
        return lambda _: True
    if config.tokenizer is not None:
        return lambda flight: flight.reply.usage is None
    return None
