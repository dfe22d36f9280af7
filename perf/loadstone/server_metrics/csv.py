"""server.csv: what servers said of themselves during a run, a row a value that has changed since it was last written.

Names and labels are the server's own, times those of the run. `up` says 1 or 0 for each look, as Prometheus has it: in
between a value holds that has no row. Written by scraper.py; what it means is for gauges.py and scraped.py.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from loadstone.errors import UsageError
from loadstone.server_metrics.names import Labels, SeriesKey
from loadstone.server_metrics.series import ScrapedSource, SourceRows, build_source
from loadstone.text import write_rows

NAME = "server.csv"
HEAD = ("time_s", "source", "name", "labels", "value")
UP = "up"
_SPECIAL, _ESCAPED = re.compile(r"([\\;])"), r"\\\1"
# Seconds between two writings of a histogram's buckets, which are most of a page; its sum and count go on.
BUCKET_INTERVAL = 5.0


class ServerCsvWriter:
    """The rows of one source, from one look to the next."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._written: dict[SeriesKey, float] = {}
        self._buckets = -math.inf

    def rows(self, at: float, values: Mapping[SeriesKey, float] | None, whole: bool = False) -> str:
        """Of a look at the server at `at`, s of the run; None: it did not answer. `whole`: with all buckets."""
        rows: list[tuple[str, Labels, float]] = [(UP, (), 0.0 if values is None else 1.0)]
        whole = whole or at - self._buckets >= BUCKET_INTERVAL
        if values is not None and whole:
            self._buckets = at
        for key, value in (values or {}).items():
            if self._written.get(key) != value and (whole or not key[0].endswith("_bucket")):
                self._written[key] = value
                rows.append((*key, value))
        cells = (
            (f"{at:.3f}", self._source, name, encode_labels(labels), f"{value:.15g}") for name, labels, value in rows
        )
        return write_rows(None, cells)


def head() -> str:
    return write_rows(HEAD, [])


def encode_labels(labels: Labels) -> str:
    """`engine=0;model_name=tiny`, with \\ before what would be misread."""
    return ";".join(f"{name}={_SPECIAL.sub(_ESCAPED, value)}" for name, value in labels)


def decode_labels(text: str) -> Labels:
    """Inverse of `encode_labels`."""
    pairs = re.findall(r"([^=;]+)=((?:\\.|[^\\;])*)", text, re.DOTALL)
    return tuple((name, re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)) for name, value in pairs)


def read(folder: Path) -> list[ScrapedSource]:
    """What a run has, by source in the order of their first rows; nothing where it was not scraped. A last row that a
    kill has cut short is passed over. Raises UsageError for what is no server.csv."""
    path = folder / NAME
    if not path.exists():
        return []
    sources: dict[str, SourceRows] = {}
    try:
        whole = path.read_bytes().decode().rpartition("\n")[0]
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"cannot read {path}: {exc}") from exc
    for source, name, labels, at, value in _rows(io.StringIO(whole, newline=""), path):
        sources.setdefault(source, SourceRows()).add((name, labels), at, value)
    return [build_source(source, rows) for source, rows in sources.items()]


def _rows(file: Iterable[str], path: Path) -> Iterator[tuple[str, str, Labels, float, float]]:
    reader, known = csv.reader(file), dict[str, Labels]()
    if next(reader, None) not in ([*HEAD], None):
        raise UsageError(f"{path} does not begin with {','.join(HEAD)}: it is not what a run has written")
    for row in reader:
        try:
            at, source, name, labels, value = row
            if labels not in known:
                known[labels] = decode_labels(labels)
            yield source, name, known[labels], float(at), float(value)
        except ValueError as exc:
            line = f"line {reader.line_num} is not a row of {len(HEAD)} cells"
            raise UsageError(f"{path}, {line} that ends in a number; take it out, or the file away") from exc
