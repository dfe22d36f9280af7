"""From the records of a run to its results: measure them, and write every file of the run folder that is derived."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from loadstone import frame, store, tokens
from loadstone.columns import Columns, Count, build
from loadstone.measure import measure, measure_columns
from loadstone.records import Record, Summary, UsageError, from_lines
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


class Source:
    """Records that are gone through twice: those of a run folder or file, or, of `-`, kept from stdin."""

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        self._kept = list(from_lines(sys.stdin.buffer, "stdin")) if name == "-" else None

    def records(self) -> Iterable[Record]:
        return store.load_records(self._path) if self._kept is None else self._kept

    def summary(self, tokenizer: str | None = None, goodput: dict[str, float] | None = None) -> Summary:
        run = store.load_run(self._path) if self._kept is None and self._path.is_dir() else None
        return summarize(self.records(), run, tokenizer, goodput)


def several(
    paths: Iterable[Path], tokenizer: str | None = None, goodput: dict[str, float] | None = None
) -> tuple[dict[str, Summary], list[str]]:
    """Runs by name, those in a folder of repeats one by one, and a sentence for each that cannot be read."""
    found: dict[Path, Summary] = {}
    unreadable = []
    for path in paths:
        try:
            for place in [path] if path.is_file() else store.runs(path):
                found[place] = read(place, tokenizer, goodput)
        except UsageError as exc:
            unreadable.append(str(exc))
    return dict(zip(names(list(found)), found.values(), strict=True)), unreadable


def names(paths: list[Path]) -> list[str]:
    """As short as they can be and differ: the last parts of the paths, as many as it takes."""
    whole = [path.absolute().parts for path in paths]
    lengths = range(1, max(map(len, whole), default=0) + 1)
    candidates = (["/".join(parts[-length:]) for parts in whole] for length in lengths)
    return next((short for short in candidates if len(set(short)) == len(short)), list(map(str, paths)))


def load_summary(content: bytes) -> Summary:
    """Inverse of views/json.py."""
    return msgspec.json.decode(content, type=Summary)
