"""From the records of a run to its results: measure them, and write every file of the run folder that is derived."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from loadstone import frame, store, tokens
from loadstone.columns import Columns, Count, build
from loadstone.measure import measure, measure_columns
from loadstone.records import Record, Summary
from loadstone.views import csv, json

REQUESTS_CSV = "requests.csv"


def finish(folder: store.Folder, tokenizer: str | None = None) -> Summary:
    """Measure a finished run from its records and write requests.csv on the way, then summary.json and summary.csv."""
    table = frame.Writer(folder.path / REQUESTS_CSV)
    records = table.through(store.load_records(folder.path))
    summary = summarize(records, store.load_run(folder.path), tokenizer)
    folder.write("summary.json", json.render(summary))
    folder.write("summary.csv", csv.render(summary))
    with store.writing(folder.path / REQUESTS_CSV):
        table.close()
    return summary


def read(path: Path, tokenizer: str | None = None, goodput: dict[str, float] | None = None) -> Summary:
    """Measure a run folder, or a records file on its own. `goodput` replaces the run's objectives."""
    run = store.load_run(path) if path.is_dir() else None
    return summarize(store.load_records(path), run, tokenizer, goodput)


def load(path: Path, tokenizer: str | None = None) -> tuple[Summary, Columns]:
    """A run folder measured, and the columns it was measured from."""
    count: Count | None = tokens.load(tokenizer).count if tokenizer else None
    columns = build(store.load_records(path), count)
    return measure_columns(columns, store.load_run(path) if path.is_dir() else None), columns


def summarize(
    records: Iterable[Record],
    run: dict[str, Any] | None,
    tokenizer: str | None = None,
    goodput: dict[str, float] | None = None,
) -> Summary:
    if goodput:
        run = dict(run or {})
        run["config"] = dict(run.get("config") or {}) | {"goodput": goodput}
    count: Count | None = tokens.load(tokenizer).count if tokenizer else None
    return measure(records, run, count)


def load_summary(content: bytes) -> Summary:
    """Inverse of views/json.py."""
    return msgspec.json.decode(content, type=Summary)
