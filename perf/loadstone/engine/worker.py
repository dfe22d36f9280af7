"""Run one worker process's partition of a load test: send requests, write records, report progress.

It may be the only process or one of several, here or on other machines; it does not need to know. It plans nothing and
makes no report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from loadstone.config import secrets
from loadstone.engine.in_flight import InFlightRequest
from loadstone.engine.lifecycle import quiet_gc, watched
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.progress_digest import Progress, count_bins, digest_records
from loadstone.engine.retry_policy import RetryPolicy
from loadstone.engine.run_folder import Recorder
from loadstone.engine.runner import Runner
from loadstone.engine.sender import Sender
from loadstone.host import timer
from loadstone.host.client_health import ClientHealth
from loadstone.host.timer import Timer
from loadstone.records import Record
from loadstone.schedule.partition import Partition
from loadstone.summary import EndReason
from loadstone.units import NS_PER_S

if TYPE_CHECKING:
    from loadstone.engine.rate_limit import RateLimiter

# Seconds between two progress reports.
PROGRESS_INTERVAL = 0.2
OnProgress = Callable[[Progress], None]
# Gets the ns of the clock at which the run's time is 0.
OnStart = Callable[[int], None]


class WorkerResult(Struct, frozen=True, kw_only=True, tag=True):
    """The last message of a worker: all its records are in the file.

    ended: why it ended, as in run.json.
    written: number of records.
    unsent_turns: later turns of conversations that there was no time for.
    client: figures of this process, see `client_health.ClientHealth.stop`.
    delayed: requests that the rate limits delayed, and by how many ns in total.
    write_error: why the records could not all be written; None if they were.
    """

    worker: int
    ended: EndReason
    written: int
    unsent_turns: int
    client: dict[str, float | None]
    delayed: tuple[int, int] = (0, 0)
    write_error: str | None = None


class RunEnd(Struct, frozen=True):
    """How a run ended.

    ended: the reason, as in run.json.
    because: a sentence, where there was a special reason.
    results: of each worker that ended by itself.
    """

    ended: EndReason
    because: str | None
    results: list[WorkerResult]


class Worker:
    """Runs one partition of a plan. Needs a running event loop."""

    size = 1

    def __init__(
        self,
        prepared: PreparedRun,
        records: Path,
        request_ids: str | None = None,
        partition: Partition | None = None,
        live_concurrency: bool = False,
    ) -> None:
        """Prepare a run.

        records: path of the file to write records to.
        request_ids: prefix of the request ids; None: no ids.
        partition: the positions and slots of this process; None: all.
        live_concurrency: the number of slots comes from `Runner.set_concurrency`, not from the plan.
        """
        config = prepared.config
        partition = partition or Partition()
        self._worker = partition.worker
        self._on_progress: OnProgress | None = None
        self._secrets = secrets.find_secrets(config)
        self._slos = config.goodput
        self._health = ClientHealth()
        # As of the last progress report: records since, output tokens, ns of the run, number of send lags, s of CPU.
        self._unreported: list[Record] = []
        self._reported_tokens = 0
        self._reported_at = 0
        self._reported_sends = 0
        self._reported_cpu = time.process_time()
        self._recorder = Recorder(records, secrets.scrubber(self._secrets))
        self._timer = Timer(asyncio.get_running_loop())

        # Texts are kept when asked for, or where only they give the number of tokens.
        keep_text: Callable[[InFlightRequest], bool] | None = None
        if config.save_text:
            keep_text = lambda _: True  # noqa: E731
        elif config.tokenizer is not None:
            keep_text = lambda request: request.response.usage is None  # noqa: E731
        self._rate_limiter: RateLimiter | None = None
        if config.rpm is not None or config.tpm is not None:
            from loadstone.engine.rate_limit import RateLimiter  # few runs are limited

            self._rate_limiter = RateLimiter(config.rpm, config.tpm, partition.workers)
        sender = Sender(
            prepared.plan,
            prepared.requests,
            prepared.api,
            prepared.endpoints,
            self._record,
            clock=timer.clock,
            limits=config,
            keep_text=keep_text,
            request_ids=request_ids,
            worker=self._worker,
            retries=RetryPolicy(max_retries=config.retries, max_wait=config.retry_longest, seed=config.seed),
            rate_limiter=self._rate_limiter,
        )
        self.runner = Runner(
            sender,
            wait=self._timer.until,
            partition=partition,
            duration=config.duration,
            grace=config.grace,
            live_concurrency=live_concurrency,
        )

    @property
    def in_flight(self) -> int:
        """Return the number of requests in flight."""
        return len(self.runner.sender.in_flight)

    def stop(self, reason: EndReason, grace: float) -> None:
        """Stop sending; requests in flight have `grace` seconds to end."""
        self.runner.stop(reason, grace)

    async def run(
        self, on_progress: OnProgress | None = None, origin: int | None = None, on_start: OnStart = lambda _: None
    ) -> RunEnd:
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
        write_error = None
        if (error := self._recorder.error) is not None:
            ended, write_error = EndReason.WRITE, f"cannot write records: {error.strerror}"
        result = WorkerResult(
            worker=self._worker,
            ended=ended,
            written=self.runner.sender.written,
            unsent_turns=self.runner.unsent_turns,
            client=client,
            delayed=(0, 0) if self._rate_limiter is None else self._rate_limiter.delayed,
            write_error=write_error,
        )
        return RunEnd(ended, write_error, [result])

    def close(self) -> None:
        """Close the file of records, when all of them are written."""
        self._recorder.close()
        self._timer.close()

    def _record(self, record: Record) -> None:
        """Write a record without secrets. If it raises, nothing of the record is written."""
        if record.error is not None:
            message = secrets.hide_secrets(record.error.message, self._secrets)
            record = msgspec.structs.replace(record, error=msgspec.structs.replace(record.error, message=message))
        self._recorder.add(record)
        if self._on_progress and not record.superseded:
            self._unreported.append(record)
        if self._recorder.error is not None and not self.runner.stopping:
            self.runner.stop(EndReason.WRITE)

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

        records = self._unreported
        self._unreported = []
        progress = digest_records(records, self._worker, since, self._reported_at, self._slos)
        self._reported_tokens += progress.tokens
        send_lags = sender.send_lags[self._reported_sends :]
        self._reported_sends = len(sender.send_lags)
        loop_lags, core_wait = self._health.new_samples()
        # Seconds from due to the first output, of the requests in flight that had it since the last report.
        starts = [(request.response.first, request.due) for request in sender.in_flight if not request.attempt]
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
            tokens=self._reported_tokens + sum(len(request.response.times) for request in sender.in_flight),
            waits=progress.waits + waits,
            cpu=(self._reported_cpu - cpu) * NS_PER_S / elapsed,
            core_wait=None if core_wait is None else core_wait * NS_PER_S / elapsed,
            loop_lags=count_bins(loop_lags),
            send_lags=count_bins(send_lags),
        )
