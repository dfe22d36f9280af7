"""Settings of what is read beside the load and what is kept of it: server metrics, objectives, files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from loadstone.config import kinds
from loadstone.config.flags import Flag
from loadstone.config.kinds import Kind
from loadstone.config.redact import hide_header
from loadstone.config.server import hide_urls, merge, one_or_list
from loadstone.config.slo import FORMS, GOODPUT, parse_goodput
from loadstone.errors import ConfigError

# Fraction of the requests that may fail by default. A server that dies in mid-run fails far more of them.
MAX_ERROR_RATE = 0.1
LIMIT = Kind(FORMS[GOODPUT], parse_goodput, "TERMS", lists=False)


def join_limits(values: list[Any]) -> dict[str, float]:
    """Return the objectives of several texts or mappings; of a metric the last one counts."""
    return merge([parse_goodput(value) for value in values])


def _parse_percentiles(text: str) -> list[float]:
    """Parse `50,75,99.9` or `p50,p99.9`. Raises ValueError."""
    values = [float(word.strip().removeprefix("p")) for word in text.split(",")]
    if not all(0 < value < 100 for value in values):
        raise ValueError(text)
    return values


def join_percentiles(parts: list[Any]) -> list[float]:
    """Return the percentiles of several values, each once, in order."""
    values = [value for part in parts for value in (part if isinstance(part, list) else _parse_percentiles(str(part)))]
    return sorted(set(values))


PERCENTILES = Kind("percentiles between 0 and 100 such as 50,75,99.9", _parse_percentiles, "LIST", lists=False)


# Most characters of a name and of a value of --metadata.
MAX_NAME, MAX_VALUE = 64, 1000
# Names are columns of CSV files, keys of JSON and parts of dotted names, so they hold no space, comma or quote.
_NAME = re.compile(r"\w[\w.:/@+-]*")


def _parse_metadata(text: str) -> dict[str, str]:
    """Parse `NAME=VALUE`. Raises ValueError."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(text)
    return {name.strip(): value.strip()}


def join_metadata(parts: list[Any]) -> dict[str, str]:
    """Return the metadata of several pairs, of lists of them, and of tables of a file, whose values become text.

    Raises ConfigError for a name that is given twice, or a name or value that no report can show.
    """
    metadata: dict[str, str] = {}
    tables = [table for part in parts for table in (part if isinstance(part, list) else [part])]
    for name, value in (item for table in tables for item in table.items()):
        if name in metadata:
            raise ConfigError(f"--metadata {name} is given twice: give one value", field="metadata")
        if not isinstance(name, str) or len(name) > MAX_NAME or not _NAME.fullmatch(name):
            sentence = f"a name of up to {MAX_NAME} letters, digits and _.:/@+-, not {str(name)[: MAX_NAME + 1]!r}"
            raise ConfigError(f"--metadata takes {sentence}", field="metadata")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if not isinstance(value, str | int | float) or len(text) > MAX_VALUE or not text.isprintable():
            sentence = f"one line of up to {MAX_VALUE:,} printable characters, not {text[:60]!r}"
            raise ConfigError(f"--metadata {name} takes {sentence}", field="metadata")
        metadata[name] = text
    return metadata


def _hide_metadata(metadata: dict[str, str]) -> dict[str, str]:
    return {name: hide_header(name, value) for name, value in metadata.items()}


METADATA = Kind("NAME=VALUE such as gpu=H100", _parse_metadata, "NAME=VALUE", lists=False)


def _parse_raw(text: str) -> int | str:
    if text in ("failed", "all"):
        return text
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


RAW = Kind("failed, all or a number of requests", _parse_raw, "failed|N|all", lists=False, text=r"^(failed|all|\d+)$")


@dataclass(frozen=True, kw_only=True)
class Scraping:
    """What is read of the servers' own metrics."""

    GROUP: ClassVar = "server metrics (docs/server-metrics.md)"

    scrape: Annotated[
        bool | str | list[str],
        Flag(
            "Prometheus page of the server; repeat for several pages (default: /metrics of the server)",
            kinds.TEXT,
            metavar="URL",
            repeat=True,
            join=one_or_list,
            off="do not read server metrics",
            hide=hide_urls,
        ),
    ] = True
    scrape_every: Annotated[float, Flag("interval between two scrapes (default: 1s)", kinds.TIME, above=0)] = 1.0
    scrape_name: Annotated[str | None, Flag("also keep series whose names match", metavar="REGEX")] = None
    scrape_all: Annotated[bool, Flag("keep all series of the page")] = False

    @property
    def scrape_urls(self) -> list[str]:
        """Return the addresses of metrics that are set; none where they are to be discovered."""
        return [self.scrape] if isinstance(self.scrape, str) else self.scrape if isinstance(self.scrape, list) else []


@dataclass(frozen=True, kw_only=True)
class Output:
    """What is kept and shown of a run, and when it counts as failed."""

    GROUP: ClassVar = "results"

    goodput: Annotated[
        dict[str, float],
        Flag(
            "objectives that a good request meets: 'ttft<200ms, tpot<50ms' (docs/objectives.md)",
            LIMIT,
            many=True,
            join=join_limits,
            vary=False,
        ),
    ] = field(default_factory=dict)
    percentiles: Annotated[
        list[float] | None,
        Flag(
            "percentiles to show, such as 50,75,99.9 (default: 50,90,95,99); the records keep everything",
            PERCENTILES,
            join=join_percentiles,
            vary=False,
        ),
    ] = None
    max_error_rate: Annotated[
        float,
        Flag(
            "exit with status 1 if a larger fraction of requests fails, which makes a run invalid (default: 0.1)",
            kinds.FRACTION,
            least=0,
            most=1,
            vary=False,
        ),
    ] = MAX_ERROR_RATE
    save_bodies: Annotated[bool, Flag("save the request bodies in bodies.jsonl", vary=False)] = False
    export_raw: Annotated[
        int | str | None,
        Flag(
            "save responses as their bytes came in raw.jsonl, for a bug report: of failed requests and a few others"
            " (failed, default), of failed ones and N others, or of all (docs/bug-reports.md)",
            RAW,
            least=0,
            bare="failed",
            vary=False,
        ),
    ] = None
    html: Annotated[bool, Flag("do not write report.html (2 MB)", vary=False)] = True
    output: Annotated[
        str | None, Flag("folder of the run (default: reports/TIME-LABEL)", short="-o", metavar="DIR", vary=False)
    ] = None
    label: Annotated[str | None, Flag("name of the run", vary=False)] = None
    metadata: Annotated[
        dict[str, str],
        Flag(
            "what else describes the run, such as gpu=H100 commit=3f2a: kept with the results; repeatable",
            METADATA,
            repeat=True,
            many=True,
            join=join_metadata,
            vary=False,
            hide=_hide_metadata,
        ),
    ] = field(default_factory=dict)
