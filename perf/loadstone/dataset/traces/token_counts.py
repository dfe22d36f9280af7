"""Traces with times and token counts but no text: Azure LLM inference (2023 and 2024), and BurstGPT.

Each row becomes a generated prompt of its length that shares nothing with the others. Requests without input or without
output tokens failed when they were recorded; they are skipped and counted.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec import Struct

from loadstone.dataset.formats.csv import table
from loadstone.dataset.source import Options, RowPosition, Source, uses
from loadstone.dataset.synthetic.text import UNIQUE, Segment, text_generator
from loadstone.dataset.traces.replay import scale_length, select_window
from loadstone.errors import DataError
from loadstone.records import Prompt
from loadstone.units import NS_PER_S

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WALL_TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(|Z|[+-]\d\d:?\d\d)")


def _parse_wall_time(cell: str) -> int:
    """Return ns since 1970, UTC if no zone is given. The traces have seven decimals, of which datetime keeps six."""
    match = WALL_TIME.fullmatch(cell)
    if match is None:
        raise ValueError(cell)
    whole = datetime.fromisoformat(match[1] + (match[3] or "Z")) - EPOCH
    return whole // timedelta(seconds=1) * NS_PER_S + int((match[2] or "").ljust(9, "0"))


def _parse_seconds(cell: str) -> int:
    """Return seconds as ns."""
    value = float(cell)
    if not 0 <= value < math.inf:
        raise ValueError(cell)
    return round(value * NS_PER_S)


def _parse_count(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) < 10):
        raise ValueError(cell)
    return int(cell)


class TraceFormat(Struct, frozen=True):
    """The columns of a trace.

    at, input, output: columns of the time and of the token counts.
    parse_time: parses a time as ns. form: describes a time in messages.
    """

    at: str
    input: str
    output: str
    parse_time: Callable[[str], int]
    form: str


AZURE = TraceFormat(
    "TIMESTAMP", "ContextTokens", "GeneratedTokens", _parse_wall_time, "a time such as 2023-11-16 18:15:46.6805900"
)
BURSTGPT = TraceFormat("Timestamp", "Request tokens", "Response tokens", _parse_seconds, "a number of seconds")


class TokenCounts(Struct, frozen=True):
    """A recorded request: its position, its input and output tokens."""

    position: RowPosition
    input: int
    output: int


def read(trace: TraceFormat, source: Source, options: Options) -> Iterator[Prompt]:
    """Yield prompts at their recorded times, in order of time. Raises DataError."""
    kept = select_window(_answered(trace, source), source, options)
    texts = text_generator(source, options)
    for at, row in kept:
        segment = Segment(UNIQUE, row.position.number, scale_length(row.input, options.scale_lengths))
        yield Prompt(
            id=row.position.id,
            text=texts.generate([segment]),
            input_len=segment.length,
            output_len=scale_length(row.output, options.scale_lengths),
            at=at,
        )
    texts.report_misses()


azure = uses("scale_lengths")(partial(read, AZURE))
burstgpt = uses("scale_lengths")(partial(read, BURSTGPT))


def _answered(trace: TraceFormat, source: Source) -> list[tuple[int, TokenCounts]]:
    """Return (ns, row) of all requests that were answered, of all models. Raises DataError."""
    models: Counter[str] = Counter()
    answered, skipped = [], 0
    for position, cells in _cells(trace, source):
        at = _parse(position, trace.at, cells, trace.parse_time, trace.form)
        counts = [
            _parse(position, name, cells, _parse_count, "a number of tokens") for name in (trace.input, trace.output)
        ]
        if all(counts):
            answered.append((at, TokenCounts(position, *counts)))
            models[cells.get("Model", "")] += 1
        else:
            skipped += 1
    if skipped:
        source.notice(
            f"{source.name}: requests without input or output tokens, which failed, are passed over: {skipped:,}"
        )
    if len(models) > 1:
        counts_text = ", ".join(f"{name} {count:,}" for name, count in models.most_common())
        source.notice(f"{source.name}: the requests of all models are replayed ({counts_text})")
    return answered


def _cells(trace: TraceFormat, source: Source) -> Iterator[tuple[RowPosition, dict[str, str]]]:
    """Yield the rows, each as a mapping from column to cell. Raises DataError."""
    rows = table(source)
    _, header = next(rows)
    names = [name.strip() for name in header]
    for column in (trace.at, trace.input, trace.output):
        if column not in names:
            raise DataError(
                f"{source.name} has no column {column!r}: this format needs {trace.at}, {trace.input}"
                f" and {trace.output}, not {', '.join(names[:12])}",
                file=source.name,
                line=1,
            )
    for position, cells in rows:
        if len(cells) != len(names):
            raise position.error(f"{len(cells)} cells where the header has {len(names)}")
        yield position, dict(zip(names, cells, strict=True))


def _parse(position: RowPosition, column: str, cells: dict[str, str], parse: Callable[[str], int], form: str) -> int:
    """Return a parsed cell. Raises DataError that describes the expected `form`."""
    try:
        return parse(cells[column].strip())
    except ValueError as exc:
        raise position.error(f"{column} is {cells[column][:40]!r}, not {form}") from exc
