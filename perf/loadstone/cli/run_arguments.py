"""Runs as they are named on the command line: one that is gone through twice, or several to be laid side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from loadstone import results
from loadstone.dataset import tokenizer as tokens
from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.records import Record, from_lines
from loadstone.results import measure
from loadstone.summary import Summary


class RunSource:
    """Records that are gone through twice: those of a run folder or file or, of `-`, kept from stdin."""

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        self._kept = list(from_lines(sys.stdin.buffer, "stdin")) if name == "-" else None

    def records(self) -> Iterable[Record]:
        return run_folder.load_records(self._path) if self._kept is None else self._kept

    def summary(self, tokenizer: str | None = None, goodput: dict[str, float] | None = None) -> Summary:
        if self._kept is None:
            return results.read_summary(self._path, tokenizer, goodput)
        count = tokens.load(tokenizer).count if tokenizer else None
        return measure(self._kept, {"config": {"goodput": goodput}} if goodput else None, count)


def read_runs(
    paths: Iterable[Path], tokenizer: str | None = None, goodput: dict[str, float] | None = None
) -> tuple[dict[str, Summary], list[str]]:
    """Runs by name, those in a folder of repeats one by one, and a sentence for each that cannot be read."""
    found: dict[Path, Summary] = {}
    unreadable = []
    for path in paths:
        try:
            for place in [path] if path.is_file() else run_folder.find_runs(path):
                found[place] = results.read_summary(place, tokenizer, goodput)
        except UsageError as exc:
            unreadable.append(str(exc))
    return dict(zip(short_names(list(found)), found.values(), strict=True)), unreadable


def short_names(paths: list[Path]) -> list[str]:
    """As short as they can be and differ: the last parts of the paths, as many as it takes."""
    whole = [path.absolute().parts for path in paths]
    lengths = range(1, max(map(len, whole), default=0) + 1)
    candidates = (["/".join(parts[-length:]) for parts in whole] for length in lengths)
    return next((short for short in candidates if len(set(short)) == len(short)), list(map(str, paths)))
