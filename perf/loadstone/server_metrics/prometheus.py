"""Text that a server gives at /metrics, read into samples. The only file that imports prometheus_client.

Lines that nobody wants are dropped before they are parsed: of a page of 300 kB that leaves a tenth of the work.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import parser as plain
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.samples import Sample

from loadstone.server_metrics.names import Labels, SeriesKey
from loadstone.text import MAX_LABEL, clean

ACCEPT = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"
# Bytes of a page, unpacked.
MAX_PAGE = 64 * 1024 * 1024
# Characters of a label's value that are kept, and labels of one sample: a row of server.csv has to stay readable.
MAX_LABEL_VALUE = 2000
MAX_LABELS = 30
Values = dict[SeriesKey, float]


class NotMetricsError(ValueError):
    """It is something else, or broken; the text says what."""


class SeriesFilter:
    """Keeps the lines of series whose whole name matches a pattern."""

    def __init__(self, wanted: str) -> None:
        self._everything = wanted == ".*"
        self._line = re.compile(rf"^(?:{wanted})(?=[{{ \t]).*$", re.MULTILINE)
        self._name = re.compile(wanted)

    def lines(self, text: str) -> str:
        """Comments go too: without them every sample keeps the name that the server gave it."""
        if self._everything:
            return "\n".join(line for line in text.split("\n") if not line.startswith("#")) + "\n"
        return "\n".join(match[0] for match in self._line.finditer(text)) + "\n"

    def matches(self, name: str) -> bool:
        return self._everything or self._name.fullmatch(name) is not None


def parse_page(body: bytes, content_type: str, encoding: str, keep: SeriesFilter) -> Values:
    """The wanted samples of a page; those without a number are left out. Raises NotMetrics."""
    try:
        text = decompress(body, encoding).decode()
        if text.lstrip()[:1] in ("<", "{"):
            raise NotMetricsError("it is a web page or JSON")
        found = _open(text) if "openmetrics" in content_type else _plain(keep.lines(text))
        return {
            (_bounded(sample.name, MAX_LABEL), _labels(sample.labels)): float(sample.value)
            for sample in found
            if keep.matches(sample.name) and math.isfinite(sample.value)
        }
    except (ValueError, KeyError, IndexError, AttributeError, TypeError) as exc:  # all of them come from broken text
        if isinstance(exc, NotMetricsError):
            raise
        raise NotMetricsError(f"it is not Prometheus text: {type(exc).__name__}: {clean(exc, MAX_LABEL)}") from exc


def _labels(labels: Mapping[str, str]) -> Labels:
    pairs = sorted((_bounded(name, MAX_LABEL), _bounded(value, MAX_LABEL_VALUE)) for name, value in labels.items())
    return tuple(pairs[:MAX_LABELS])


def _bounded(text: str, limit: int) -> str:
    """A name or a label's value as it came, which is valid UTF-8; cut where it is longer than `limit`."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def _plain(text: str) -> Iterator[Sample]:
    return _samples(plain.text_string_to_metric_families(text))


def _open(text: str) -> Iterator[Sample]:
    """Whole: what a line may hold depends on the type that a comment gives."""
    return _samples(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def _samples(families: Iterable[Any]) -> Iterator[Sample]:
    for family in families:
        yield from family.samples


def decompress(body: bytes, encoding: str) -> bytes:
    """Raises NotMetrics for an encoding other than gzip and deflate, for what is broken, and for more than LARGEST."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise NotMetricsError(f"its encoding is {clean(encoding, MAX_LABEL)}")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        data = unpacker.decompress(body, MAX_PAGE)
    except zlib.error as exc:
        raise NotMetricsError(f"its {encoding} is broken: {exc}") from exc
    if not unpacker.eof:
        raise NotMetricsError(f"its {encoding} is cut off, or larger than {MAX_PAGE >> 20} MB")
    return data
