"""The event loop: uvloop where it is installed (Linux, macOS), asyncio's own elsewhere (Windows)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")
OPEN_FILES = 65_536


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def run(work: Coroutine[object, object, T]) -> T:
    """Run to completion on the best loop there is, with as many open files as the system lets this process have.
    Raises RuntimeError inside an event loop, where it would have to wait for itself."""
    if _running():
        work.close()
        raise RuntimeError("an event loop is running here already: in it, await loadstone.load_test(config),"
                           " or loadstone.evals.evaluate.evaluate(settings)")  # fmt: skip
    _raise_open_files()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)


def _running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _raise_open_files() -> None:
    """A stream is an open file, and the usual soft limit of 1024 is far below what the hard limit allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
