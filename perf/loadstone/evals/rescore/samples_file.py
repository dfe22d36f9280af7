"""Samples files, ours and lm-eval's of any age, gone through item by item, however large they are.

An item is what has the same doc_id and doc_hash, wherever its lines stand. A first pass over the file notes where they
stand, 18 bytes a line; the second reads item by item (logged.py).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadstone.errors import UsageError
from loadstone.evals.output.lm_eval_samples import decode_line, digest
from loadstone.evals.rescore.sample_lines import Line, SavedSample, check_line, join_lines

# Whether an item is wanted, by its doc_id.
IdFilter = Callable[[str], bool]


class _Key(Struct):
    """What tells which item a line is of."""

    doc_id: int | str | None = None
    doc_hash: str | None = None
    doc: msgspec.Raw = msgspec.Raw(b"")
    filter: str = "none"


class SamplesFile:
    """The samples of one task, in one file or several. Raises UsageError, naming file and line, for what is no sample.

    filters: in the order in which they first stand there. `wanted`: which items, by their doc_id.
    """

    def __init__(self, task: str, paths: Sequence[Path], accepts: IdFilter | None = None) -> None:
        self.task, self.paths = task, list(paths)
        self._wanted = accepts
        self._keys, self._files, self._offsets = array("Q"), array("H"), array("Q")
        names: dict[str, None] = {}
        for number, path in enumerate(self.paths):
            self._note(number, path, names)
        self.filters = list(names)

    def _note(self, number: int, path: Path, names: dict[str, None]) -> None:
        decoder, place, offset = msgspec.json.Decoder(_Key), 0, 0
        with _opened(path) as file:
            for place, line in enumerate(file, 1):
                if line.strip():
                    key = _decoded(decoder.decode, line, path, place)
                    ident = str(place - 1 if key.doc_id is None else key.doc_id)
                    if self._wanted is None or self._wanted(ident):
                        self._keys.append(_hashed(ident, key))
                        self._files.append(number)
                        self._offsets.append(offset)
                        names[key.filter] = None
                offset += len(line)

    def __len__(self) -> int:
        return len(set(self._keys)) if len(self._keys) < 1000 else int(np.unique(np.asarray(self._keys)).size)

    def __iter__(self) -> Iterator[SavedSample]:
        files = [_opened(path) for path in self.paths]
        try:
            for places in _together(np.asarray(self._keys, np.uint64)):
                yield self._item(files, places)
        finally:
            for file in files:
                file.close()

    def _item(self, files: Sequence[BinaryIO], places: NDArray[np.int64]) -> SavedSample:
        found: list[Line] = []
        for place in places.tolist():
            number = self._files[place]
            files[number].seek(self._offsets[place])
            line = files[number].readline()
            try:
                found.append(check_line(decode_line(line)))
            except ValueError as exc:
                raise self.error_at(place, exc) from exc
        try:
            return join_lines(self.task, found, int(places[0]))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
            raise self.error_at(int(places[0]), exc) from exc

    def error_at(self, place: int, exc: Exception) -> UsageError:
        """A mistake in the line at `place`, named."""
        path, offset = self.paths[self._files[place]], self._offsets[place]
        with _opened(path) as file:
            before = sum(block.count(b"\n") for block in _blocks(file, offset))
        return UsageError(f"{path}, line {before + 1} is no sample: {str(exc) or type(exc).__name__}")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size and (block := file.read(min(size, 1 << 20))):
        size -= len(block)
        yield block


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc


def _decoded(decode: Callable[[bytes], _Key], line: bytes, path: Path, place: int) -> _Key:
    try:
        return decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        try:
            return _key(decode_line(line))
        except (ValueError, msgspec.MsgspecError) as other:
            raise UsageError(f"{path}, line {place} is no sample: {exc}") from other


def _key(line: Any) -> _Key:
    """Of a line that is not quite JSON."""
    doc = json.dumps(line.get("doc") if isinstance(line, dict) else None, default=str).encode()
    given = {name: line.get(name) for name in ("doc_id", "doc_hash")} if isinstance(line, dict) else line
    found = msgspec.convert(given, _Key)
    return _Key(found.doc_id, found.doc_hash, msgspec.Raw(doc), str(line.get("filter", "none")))


def _hashed(ident: str, key: _Key) -> int:
    """64 bits that two items of a file do not share but by a chance of one in 10^8 for 600,000 of them."""
    same = key.doc_hash or digest(bytes(key.doc).decode("utf-8", "replace"))
    return int(digest(f"{ident} {same}")[:16], 16)


def _together(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Places of the lines of each item, items in the order of their first line."""
    if not keys.size:
        return
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    by_item = np.argsort(first[inverse], kind="stable")
    ends = np.flatnonzero(np.diff(first[inverse][by_item])) + 1
    yield from np.split(by_item, ends) if ends.size < 1000 else _pieces(by_item, ends)


def _pieces(order: NDArray[np.int64], ends: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """As np.split, one at a time."""
    start = 0
    for end in [*ends.tolist(), len(order)]:
        yield order[start:end]
        start = end
