"""Scrape servers' process during a run: `python -m loadstone.server_metrics.scraper`, in its own process.

Parsing a page takes milliseconds, which the process that times streams cannot spare. It is told on stdin what to ask
for, says on stdout how the first look went, and is told when the run's time began; when its stdin ends, however that
comes, it takes a last look and ends. lookout.py starts it; what it writes is server_csv.py's to lay out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.host import event_loop
from loadstone.server_metrics import csv, prometheus
from loadstone.server_metrics.process import SCRAPE_TIMEOUT, SETTLE_TIME, MetricsPage, ScrapeSpec, StartSignal
from loadstone.server_metrics.prometheus import NotMetricsError, SeriesFilter, Values
from loadstone.transport import Exchange, Headers, Options, Request, Transport, TransportError, address
from loadstone.transport.factory import open_transport, tls_context
from loadstone.units import S_PER_NS

# The client's process goes first where both want one core.
NICE = 10


class Scrape(Struct, frozen=True):
    """What was found at an instant, ns; None: no answer, or not one of metrics, and why."""

    at: int
    values: Values | None
    error: str = ""


class PageClient:
    """One place, and the way to it. Raises UsageError when there is none."""

    def __init__(self, place: MetricsPage, wanted: ScrapeSpec) -> None:
        self.page = place
        self._keep = SeriesFilter(wanted.pattern)
        try:
            target, self._path = address.parse_url(place.url)
        except UsageError as exc:
            text = f"--scrape takes http://HOST:PORT/metrics or https://..., not {place.display_url!r}"
            raise UsageError(text) from exc
        tls = tls_context(insecure=wanted.insecure, ca_file=wanted.ca_file) if target.secure else None
        options = Options(clock=time.monotonic_ns, connect_timeout=wanted.connect_timeout, tls=tls)
        self._transport: Transport = open_transport(wanted.transport, target, options)

    async def scrape(self, patience: float = SCRAPE_TIMEOUT) -> Scrape:
        """Half way between question and answer is when the values were so."""
        begun, body = time.monotonic_ns(), bytearray()
        exchange = Exchange(lambda data, _: body.extend(data))
        values, why = None, ""
        try:
            async with asyncio.timeout(patience):
                await self._transport.exchange(Request("GET", self._path or "/", self._headers()), exchange)
            at = (begun + time.monotonic_ns()) // 2
            values = self._read(exchange, bytes(body))
        except (TransportError, NotMetricsError) as exc:
            at, why = time.monotonic_ns(), exc.failure.message if isinstance(exc, TransportError) else str(exc)
        except TimeoutError:
            at, why = time.monotonic_ns(), f"no answer within {patience:g} s"
        return Scrape(at, values, why)

    def _headers(self) -> Headers:
        return (("Accept", prometheus.ACCEPT), *self.page.headers)

    def _read(self, exchange: Exchange, body: bytes) -> Values:
        if exchange.status != 200:
            raise NotMetricsError(f"HTTP {exchange.status}")
        kind, encoding = (
            (exchange.header(name) or b"").decode("latin-1").lower() for name in (b"content-type", b"content-encoding")
        )
        return prometheus.parse_page(body, kind, encoding, self._keep)

    async def close(self) -> None:
        await self._transport.close()


class Scraper:
    """All places of a run. Nothing is written until it is known when the run's time began."""

    def __init__(self, wanted: ScrapeSpec) -> None:
        self._wanted = wanted
        self._pages = [PageClient(place, wanted) for place in wanted.pages]
        self._writers = [csv.ServerCsvWriter(page.page.display_url) for page in self._pages]
        self._kept: list[tuple[int, Scrape, bool]] = []
        self._origin: int | None = None
        self._file: int | None = None

    async def scrape_before(self) -> None:
        """How things stand before the run."""
        await asyncio.gather(*(self._look(number) for number in range(len(self._pages))))

    def start(self, origin: int) -> None:
        self._origin = origin
        self._file = os.open(self._wanted.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._write(csv.head())
        kept, self._kept = self._kept, []
        for one in kept:
            self._add(*one)

    async def scrape_repeatedly(self) -> None:
        """Until it is cancelled."""
        await asyncio.gather(*(self._follow(number) for number in range(len(self._pages))))

    async def finish(self) -> None:
        """How things stand at the end, with all buckets."""
        if self._origin is not None:
            await asyncio.sleep(SETTLE_TIME)
            await asyncio.gather(*(self._look(number, whole=True) for number in range(len(self._pages))))
        for page in self._pages:
            await page.close()

    async def _follow(self, number: int) -> None:
        """At fixed instants; those that a slow answer has used up are left out."""
        every, due = round(self._wanted.interval / S_PER_NS), time.monotonic_ns()
        while True:
            due += every * max(1, -(-(time.monotonic_ns() - due) // every))
            await asyncio.sleep((due - time.monotonic_ns()) * S_PER_NS)
            await self._look(number)

    async def _look(self, number: int, whole: bool = False) -> None:
        self._add(number, await self._pages[number].scrape(), whole)

    def _add(self, number: int, look: Scrape, whole: bool) -> None:
        if self._origin is None:
            self._kept.append((number, look, whole))
        else:
            self._write(self._writers[number].rows((look.at - self._origin) * S_PER_NS, look.values, whole))

    def _write(self, text: str) -> None:
        """A disk that is full ends the looking, not the run."""
        data = text.encode()
        while data and self._file is not None:
            data = data[os.write(self._file, data) :]


async def serve(scraper: Scraper, pipe: int) -> None:
    """From the first look to the end of stdin and the last."""
    await scraper.scrape_before()
    print("ready", flush=True)  # noqa: T201  to whoever started us
    words, end = asyncio.StreamReader(), asyncio.get_running_loop()
    await end.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), os.fdopen(pipe, "rb", 0))
    looking = asyncio.ensure_future(scraper.scrape_repeatedly())
    while line := await words.readline():
        with contextlib.suppress(msgspec.MsgspecError):
            scraper.start(msgspec.json.decode(line, type=StartSignal).origin)
    looking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await looking
    await scraper.finish()


def _lines(pipe: int) -> Iterator[bytes]:
    """One line, byte by byte: what follows is for the loop to read."""
    while (byte := os.read(pipe, 1)) not in (b"", b"\n"):
        yield byte


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    line = b"".join(_lines(0))
    if line:
        wanted = msgspec.json.decode(line, type=ScrapeSpec)
        with contextlib.suppress(OSError):  # the disk is full, or nobody reads us any more
            event_loop.run(serve(Scraper(wanted), os.dup(0)))


if __name__ == "__main__":
    main()
    sys.exit(0)
