"""Traces that hold times and token counts but no text: Azure LLM inference (2023 and 2024), and BurstGPT.

Each row becomes a made-up prompt of its length that shares nothing with the others. Requests without input or without
output tokens failed when they were recorded; they are passed over, and counted.
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
from loadstone.dataset.source import Options, RowPosition, Source
from loadstone.dataset.synthetic.text import UNIQUE, Segment, text_generator
from loadstone.dataset.traces.replay import scale_length, select_window
from loadstone.errors import UsageError
from loadstone.records import Prompt
from loadstone.units import NS_PER_S

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WALL = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(|Z|[+-]\d\d:?\d\d)")


def _wall(cell: str) -> int:
    """ns since 1970; the traces have seven decimals, of which datetime keeps six. Without a zone it is UTC."""
    match = WALL.fullmatch(cell)
    if match is None:
        raise ValueError(cell)
    whole = datetime.fromisoformat(match[1] + (match[3] or "Z")) - EPOCH
    return whole // timedelta(seconds=1) * NS_PER_S + int((match[2] or "").ljust(9, "0"))


def _seconds(cell: str) -> int:
    value = float(cell)
    if not 0 <= value < math.inf:
        raise ValueError(cell)
    return round(value * NS_PER_S)


def _count(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit() and len(cell) < 10):
        raise ValueError(cell)
    return int(cell)


class TraceFormat(Struct, frozen=True):
    """The columns of a trace, and how its times are read."""

    at: str
    input: str
    output: str
    time: Callable[[str], int]
    form: str


AZURE = TraceFormat(
    "TIMESTAMP", "ContextTokens", "GeneratedTokens", _wall, "a time such as 2023-11-16 18:15:46.6805900"
)
BURSTGPT = TraceFormat("Timestamp", "Request tokens", "Response tokens", _seconds, "a number of seconds")


class TokenCounts(Struct, frozen=True):
    where: RowPosition
    input: int
    output: int


def read(trace: TraceFormat, source: Source, options: Options) -> Iterator[Prompt]:
    """Prompts at their recorded times, in order of time. Raises UsageError."""
    kept = select_window(_answered(trace, source), source, options)
    texts = text_generator(source, options)
    for at, row in kept:
        part = Segment(UNIQUE, row.where.number, scale_length(row.input, options.scale_lengths))
        output_len = scale_length(row.output, options.scale_lengths)
        yield Prompt(id=row.where.id, text=texts.generate([part]), input_len=part.length, output_len=output_len, at=at)
    texts.report_misses()


azure = partial(read, AZURE)
burstgpt = partial(read, BURSTGPT)


def _answered(trace: TraceFormat, source: Source) -> list[tuple[int, TokenCounts]]:
    """(ns, row) of all requests that were answered; of whichever models, which is told where there are several."""
    models: Counter[str] = Counter()
    found, passed = [], 0
    for where, cells in _cells(trace, source):
        at = _value(where, trace.at, cells, trace.time, trace.form)
        counts = [_value(where, name, cells, _count, "a number of tokens") for name in (trace.input, trace.output)]
        if all(counts):
            found.append((at, TokenCounts(where, *counts)))
            models[cells.get("Model", "")] += 1
        passed += not all(counts)
    if passed:
        source.notice(
            f"{source.name}: requests without input or output tokens, which failed, are passed over: {passed:,}"
        )
    if len(models) > 1:
        shares = ", ".join(f"{name} {count:,}" for name, count in models.most_common())
        source.notice(f"{source.name}: the requests of all models are replayed ({shares})")
    return found


def _cells(trace: TraceFormat, source: Source) -> Iterator[tuple[RowPosition, dict[str, str]]]:
    """The rows by the names of their columns."""
    found = table(source)
    names = [name.strip() for _, header in [next(found)] for name in header]
    for column in (trace.at, trace.input, trace.output):
        if column not in names:
            raise UsageError(
                f"{source.name} has no column {column!r}: this format needs {trace.at}, {trace.input}"
                f" and {trace.output}, not {', '.join(names[:12])}"
            )
    for where, cells in found:
        if len(cells) != len(names):
            raise UsageError(f"{where}: {len(cells)} cells where the header has {len(names)}")
        yield where, dict(zip(names, cells, strict=True))


def _value(where: RowPosition, column: str, cells: dict[str, str], read: Callable[[str], int], form: str) -> int:
    try:
        return read(cells[column].strip())
    except ValueError as exc:
        raise UsageError(f"{where}: {column} is {cells[column][:40]!r}, not {form}") from exc
