"""Runs named on the command line: one whose records are read twice, or several to show side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from loadstone import results
from loadstone.dataset import tokenizer as tokenizers
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.records import Record, from_lines
from loadstone.results import measure
from loadstone.summary import Summary


class RunSource:
    """Records that can be read twice: of a run's folder or file, or of stdin (`-`), which is kept in memory."""

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        self._stdin_records = list(from_lines(sys.stdin.buffer, "stdin")) if name == "-" else None

    def records(self) -> Iterable[Record]:
        """Return the records in the order of the file."""
        return run_folder.load_records(self._path) if self._stdin_records is None else self._stdin_records

    def summary(self, tokenizer: str | None = None, changes: results.Changes | None = None) -> Summary:
        """Return the summary of the records.

        tokenizer: counts tokens where the server reported none. changes: settings that replace those of the run.
        """
        if self._stdin_records is None:
            return results.read_summary(self._path, tokenizer, changes)
        count = tokenizers.load(tokenizer).count if tokenizer else None
        return measure(self._stdin_records, {"config": changes} if changes else None, count)


def read_runs(
    paths: Iterable[Path], tokenizer: str | None = None, changes: results.Changes | None = None
) -> tuple[dict[str, Summary], list[str]]:
    """Return summaries by short name, and a sentence for each run that cannot be read.

    The runs in a folder of repeats count one by one.
    """
    summaries: dict[Path, Summary] = {}
    unreadable = []
    for path in paths:
        try:
            for folder in [path] if path.is_file() else run_folder.find_runs(path):
                summaries[folder] = results.read_summary(folder, tokenizer, changes)
        except UsageError as exc:
            unreadable.append(str(exc))
    return dict(zip(short_names(list(summaries)), summaries.values(), strict=True)), unreadable


def short_names(paths: list[Path]) -> list[str]:
    """Return the shortest names that differ: the last components of each path, as many as it takes."""
    components = [path.absolute().parts for path in paths]
    lengths = range(1, max(map(len, components), default=0) + 1)
    candidates = (["/".join(parts[-length:]) for parts in components] for length in lengths)
    return next((names for names in candidates if len(set(names)) == len(names)), list(map(str, paths)))
