"""Which pages of metrics a run is to ask for: those of --scrape, or those that its servers turn out to have.

lookout.py asks for them again and again, by a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from loadstone.apis import API
from loadstone.config import secrets
from loadstone.config.redact import hide_in_url
from loadstone.config.schema import Config
from loadstone.errors import Notice, UsageError
from loadstone.server_metrics import csv
from loadstone.server_metrics import names as gauges
from loadstone.server_metrics.process import SCRAPE_TIMEOUT, MetricsPage, ScrapeSpec
from loadstone.server_metrics.scraper import PageClient
from loadstone.transport import Headers, Target, address

# Seconds for a server to answer at /metrics that nobody has promised to be there.
PROBE_TIMEOUT = 3.0
METRICS_PATH = "/metrics"


async def find_pages(config: Config, paths: Sequence[str], notice: Notice) -> list[MetricsPage]:
    """The pages to ask for: those of --scrape, which have to be there (UsageError), else those that the servers turn
    out to have. `paths`: of the API, which a server's address may end in."""
    if config.scrape is False:
        return []
    if config.scrape_urls:
        return [
            await _asked(config, place, notice) for place in _places(config, map(add_metrics_path, config.scrape_urls))
        ]
    own = (metrics_url(url, paths) for url in config.urls)
    looks = [_there(config, place, notice) for place in _places(config, own)]
    return [place for place in await asyncio.gather(*looks) if place is not None]


def api_paths(api: API) -> tuple[str, ...]:
    """Where requests of an API go."""
    return tuple(path for path in (api.path, api.path_unstreamed) if path) or ("",)


def _places(config: Config, urls: Iterable[str]) -> list[MetricsPage]:
    return [MetricsPage(url, hide_in_url(url), page_headers(config, url)) for url in dict.fromkeys(urls)]


def add_metrics_path(url: str) -> str:
    """`http://gpu7:9400` is `http://gpu7:9400/metrics`."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return metrics_url(url, ())
    return url if parts.path.strip("/") else parts._replace(path=METRICS_PATH).geturl()


def metrics_url(url: str, paths: Sequence[str]) -> str:
    """Where the server at a run's --url would have its metrics: beside the API, not below it."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"http+unix://{quote(parts.path, safe='')}{METRICS_PATH}"
    base = parts.path.rstrip("/")
    for path in (*paths, "/v1"):
        base = base.removesuffix(path)
    return parts._replace(path=base + METRICS_PATH, query="", fragment="").geturl()


def page_headers(config: Config, url: str) -> Headers:
    """The run's key and headers go to the host that is tested, and only as safely as there."""
    with contextlib.suppress(UsageError):
        asked = address.parse_url(url)[0]
        if any(_same(asked, address.parse_url(target)[0]) for target in config.urls):
            return secrets.request_headers(config)
    return ()


def _same(asked: Target, tested: Target) -> bool:
    return (asked.host, asked.unix) == (tested.host, tested.unix) and asked.secure >= tested.secure


async def _asked(config: Config, place: MetricsPage, notice: Notice) -> MetricsPage:
    why, known = await _try(config, place, SCRAPE_TIMEOUT)
    if why:
        raise UsageError(
            f"--scrape {place.display_url}: {why}; is it the address of a Prometheus page? else leave it out"
        )
    if not known:
        hint = "--scrape-name REGEX or --scrape-all keeps what it has"
        notice(f"{place.display_url} has none of the names that are known here: {hint}")
    return place


async def _there(config: Config, place: MetricsPage, notice: Notice) -> MetricsPage | None:
    """Who has said what to keep is told where nothing is kept."""
    why, known = await _try(config, place, PROBE_TIMEOUT)
    if not known and (config.scrape_all or config.scrape_name):
        notice(f"{place.display_url}: {why or 'it has none of the names that are to be kept'}; no metrics are kept")
    return place if known else None


async def _try(config: Config, place: MetricsPage, patience: float) -> tuple[str, bool]:
    """What is wrong with a page, and whether it has anything that is wanted."""
    page = PageClient(
        place,
        msgspec.structs.replace(scrape_spec(config, [place], Path()), pattern=gauges.series_pattern(everything=True)),
    )
    try:
        look = await page.scrape(patience)
    finally:
        await page.close()
    keep = re.compile(_wanted(config))
    names = {name for name, _ in look.values or {}}
    return look.error or ("" if names else "it is empty"), any(keep.fullmatch(name) for name in names)


def _wanted(config: Config) -> str:
    return gauges.series_pattern(config.scrape_all, config.scrape_name)


def scrape_spec(config: Config, places: list[MetricsPage], folder: Path) -> ScrapeSpec:
    """What the process is told that asks for these pages; it writes to a run's folder."""
    return ScrapeSpec(
        pages=places,
        interval=config.scrape_every,
        pattern=_wanted(config),
        file=str((folder / csv.NAME).absolute()),
        transport=config.transport,
        insecure=config.insecure,
        ca_file=config.ca_file,
        connect_timeout=config.connect_timeout,
    )
