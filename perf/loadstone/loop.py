"""The event loop: uvloop where it is installed (Linux, macOS), asyncio's own elsewhere (Windows)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def run(work: Coroutine[object, object, T]) -> T:
    """Run to completion on the best loop there is."""
    with asyncio.Runner(loop_factory=factory()) as runner:
        return runner.run(work)
