"""The process that scrapes servers' metrics during a run (scraper.py), as the run sees it: start it, stop it.

Whatever happens to the process, the run goes on. The process ends when its stdin does, so it never outlives the run.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.host import child_process
from loadstone.transport import Headers

# Seconds to wait for a page.
SCRAPE_TIMEOUT = 5.0
# Seconds from the end of the run to the last scrape: servers count a request a moment after its last byte.
SETTLE_TIME = 0.3


class MetricsPage(Struct, frozen=True):
    """A page of metrics.

    url: its address.
    display_url: the address without secrets.
    headers: headers of the request.
    """

    url: str
    display_url: str
    headers: Headers = ()


class ScrapeSpec(Struct, frozen=True, kw_only=True):
    """What to scrape, for the scraping process.

    pages: pages to scrape.
    interval: seconds between two scrapes.
    pattern: regular expression that matches the whole names of the series to keep.
    file: path of the server.csv to write.
    secrets: texts that are not written. It comes through a pipe, as the headers do.
    transport, insecure, ca_file, client_cert, client_key, connect_timeout: settings of the connections.
    """

    pages: list[MetricsPage]
    interval: float
    pattern: str
    file: str
    transport: str
    insecure: bool
    ca_file: str | None
    client_cert: str | None
    client_key: str | None
    connect_timeout: float
    secrets: list[str] = []


class ScrapeProcess:
    """The scraping process. Its methods block, so call them from threads (or with gevent's `popen`). None raises."""

    def __init__(self, spec: ScrapeSpec, popen: Any = subprocess.Popen) -> None:
        self._spec = spec
        self._popen = popen
        self._process: Any = None

    def start(self) -> bool:
        """Start the process and wait until it has scraped all pages once. Return False if it fails."""
        if not self._spec.pages:
            return True
        with contextlib.suppress(OSError):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self._process = child_process.start("loadstone.server_metrics.scraper", popen=self._popen, **pipes)
            self._send(self._spec)
            return bool(self._process.stdout.readline())
        return False

    def set_origin(self, origin: int) -> None:
        """Send the beginning of the run's time, ns of the monotonic clock."""
        self._send(origin)

    def stop(self) -> bool:
        """Wait for the last scrape and the end of the process. Return False if it had ended before, or hangs.

        A process that hangs is killed.
        """
        process, self._process = self._process, None
        if process is None:
            return True
        alive = process.poll() is None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(SCRAPE_TIMEOUT + SETTLE_TIME + 1.0)
        except subprocess.TimeoutExpired:
            alive = False
            process.kill()
            process.wait()
        process.stdout.close()
        return alive

    def _send(self, message: ScrapeSpec | int) -> None:
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(msgspec.json.encode(message) + b"\n")
                self._process.stdin.flush()
