"""The answer cache: a folder with one SQLite file, which any number of evaluations share.

An answer is stored under everything it depends on: address, model, API, the whole request, and the pass. Only complete
answers without failure are stored, without their times and without the server's key. Only this file imports sqlite3.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from loadstone.errors import ConfigError
from loadstone.records import Record, from_line, to_line

FILE = "answers.sqlite3"
# Seconds to wait while another evaluation writes.
LOCK_TIMEOUT = 60.0
_CREATE = "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"
# Answers that are read or written in one statement; SQLite allows 999 parameters in old versions.
_BATCH = 500
T = TypeVar("T")


def key(target: Mapping[str, Any], row: Mapping[str, Any], attempt: int) -> bytes:
    """Return the key of an answer.

    target: address, model, API and whatever else goes into each body
    row: the request as in the dataset
    attempt: pass, from 0
    """
    body = {name: value for name, value in row.items() if name != "id"}
    text = msgspec.json.encode([target, body, attempt], order="deterministic")
    return hashlib.sha256(text).digest()


class Cache:
    """The cache in a folder, open while the context lasts. Raises ConfigError if it cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def __enter__(self) -> Cache:
        with self._errors():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT, isolation_level=None)
            try:
                # Creating the table also shows whether the folder can be written to.
                for statement in ("BEGIN IMMEDIATE", _CREATE, "COMMIT"):
                    self._database.execute(statement)
            except sqlite3.Error:
                self._database.close()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._database.close()

    def find(self, keys: Mapping[str, bytes]) -> Iterator[list[Record]]:
        """Yield the answers that are stored, in batches: one for every request, under its id.

        An answer that cannot be read is removed.
        keys: by id of the request
        """
        names: dict[bytes, list[str]] = {}
        for name, request_key in keys.items():
            names.setdefault(request_key, []).append(name)
        for batch in _batches(names):
            marks = ",".join("?" * len(batch))
            stored: list[tuple[bytes, Record]] = []
            with self._errors():
                rows = self._database.execute(f"SELECT key, record FROM answers WHERE key IN ({marks})", batch)
                for stored_key, line in rows:
                    try:
                        stored.append((bytes(stored_key), from_line(line)))
                    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, RecursionError):
                        self._database.execute("DELETE FROM answers WHERE key = ?", [stored_key])
            yield [
                msgspec.structs.replace(record, prompt=name)
                for stored_key, record in stored
                for name in names[stored_key]
            ]

    def add(self, answers: Iterable[tuple[bytes, Record]]) -> None:
        """Store those of the answers that did not fail; answers that are already stored stay."""
        good = ((answer_key, record) for answer_key, record in answers if record.error is None)
        for batch in _batches(good):
            # The answer of each record, without anything about the run that requested it.
            rows = []
            for answer_key, record in batch:
                answer = Record(
                    index=0,
                    prompt="",
                    scheduled=0,
                    end=0,
                    streamed=record.streamed,
                    status=record.status,
                    finish=record.finish,
                    usage=record.usage,
                    text=record.text,
                    reasoning=record.reasoning,
                    tools=record.tools,
                    logprobs=record.logprobs,
                )
                rows.append((answer_key, to_line(answer)))
            with self._errors():
                self._database.execute("BEGIN IMMEDIATE")
                self._database.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
                self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise ConfigError(
                f"--cache cannot use {self._path}: {exc}; give another folder, or none", field="cache"
            ) from exc


def _batches(values: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(values)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
