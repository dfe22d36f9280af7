"""Choose and run the event loop: uvloop where it is installed (Linux, macOS), else asyncio's own (Windows)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")
# Open files to allow for this process; a stream is an open file.
OPEN_FILES = 65_536


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the function that creates an event loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def run(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine to completion on the best loop there is, with as many open files as the system allows.

    Raises RuntimeError inside an event loop, where it would have to wait for itself.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        work.close()
        raise RuntimeError(
            "an event loop is running here already: in it, await loadstone.load_test(config),"
            " or loadstone.evals.evaluate.evaluate(settings)"
        )

    # The usual soft limit of 1024 open files is far below what the hard limit allows. Windows has no such limit.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)
