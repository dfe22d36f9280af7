"""Run one worker process's partition of a load test: send requests, write records, report progress.

It may be the only process or one of several, here or on other machines; it does not need to know. It plans nothing and
makes no report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.apis import API
from loadstone.config import secrets
from loadstone.config.schema import Config
from loadstone.engine.in_flight import InFlightRequest, TimeLimits
from loadstone.engine.lifecycle import quiet_gc, watched
from loadstone.engine.progress_digest import ProgressDigest, count_bins
from loadstone.engine.rate_limit import RateLimiter, RateLimits
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

# Seconds between two progress reports.
PROGRESS_INTERVAL = 0.2
OnProgress = Callable[[Progress], None]
# Gets the ns of the clock at which the run's time is 0.
OnStart = Callable[[int], None]


class WorkerInputs(Struct, frozen=True, kw_only=True):
    """What a worker needs, as objects; `WorkerSpec` is the message that they are made from.

    records: path of the file to write records to.
    partition: the positions and slots of this process.
    request_ids: prefix of the request ids; None: no ids.
    live_concurrency: True if the number of slots comes from `Runner.set_concurrency`, not from the plan.
    """

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
    """Runs one partition of a plan. Needs a running event loop."""

    def __init__(self, inputs: WorkerInputs) -> None:
        config = inputs.config
        self._worker = inputs.partition.worker
        self._on_progress: OnProgress | None = None
        self._secrets = secrets.find_secrets(config)
        self._digest = ProgressDigest(config.goodput)
        self._health = ClientHealth()
        # As of the last progress report: ns of the run, number of send lags, seconds of CPU.
        self._reported_at = 0
        self._reported_sends = 0
        self._reported_cpu = time.process_time()
        self._recorder = Recorder(inputs.records)
        self._timer = Timer(asyncio.get_running_loop())

        # Texts are kept when asked for, or where only they give the number of tokens.
        keep_text: Callable[[InFlightRequest], bool] | None = None
        if config.save_text:
            keep_text = lambda _: True  # noqa: E731
        elif config.tokenizer is not None:
            keep_text = lambda request: request.response.usage is None  # noqa: E731
        options = RequestOptions(
            limits=TimeLimits(
                ttft=config.ttft_timeout,
                idle=config.idle_timeout,
                total=config.timeout,
                cancel_after=config.cancel_after,
            ),
            keep_text=keep_text,
            request_ids=inputs.request_ids,
            worker=self._worker,
            retries=RetryPolicy(max_retries=config.retries, max_wait=config.retry_longest, seed=config.seed),
        )
        sender = Sender(
            inputs.plan,
            inputs.requests,
            inputs.api,
            inputs.endpoints,
            self._record,
            clock=timer.clock,
            options=options,
        )
        limits = RateLimits(rpm=config.rpm, tpm=config.tpm)
        self._rate_limiter: RateLimiter | None = None
        if limits != RateLimits():
            self._rate_limiter = RateLimiter(limits.divide(inputs.partition.workers))
        self.runner = Runner(
            sender,
            Times(duration=config.duration, grace=config.grace),
            self._timer.until,
            inputs.partition,
            inputs.live_concurrency,
            self._rate_limiter,
        )

    async def run(
        self, on_progress: OnProgress | None = None, origin: int | None = None, on_start: OnStart = lambda _: None
    ) -> WorkerResult:
        """Run to the end. Return why it ended and how this process fared.

        on_progress: called a few times a second.
        origin: when the run begins, ns of the clock; at once if None.
        """
        self._on_progress = on_progress
        try:
            with quiet_gc():
                async with watched(self._report_progress(on_progress) if on_progress else None):
                    self._health.start()
                    asyncio.get_running_loop().call_soon(lambda: on_start(self.runner.origin))
                    ended = await self.runner.run(origin)
        finally:
            client = self._health.stop(self.runner.sender.send_lags)
            self.close()
        if on_progress:
            on_progress(self._progress())
        # The error may have come with the last of the records.
        write_error = self._recorder.error
        return WorkerResult(
            worker=self._worker,
            ended=ended if write_error is None else _write_error(write_error),
            written=self.runner.sender.written,
            unsent_turns=self.runner.unsent_turns,
            client=client,
            delayed=(0, 0) if self._rate_limiter is None else self._rate_limiter.delayed,
            write_failed=write_error is not None,
        )

    def close(self) -> None:
        """Close the file of records, when all of them are written."""
        self._recorder.close()
        self._timer.close()

    def _record(self, record: Record) -> None:
        """Write a record without secrets. If it raises, nothing of the record is written."""
        if record.error is not None:
            message = secrets.hide_secrets(record.error.message, self._secrets)
            record = msgspec.structs.replace(record, error=Failure(record.error.kind, message))
        self._recorder.add(record)
        if self._on_progress and not record.superseded:
            self._digest.add(record)
        if self._recorder.error is not None and not self.runner.stopping:
            self.runner.stop(_write_error(self._recorder.error))

    async def _report_progress(self, on_progress: OnProgress) -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL)
            on_progress(self._progress())

    def _progress(self) -> Progress:
        """Return what happened since the last report, and the totals."""
        runner = self.runner
        sender = runner.sender
        since = self._reported_at
        cpu = self._reported_cpu
        self._reported_at = runner.now
        self._reported_cpu = time.process_time()
        elapsed = max(self._reported_at - since, 1)

        progress = self._digest.progress(self._worker, self._reported_at)
        send_lags = sender.send_lags[self._reported_sends :]
        self._reported_sends = len(sender.send_lags)
        loop_lags, core_wait = self._health.new_samples()
        # Seconds from due to the first output, of the requests in flight that had it since the last report.
        starts = [
            (request.response.first, request.scheduled.due)
            for request in sender.in_flight
            if not request.scheduled.attempt
        ]
        waits = [
            (first - due) / NS_PER_S for first, due in starts if first is not None and first > since + runner.origin
        ]
        return msgspec.structs.replace(
            progress,
            finished=sender.finished,
            failed=sender.failed,
            in_flight=len(sender.in_flight),
            overdue=runner.overdue,
            stopping=runner.stopping,
            tokens=progress.tokens + sum(len(request.response.times) for request in sender.in_flight),
            waits=progress.waits + waits,
            cpu=(self._reported_cpu - cpu) * NS_PER_S / elapsed,
            core_wait=None if core_wait is None else core_wait * NS_PER_S / elapsed,
            loop_lags=count_bins(loop_lags),
            send_lags=count_bins(send_lags),
        )


def _write_error(error: OSError) -> str:
    """Return the end reason of a run whose records could not be written."""
    return f"cannot write records: {error.strerror}"
