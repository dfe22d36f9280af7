"""Parses the text of /metrics pages into samples. The only file that imports prometheus_client.

Lines of series that are not kept are dropped before parsing: of a page of 300 kB that leaves a tenth of the work.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from typing import Any

from prometheus_client import parser as plain
from prometheus_client.openmetrics import parser as openmetrics

from loadstone.server_metrics.names import SeriesKey
from loadstone.text import MAX_LABEL, clean

ACCEPT = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
# Bytes of a page, uncompressed.
MAX_PAGE = 64 * 1024 * 1024
# Characters of a label's value, and labels of one sample, that are kept: a row of server.csv has to stay readable.
MAX_LABEL_VALUE = 2000
MAX_LABELS = 30
Values = dict[SeriesKey, float]


class NotMetricsError(ValueError):
    """A page that is not a page of metrics, or is broken; the text says what is wrong."""


class SeriesFilter:
    """Keeps the series whose whole name matches a pattern."""

    def __init__(self, pattern: str) -> None:
        self._everything = pattern == ".*"
        self._line = re.compile(rf"^(?:{pattern})(?=[{{ \t]).*$", re.MULTILINE)
        self._name = re.compile(pattern)

    def lines(self, text: str) -> str:
        """Return the lines that match, without comments: so every sample keeps the name that the server gave it."""
        if self._everything:
            return "\n".join(line for line in text.split("\n") if not line.startswith("#")) + "\n"
        return "\n".join(match[0] for match in self._line.finditer(text)) + "\n"

    def matches(self, name: str) -> bool:
        """Return True if the series of this name is kept."""
        return self._everything or self._name.fullmatch(name) is not None


def parse_page(body: bytes, content_type: str, encoding: str, series_filter: SeriesFilter) -> Values:
    """Return the samples of a page that `series_filter` keeps and whose value is finite. Raises NotMetricsError.

    content_type, encoding: headers of the response, in lower case.
    """
    try:
        text = decompress(body, encoding).decode()
        if text.lstrip()[:1] in ("<", "{"):
            raise NotMetricsError("it is a web page or JSON")
        families: Iterable[Any]
        if "openmetrics" in content_type:
            # All lines: what a line may contain depends on the type that a comment gives.
            families = openmetrics.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        else:
            families = plain.text_string_to_metric_families(series_filter.lines(text))
        values: Values = {}
        for family in families:
            for sample in family.samples:
                value = _finite(sample.value)
                if series_filter.matches(sample.name) and value is not None:
                    labels = sorted(
                        (_limit(name, MAX_LABEL), _limit(value, MAX_LABEL_VALUE))
                        for name, value in sample.labels.items()
                    )
                    values[_limit(sample.name, MAX_LABEL), tuple(labels[:MAX_LABELS])] = value
        return values
    except Exception as exc:  # broken text raises ValueError, KeyError, IndexError, AttributeError, TypeError ...
        if isinstance(exc, NotMetricsError):
            raise
        raise NotMetricsError(f"it is not Prometheus text: {type(exc).__name__}: {clean(exc, MAX_LABEL)}") from exc


def _finite(value: Any) -> float | None:
    """Return a value as a float; None if it is not finite, or an integer of more digits than a float can have."""
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _limit(text: str, limit: int) -> str:
    """Return a name or a label's value, which is valid UTF-8, cut after `limit` characters."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def decompress(body: bytes, encoding: str) -> bytes:
    """Return the body without its encoding.

    Raises NotMetricsError for encodings other than gzip and deflate, for broken data, and for more than MAX_PAGE bytes.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise NotMetricsError(f"its encoding is {clean(encoding, MAX_LABEL)}")
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        data = decompressor.decompress(body, MAX_PAGE)
    except zlib.error as exc:
        raise NotMetricsError(f"its {encoding} is broken: {exc}") from exc
    if not decompressor.eof:
        raise NotMetricsError(f"its {encoding} is cut off, or larger than {MAX_PAGE >> 20} MB")
    return data
