"""Contexts around a run: a quiet garbage collector, and a task beside the run. Each ends with the run."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Iterator


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
