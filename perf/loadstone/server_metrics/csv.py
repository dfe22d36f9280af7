"""Reads and writes server.csv: what servers reported during a run, a row for each value that has changed.

Names and labels are the server's own, times those of the run. As in Prometheus, `up` is 1 or 0 for each scrape. Between
two rows a value stays as it is. scraper.py writes the file; series.py computes with its values.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from loadstone.errors import DataError
from loadstone.server_metrics.names import Labels, SeriesKey
from loadstone.server_metrics.series import UP, Rows, ScrapedSource, build_source
from loadstone.text import append_rows, csv_text

NAME = "server.csv"
HEAD = ("time_s", "source", "name", "labels", "value")
# Seconds between two times that a histogram's buckets are written. They are most of a page; sum and count always are.
BUCKET_INTERVAL = 5.0
_SPECIAL = re.compile(r"([\\;])")
_ESCAPED = r"\\\1"


class ServerCsvWriter:
    """Makes the rows of one source, from one scrape to the next."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._written: dict[SeriesKey, float] = {}
        self._buckets_written_at = -math.inf

    def rows(self, at: float, values: Mapping[SeriesKey, float] | None, whole: bool = False) -> str:
        """Return the rows of one scrape.

        at: seconds of the run.
        values: what the server reported; None if it did not answer.
        whole: whether to write all buckets.
        """
        rows: list[tuple[str, Labels, float]] = [(UP, (), 0.0 if values is None else 1.0)]
        whole = whole or at - self._buckets_written_at >= BUCKET_INTERVAL
        if values is not None and whole:
            self._buckets_written_at = at
        for key, value in (values or {}).items():
            if self._written.get(key) != value and (whole or not key[0].endswith("_bucket")):
                self._written[key] = value
                rows.append((*key, value))
        return _to_csv(
            (f"{at:.3f}", self._source, name, encode_labels(labels), f"{value:.15g}") for name, labels, value in rows
        )


def head() -> str:
    """Return the head of the file."""
    return _to_csv([HEAD])


def _to_csv(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    append_rows(text, rows)
    return text.getvalue()


def encode_labels(labels: Labels) -> str:
    """Return labels as `engine=0;model_name=tiny`, with \\ before special characters."""
    return ";".join(f"{name}={_SPECIAL.sub(_ESCAPED, value)}" for name, value in labels)


def decode_labels(text: str) -> Labels:
    """Return the labels of a text from `encode_labels`."""
    pairs = re.findall(r"([^=;]+)=((?:\\.|[^\\;])*)", text, re.DOTALL)
    return tuple((name, re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)) for name, value in pairs)


def read(folder: Path) -> list[ScrapedSource]:
    """Read the server.csv of a run folder, by source in the order of their first rows.

    Return an empty list if the run was not scraped. A last row that a kill cut short is skipped.

    Raises DataError if the file is not a server.csv.
    """
    path = folder / NAME
    if not path.exists():
        return []
    try:
        text = path.read_bytes().decode().rpartition("\n")[0]
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"cannot read {path}: {exc}", file=str(path)) from exc
    sources: dict[str, Rows] = {}
    decoded: dict[str, Labels] = {}  # most rows have the labels of another
    reader = csv.reader(io.StringIO(text, newline=""))
    if next(reader, None) not in ([*HEAD], None):
        raise DataError(
            f"{path} does not begin with {','.join(HEAD)}: it is not what a run has written", file=str(path), line=1
        )
    for row in reader:
        try:
            at, source, name, labels, value = map(csv_text, row)
            if labels not in decoded:
                decoded[labels] = decode_labels(labels)
            key, time, number = (name, decoded[labels]), float(at), float(value)
        except ValueError as exc:
            sentence = f"{path}, line {reader.line_num} is not a row of {len(HEAD)} cells that ends in a number"
            raise DataError(f"{sentence}; take it out, or the file away", file=str(path), line=reader.line_num) from exc
        times, values = sources.setdefault(source, {}).setdefault(key, ([], []))
        times.append(time)
        values.append(number)
    return [build_source(source, rows) for source, rows in sources.items()]
