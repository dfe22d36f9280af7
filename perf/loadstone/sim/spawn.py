"""Run a simulated server in a process of its own, for a run without --url."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
from collections.abc import Callable, Iterator

from loadstone.config.schema import Config
from loadstone.errors import ServerError
from loadstone.host import child_process

TTFT, ITL = "50ms", "10ms"


@contextlib.contextmanager
def with_server(config: Config, notice: Callable[[str], None]) -> Iterator[Config]:
    """Yield `config`, with the URL of a simulated server that runs as long as the context, if it has no URL.

    A configuration with a model of its own needs no server.
    """
    if config.url is not None or config.own_model:
        yield config
        return
    # The server gets no Ctrl-C: the run still needs it for the requests in flight.
    arguments = ("serve", "--port", "0", "--ttft", TTFT, "--itl", ITL)
    with child_process.start("loadstone", *arguments, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            if not url:
                raise ServerError("the simulated server did not start; give a server with --url")
            notice(f"no --url: testing a simulated server at {url} (TTFT {TTFT}, ITL {ITL}), not a real one")
            yield dataclasses.replace(config, url=url, simulated=True)
        finally:
            server.terminate()
