"""The processes of a run as the load test sees them: create as many as it needs, and stop them at Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Protocol

from loadstone.engine import run_folder
from loadstone.engine.prepare import PreparedRun
from loadstone.engine.worker import OnProgress, OnStart, RunEnd, Worker
from loadstone.host import ceiling, machine
from loadstone.host.client_health import allowed_cores
from loadstone.schedule import worker_count
from loadstone.schedule.partition import split_plan
from loadstone.summary import EndReason
from loadstone.transport import address
from loadstone.units import NS_PER_S

# Rows of which the output length is looked up to choose the number of workers.
SAMPLE = 1000


class Workers(Protocol):
    """The processes of a run, `size` of them."""

    size: int

    @property
    def in_flight(self) -> int:
        """Return the number of requests in flight."""

    def stop(self, reason: EndReason, grace: float) -> None:
        """Stop sending; requests in flight have `grace` seconds to end."""

    async def run(self, on_progress: OnProgress | None, *, on_start: OnStart = lambda _: None) -> RunEnd:
        """Run to the end. `on_start` gets the ns of the clock at which the run's time is 0."""


def create_workers(prepared: PreparedRun, folder: run_folder.RunFolder, request_ids: str | None) -> Workers:
    """Create as many worker processes as the configuration says, or run in this process if it is one."""
    config = prepared.config
    plan = prepared.plan
    if config.workers != "auto":
        workers = config.workers
    elif config.own_model:  # each process would create a model of its own
        workers = 1
    else:
        # As many as the load needs and this machine can use.
        lengths = [
            length for row in range(min(len(plan.turns), SAMPLE)) if (length := prepared.requests.get(row).output_len)
        ]
        stored = ceiling.load_ceiling(config)
        recorded = None
        if plan.offsets is not None:
            recorded = len(plan.offsets) * NS_PER_S / max(1, int(plan.offsets[-1]))
        workers = worker_count.choose_workers(
            plan.load,
            round(sum(lengths) / len(lengths)) if lengths else None,
            len(allowed_cores() or [0]),
            any(machine.is_local(address.parse_url(url)[0]) for url in config.urls),
            stored.events_per_second if stored else None,
            recorded,
        )
    if len(split_plan(plan, workers)) == 1:
        return Worker(prepared, folder.path / run_folder.RECORDS, request_ids)
    from loadstone.engine.worker_pool import WorkerPool  # only a run with several processes needs it

    return WorkerPool(prepared, folder, workers, request_ids)


@contextlib.contextmanager
def interrupts(run: Workers, grace: float, notice: Callable[[str], None]) -> Iterator[None]:
    """Stop `run` at Ctrl-C, SIGTERM or SIGHUP (a terminal that was closed): the first one lets requests in flight end
    within `grace` seconds, the second cancels them. A SIGHUP that is ignored stays so (nohup)."""
    loop = asyncio.get_running_loop()
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            waiting = f"stopping: waiting up to {grace:g} s for {run.in_flight} requests in flight"
            notice(f"{waiting}; Ctrl-C again cuts them off")
        run.stop(EndReason.INTERRUPTED, grace if calls == 1 else 0.0)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupt))
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
