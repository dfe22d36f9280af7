"""Scrapes servers' process during a run: `python -m loadstone.server_metrics.scraper`, in a process of its own.

Parsing a page takes milliseconds, which the process that times streams cannot spare. The process reads the ScrapeSpec
from stdin, prints a line when the first scrape is done, and reads when the run began. When its stdin ends, for whatever
reason, it scrapes once more and exits. process.py starts it; page_client.py requests a page; csv.py makes the rows that
it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time

import msgspec

from loadstone.config.secrets import scrubber
from loadstone.host import event_loop
from loadstone.server_metrics import csv
from loadstone.server_metrics.page_client import PageClient, Scrape
from loadstone.server_metrics.process import SETTLE_TIME, ScrapeSpec
from loadstone.units import S_PER_NS

# Niceness of the process: the client's process goes first if both want one core.
NICE = 10


class Scraper:
    """Scrapes all pages of a run. It writes nothing until it knows when the run's time began."""

    def __init__(self, spec: ScrapeSpec) -> None:
        self._spec = spec
        self._clients = [PageClient(page, spec) for page in spec.pages]
        self._writers = [csv.ServerCsvWriter(page.display_url) for page in spec.pages]
        self._early: list[tuple[int, Scrape]] = []  # scrapes before the run's time began, with the number of the page
        self._origin: int | None = None
        self._file: int | None = None
        self._scrub = scrubber(spec.secrets)

    async def scrape_before(self) -> None:
        """Scrape all pages before the run."""
        await asyncio.gather(*(self._scrape(number) for number in range(len(self._clients))))

    def start(self, origin: int) -> None:
        """Begin to write. `origin`: the beginning of the run's time, ns of the monotonic clock."""
        self._origin = origin
        self._file = os.open(self._spec.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._write(csv.head())
        early, self._early = self._early, []
        for number, scrape in early:
            self._add(number, scrape)

    async def scrape_repeatedly(self) -> None:
        """Scrape all pages at fixed instants until it is cancelled."""
        await asyncio.gather(*(self._repeat(number) for number in range(len(self._clients))))

    async def finish(self) -> None:
        """Scrape all pages at the end of the run, with all buckets, and close the connections."""
        if self._origin is not None:
            await asyncio.sleep(SETTLE_TIME)
            await asyncio.gather(*(self._scrape(number, whole=True) for number in range(len(self._clients))))
        for client in self._clients:
            await client.close()

    async def _repeat(self, number: int) -> None:
        """Scrape one page at fixed instants; those that pass during a slow response are left out."""
        interval, due = round(self._spec.interval / S_PER_NS), time.monotonic_ns()
        while True:
            due += interval * max(1, -(-(time.monotonic_ns() - due) // interval))
            await asyncio.sleep((due - time.monotonic_ns()) * S_PER_NS)
            await self._scrape(number)

    async def _scrape(self, number: int, whole: bool = False) -> None:
        self._add(number, await self._clients[number].scrape(), whole)

    def _add(self, number: int, scrape: Scrape, whole: bool = False) -> None:
        if self._origin is None:
            self._early.append((number, scrape))
        else:
            self._write(self._writers[number].rows((scrape.at - self._origin) * S_PER_NS, scrape.values, whole))

    def _write(self, text: str) -> None:
        """Write to the file. Raises OSError, which ends the scraping but not the run (a full disk)."""
        data = text.encode()
        if self._scrub is not None:
            data = self._scrub(data)
        while data and self._file is not None:
            data = data[os.write(self._file, data) :]


async def serve(scraper: Scraper, pipe: int) -> None:
    """Scrape from before the run until the end of `pipe`, which brings the beginning of the run, and once more."""
    await scraper.scrape_before()
    print("ready", flush=True)  # noqa: T201  for the process that started this one
    reader, loop = asyncio.StreamReader(), asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", 0))
    scraping = asyncio.ensure_future(scraper.scrape_repeatedly())
    while line := await reader.readline():
        with contextlib.suppress(msgspec.MsgspecError):
            scraper.start(msgspec.json.decode(line, type=int))
    scraping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await scraping
    await scraper.finish()


def main() -> None:
    """Run the scraping process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    # One line, byte by byte: what follows is for the event loop to read.
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    if line:
        spec = msgspec.json.decode(line, type=ScrapeSpec)
        with contextlib.suppress(OSError):  # the disk is full, or nobody reads stdout any more
            event_loop.run(serve(Scraper(spec), os.dup(0)))


if __name__ == "__main__":
    main()
    sys.exit(0)
