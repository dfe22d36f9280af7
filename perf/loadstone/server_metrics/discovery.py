"""Finds the pages of metrics that a run scrapes: those of --scrape, or those that its servers turn out to have.

process.py scrapes them in a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from loadstone.apis import API
from loadstone.config import secrets
from loadstone.config.redact import hide_in_url
from loadstone.config.schema import Config
from loadstone.errors import Notice, ServerError, UsageError
from loadstone.server_metrics import csv, names
from loadstone.server_metrics.page_client import PageClient
from loadstone.server_metrics.process import SCRAPE_TIMEOUT, MetricsPage, ScrapeSpec
from loadstone.transport import Headers, address

# Seconds to wait for a page at /metrics that the server may not have.
PROBE_TIMEOUT = 3.0
METRICS_PATH = "/metrics"


async def find_pages(config: Config, api: API, notice: Notice) -> list[MetricsPage]:
    """Return the pages to scrape: those of --scrape, else those that the servers turn out to have.

    api: its paths may be at the end of a server's address.

    Raises ServerError if a page of --scrape does not work.
    """
    if config.scrape is False:
        return []
    urls = [add_metrics_path(url) for url in config.scrape_urls]
    if not urls:
        paths = [path for path in (api.path, api.path_unstreamed) if path]
        urls = [metrics_url(url, paths) for url in config.urls]
    pages = [MetricsPage(url, hide_in_url(url), page_headers(config, url)) for url in dict.fromkeys(urls)]

    if config.scrape_urls:
        for page in pages:
            error, has_series = await _probe(config, page, SCRAPE_TIMEOUT)
            if error:
                hint = "is it the address of a Prometheus page? else leave it out"
                raise ServerError(f"--scrape {page.display_url}: {error}; {hint}")
            if not has_series:
                hint = "--scrape-name REGEX or --scrape-all keeps what it has"
                notice(f"{page.display_url} has none of the names that are known here: {hint}")
        return pages

    probes = await asyncio.gather(*(_probe(config, page, PROBE_TIMEOUT) for page in pages))
    usable = []
    for page, (error, has_series) in zip(pages, probes, strict=True):
        if has_series:
            usable.append(page)
        elif config.scrape_all or config.scrape_name:
            reason = error or "it has none of the names that are to be kept"
            notice(f"{page.display_url}: {reason}; no metrics are kept")
    return usable


def add_metrics_path(url: str) -> str:
    """Return a URL with the path /metrics if it has none: `http://gpu7:9400` is `http://gpu7:9400/metrics`."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return metrics_url(url, ())
    return url if parts.path.strip("/") else parts._replace(path=METRICS_PATH).geturl()


def metrics_url(url: str, paths: Sequence[str]) -> str:
    """Return where the server at a run's --url would have its metrics: beside the API, not below it.

    paths: paths of the API.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"http+unix://{quote(parts.path, safe='')}{METRICS_PATH}"
    base = parts.path.rstrip("/")
    for path in (*paths, "/v1"):
        base = base.removesuffix(path)
    return parts._replace(path=base + METRICS_PATH, query="", fragment="").geturl()


def page_headers(config: Config, url: str) -> Headers:
    """Return the headers for a page. Only the tested server gets the run's key, over TLS if the run uses TLS."""
    with contextlib.suppress(UsageError):
        page = address.parse_url(url)[0]
        for server_url in config.urls:
            server = address.parse_url(server_url)[0]
            if (page.host, page.unix) == (server.host, server.unix) and page.secure >= server.secure:
                return secrets.request_headers(config)
    return ()


async def _probe(config: Config, page: MetricsPage, max_seconds: float) -> tuple[str, bool]:
    """Return what is wrong with a page, and whether it has any series that is to be kept."""
    spec = scrape_spec(config, [page], Path())
    client = PageClient(page, msgspec.structs.replace(spec, pattern=names.series_pattern(everything=True)))
    try:
        scrape = await client.scrape(max_seconds)
    finally:
        await client.close()
    pattern = re.compile(spec.pattern)
    series = {name for name, _ in scrape.values or {}}
    error = scrape.error or ("" if series else "it is empty")
    return error, any(pattern.fullmatch(name) for name in series)


def scrape_spec(config: Config, pages: list[MetricsPage], folder: Path) -> ScrapeSpec:
    """Return the settings of the scraping process; it writes to the run folder `folder`."""
    return ScrapeSpec(
        pages=pages,
        interval=config.scrape_every,
        pattern=names.series_pattern(config.scrape_all, config.scrape_name),
        file=str((folder / csv.NAME).absolute()),
        transport=config.transport,
        insecure=config.insecure,
        ca_file=config.ca_file,
        client_cert=config.client_cert,
        client_key=config.client_key,
        connect_timeout=config.connect_timeout,
        secrets=secrets.find_secrets(config),
    )
