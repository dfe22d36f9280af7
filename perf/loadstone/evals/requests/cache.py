"""Answers that need not be asked again: a folder with one SQLite file, shared by any number of evaluations.

An answer is known by all that it depends on: address, model, API, whole request, and the pass. Only what came whole and
without failure is kept, with neither times nor the key to the server. The only file that imports sqlite3.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from loadstone.errors import UsageError
from loadstone.records import Record, from_line, to_line

FILE = "answers.sqlite3"
# Seconds to wait for another evaluation that is writing.
LOCK_TIMEOUT = 60.0
_TABLE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"
_AT_ONCE = 500
T = TypeVar("T")


def key(target: Mapping[str, Any], row: Mapping[str, Any], attempt: int) -> bytes:
    """`place`: address, model, API and what else goes into each body; `row`: the request as in the dataset."""
    body = {name: value for name, value in row.items() if name != "id"}
    said = msgspec.json.encode([target, body, attempt], order="deterministic")
    return hashlib.sha256(said).digest()


class Cache:
    """Open for as long as the context lasts. Raises UsageError for a folder that cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def __enter__(self) -> Cache:
        with self._ours():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT, isolation_level=None)
            try:
                for said in ("BEGIN IMMEDIATE", _TABLE, "COMMIT"):  # a folder that cannot be written to fails here
                    self._base.execute(said)
            except sqlite3.Error:
                self._base.close()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._base.close()

    def find(self, keys: Mapping[str, bytes]) -> Iterator[list[Record]]:
        """The answers that are there, some at a time, each once for every request that wants it, with its id. One that
        cannot be read is forgotten."""
        names: dict[bytes, list[str]] = {}
        for name, at in keys.items():
            names.setdefault(at, []).append(name)
        for part in _parts(names):
            yield [_named(record, name) for at, record in self._read(part) for name in names[at]]

    def _read(self, keys: Sequence[bytes]) -> list[tuple[bytes, Record]]:
        marks, found = ",".join("?" * len(keys)), []
        with self._ours():
            for at, line in self._base.execute(f"SELECT key, record FROM answers WHERE key IN ({marks})", keys):
                try:
                    found.append((bytes(at), from_line(line)))
                except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
                    self._base.execute("DELETE FROM answers WHERE key = ?", [at])
        return found

    def add(self, answers: Iterable[tuple[bytes, Record]]) -> None:
        """Keep these, as far as they are good; those that are there stay."""
        for part in _parts((at, to_line(_plain(record))) for at, record in answers if record.error is None):
            with self._ours():
                self._base.execute("BEGIN IMMEDIATE")
                self._base.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", part)
                self._base.execute("COMMIT")

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise UsageError(f"--cache cannot use {self._path}: {exc}; give another folder, or none") from exc


def _parts(many: Iterable[T]) -> Iterator[list[T]]:
    left = iter(many)
    while part := list(islice(left, _AT_ONCE)):
        yield part


def _named(record: Record, name: str) -> Record:
    return msgspec.structs.replace(record, prompt=name)


def _plain(record: Record) -> Record:
    """What was answered, without the times of the run that asked."""
    return Record(
        index=0, prompt="", scheduled=0, end=0, streamed=record.streamed, status=record.status, finish=record.finish,
        usage=record.usage, text=record.text, reasoning=record.reasoning, tools=record.tools, logprobs=record.logprobs,
    )  # fmt: skip
