"""The process that asks servers for their metrics during a run (scraper.py), as the run has it: start, beginning, end.

Whatever becomes of it, the run goes on; and it ends when its stdin does, so it never outlives the run.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.host import child_process

Headers = tuple[tuple[str, str], ...]
# Seconds for an answer.
SCRAPE_TIMEOUT = 5.0
# Seconds after the run's end before the last look: servers count a request a moment after its last byte.
SETTLE_TIME = 0.3


class MetricsPage(Struct, frozen=True):
    """A page of metrics, the headers to ask for it with, and how it is called in public."""

    url: str
    display_url: str
    headers: Headers = ()


class ScrapeSpec(Struct, frozen=True, kw_only=True):
    """What is to be asked for, how often (s), which series are kept, and where they are written."""

    pages: list[MetricsPage]
    interval: float
    pattern: str
    file: str
    transport: str
    insecure: bool
    ca_file: str | None
    connect_timeout: float


class StartSignal(Struct, frozen=True):
    """When the run's time began, ns of the monotonic clock."""

    origin: int


class ScrapeProcess:
    """The process. Its methods wait, and are for threads (or gevent's `popen`) to call; none raises."""

    def __init__(self, quest: ScrapeSpec, popen: Any = subprocess.Popen) -> None:
        self._wanted = quest
        self._popen = popen
        self._process: Any = None

    def start(self) -> bool:
        """Until it has looked at all pages once; False when it will not."""
        if not self._wanted.pages:
            return True
        with contextlib.suppress(OSError):
            self._process = child_process.start(
                "loadstone.server_metrics.scraper", popen=self._popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self._tell(self._wanted)
            return bool(self._process.stdout.readline())
        return False

    def set_origin(self, origin: int) -> None:
        """The run's time is 0 at `origin`, ns of the monotonic clock."""
        self._tell(StartSignal(origin))

    def stop(self) -> None:
        """The last look, and the end. One that hangs is killed."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(SCRAPE_TIMEOUT + SETTLE_TIME + 1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def _tell(self, message: ScrapeSpec | StartSignal) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(msgspec.json.encode(message) + b"\n")
                self._process.stdin.flush()
