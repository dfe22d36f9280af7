"""Contexts around a run: a quiet garbage collector, Ctrl-C that stops in two steps, a task beside the run.

Each restores the process at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol


class Stoppable(Protocol):
    """A run in one process or several."""

    @property
    def in_flight(self) -> int:
        """Return the number of requests in flight."""

    def stop(self, reason: str, grace: float) -> None:
        """Stop sending; requests in flight have `grace` seconds to end."""


@contextlib.contextmanager
def quiet_gc() -> Iterator[None]:
    """Keep the garbage collector from objects that exist now, and run it rarely.

    A full collection would stall every stream, and requests leave no reference cycles behind.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@contextlib.contextmanager
def interrupts(run: Stoppable, grace: float, notice: Callable[[str], None]) -> Iterator[None]:
    """Stop `run` at Ctrl-C or SIGTERM: the first one lets requests in flight end within `grace` seconds, the second
    cancels them."""
    loop = asyncio.get_running_loop()
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            waiting = f"stopping: waiting up to {grace:g} s for {run.in_flight} requests in flight"
            notice(f"{waiting}; Ctrl-C again cuts them off")
        run.stop("interrupted", grace if calls == 1 else 0.0)

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = [signal.getsignal(number) for number in numbers]
    for number in numbers:
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupt))
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.asynccontextmanager
async def watched(watch: Awaitable[None] | None) -> AsyncIterator[None]:
    """Run `watch` during the context and cancel it at the end."""
    task = None if watch is None else asyncio.ensure_future(watch)
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
