"""Start processes of this program: the same Python, modules from where ours are from, in a session of their own.

A session of its own keeps Ctrl-C from a child: it is for the parent, which says what follows. A child that serves its
parent ends when its stdin ends, so it does not outlive a parent that was killed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def environment() -> dict[str, str]:
    """Return this environment with our module path: `-m` would look in the working folder first, whatever is there."""
    folders = [folder or os.getcwd() for folder in sys.path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONSAFEPATH": "1"}


def start(module: str, *arguments: str, popen: Callable[..., Any] = subprocess.Popen, **options: Any) -> Any:
    """Start `python -m MODULE ARGUMENTS` and return its `Popen`.

    popen: `subprocess.Popen` or gevent's.
    options: of `popen`, such as its pipes. Raises OSError when the process cannot be started.
    """
    command = [sys.executable, "-m", module, *arguments]
    return popen(command, start_new_session=True, env=environment(), **options)


async def start_async(module: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start `python -m MODULE ARGUMENTS` with pipes to its stdin and from its stdout. Raises OSError."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=environment(),
    )


def run(
    module: str, message: bytes, *, run_process: Callable[..., Any] = subprocess.run, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m MODULE` to its end, with `message` on its stdin, in this session.

    run_process: `subprocess.run` or gevent's.
    options: of `run_process`, such as its stdout.
    """
    result: subprocess.CompletedProcess[bytes] = run_process(
        [sys.executable, "-m", module], input=message, env=environment(), check=False, **options
    )
    return result
