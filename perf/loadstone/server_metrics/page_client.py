"""Requests one page of metrics: once to see what a server has (discovery.py), and during a run (scraper.py)."""

from __future__ import annotations

import asyncio
import time

from msgspec import Struct

from loadstone.errors import ConfigError, UsageError
from loadstone.server_metrics import prometheus
from loadstone.server_metrics.process import SCRAPE_TIMEOUT, MetricsPage, ScrapeSpec
from loadstone.server_metrics.prometheus import NotMetricsError, SeriesFilter, Values
from loadstone.transport import Exchange, Options, Request, Transport, TransportError, address
from loadstone.transport.factory import open_transport, tls_context


class Scrape(Struct, frozen=True):
    """The result of one scrape.

    at: ns of the monotonic clock.
    values: values by series; None if there was no answer, or one that is no page of metrics.
    error: why there are no values.
    """

    at: int
    values: Values | None
    error: str = ""


class PageClient:
    """Requests one page of metrics. Raises ConfigError if its address is not valid."""

    def __init__(self, page: MetricsPage, spec: ScrapeSpec) -> None:
        self.page = page
        self._filter = SeriesFilter(spec.pattern)
        try:
            target, self._path = address.parse_url(page.url)
        except UsageError as exc:
            text = f"--scrape takes http://HOST:PORT/metrics or https://..., not {page.display_url!r}"
            raise ConfigError(text) from exc
        tls = (
            tls_context(
                insecure=spec.insecure,
                ca_file=spec.ca_file,
                client_cert=spec.client_cert,
                client_key=spec.client_key,
            )
            if target.secure
            else None
        )
        options = Options(clock=time.monotonic_ns, connect_timeout=spec.connect_timeout, tls=tls)
        self._transport: Transport = open_transport(spec.transport, target, options)

    async def scrape(self, max_seconds: float = SCRAPE_TIMEOUT) -> Scrape:
        """Request the page. Its values count for the time half way between request and response."""
        sent_at = time.monotonic_ns()
        body = bytearray()

        def keep(data: bytes, _: int) -> bool | None:
            body.extend(data[: prometheus.MAX_PAGE - len(body)])
            return len(body) >= prometheus.MAX_PAGE or None

        exchange = Exchange(keep)
        headers = (("Accept", prometheus.ACCEPT), *self.page.headers)
        values = None
        error = ""
        try:
            async with asyncio.timeout(max_seconds):
                await self._transport.exchange(Request("GET", self._path or "/", headers), exchange)
            at = (sent_at + time.monotonic_ns()) // 2
            if exchange.status != 200:
                raise NotMetricsError(f"HTTP {exchange.status}")
            content_type, encoding = (
                (exchange.header(name) or b"").decode("latin-1").lower()
                for name in (b"content-type", b"content-encoding")
            )
            values = prometheus.parse_page(bytes(body), content_type, encoding, self._filter)
        except (TransportError, NotMetricsError) as exc:
            at = time.monotonic_ns()
            error = exc.failure.message if isinstance(exc, TransportError) else str(exc)
        except TimeoutError:
            at = time.monotonic_ns()
            error = f"no answer within {max_seconds:g} s"
        return Scrape(at, values, error)

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.close()
