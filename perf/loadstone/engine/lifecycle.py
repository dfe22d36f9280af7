"""What surrounds a run: a quiet garbage collector, Ctrl-C that drains before it cuts, somebody who watches.

Each is a context; all of them leave the process as they found it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol


class Stoppable(Protocol):
    """A run, in one process or many."""

    @property
    def in_flight(self) -> int: ...

    def stop(self, reason: str, grace: float) -> None: ...


@contextlib.contextmanager
def quiet_gc() -> Iterator[None]:
    """What exists now is not looked at again, and the rest seldom: a full collection would stall every stream. Requests
    leave no cycles behind."""
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
def interrupts(team: Stoppable, grace: float, notice: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) once: nothing more is sent, what is in flight may end. Twice: it is cut off."""
    loop = asyncio.get_running_loop()
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            waiting = f"stopping: waiting up to {grace:g} s for {team.in_flight} requests in flight"
            notice(f"{waiting}; Ctrl-C again cuts them off")
        team.stop("interrupted", grace if calls == 1 else 0.0)

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
    """`watch` runs meanwhile, and is cancelled at the end."""
    task = None if watch is None else asyncio.ensure_future(watch)
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
