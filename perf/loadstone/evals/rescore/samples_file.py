"""Reads samples files item by item, however large they are: Loadstone's and lm-eval's of any version.

All lines with the same doc_id and doc_hash are one item, wherever they are in the file. A first pass over the file
stores their offsets, 18 bytes a line; the second reads item by item (sample_lines.py).
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

from loadstone.errors import DataError, UsageError
from loadstone.evals.output.lm_eval_samples import decode_line, digest
from loadstone.evals.rescore.sample_lines import Line, SavedSample, check_line, join_lines

# Returns True if an item is selected, by the text of its doc_id.
IdFilter = Callable[[str], bool]
# Up to this many lines or items, plain Python and np.split are faster.
_FEW = 1000


class _LineKey(Struct):
    """The fields that decide which item a line belongs to."""

    doc_id: int | str | None = None
    doc_hash: str | None = None
    doc: msgspec.Raw = msgspec.Raw(b"")
    filter: str = "none"


class SamplesFile:
    """The samples of one task, from one file or several.

    Raises DataError, with file and line, for a line that is no sample.

    task: name of the task
    paths: files
    filters: names of filters, in the order in which they first appear
    """

    def __init__(self, task: str, paths: Sequence[Path], accepts: IdFilter | None = None) -> None:
        self.task, self.paths = task, list(paths)
        # Of each line: a hash of its item, the number of its file, and its offset in it.
        self._keys, self._files, self._offsets = array("Q"), array("H"), array("Q")
        filters: dict[str, None] = {}
        decoder = msgspec.json.Decoder(_LineKey)
        for file_number, path in enumerate(self.paths):
            offset = 0
            with _open(path) as file:
                for line_number, line in enumerate(file, 1):
                    if line.strip():
                        key = _decode_key(decoder, line, path, line_number)
                        doc_id = str(line_number - 1 if key.doc_id is None else key.doc_id)
                        if accepts is None or accepts(doc_id):
                            # 64 bits for an item: that two of 600,000 items share them has a chance of 1 in 10^8.
                            doc_hash = key.doc_hash or digest(bytes(key.doc).decode("utf-8", "replace"))
                            self._keys.append(int(digest(f"{doc_id} {doc_hash}")[:16], 16))
                            self._files.append(file_number)
                            self._offsets.append(offset)
                            filters[key.filter] = None
                    offset += len(line)
        self.filters = list(filters)

    def __len__(self) -> int:
        return len(set(self._keys)) if len(self._keys) < _FEW else int(np.unique(np.asarray(self._keys)).size)

    def __iter__(self) -> Iterator[SavedSample]:
        files = [_open(path) for path in self.paths]
        try:
            for positions in _group_lines(np.asarray(self._keys, np.uint64)):
                yield self._read_item(files, positions.tolist())
        finally:
            for file in files:
                file.close()

    def _read_item(self, files: Sequence[BinaryIO], positions: Sequence[int]) -> SavedSample:
        """Read the lines of one item.

        positions: of its lines, counted over all files
        """
        lines: list[Line] = []
        for position in positions:
            file = files[self._files[position]]
            file.seek(self._offsets[position])
            line = file.readline()
            try:
                lines.append(check_line(decode_line(line)))
            except ValueError as exc:
                raise self.error_at(position, exc) from exc
        try:
            return join_lines(self.task, lines, positions[0])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
            raise self.error_at(positions[0], exc) from exc

    def error_at(self, position: int, exc: Exception) -> UsageError:
        """Return the error for a line, with its file and number."""
        path, remaining = self.paths[self._files[position]], self._offsets[position]
        lines_before = 0
        with _open(path) as file:
            while remaining and (block := file.read(min(remaining, 1 << 20))):
                lines_before += block.count(b"\n")
                remaining -= len(block)
        line = lines_before + 1
        return DataError(
            f"{path}, line {line} is no sample: {str(exc) or type(exc).__name__}", file=str(path), line=line
        )


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as exc:
        raise DataError(f"cannot read {path}: {exc.strerror}", file=str(path)) from exc


def _decode_key(decoder: msgspec.json.Decoder[_LineKey], line: bytes, path: Path, number: int) -> _LineKey:
    """Decode the key of a line, which may not be quite JSON (lm-eval writes NaN)."""
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        try:
            fields: Any = decode_line(line)
            is_object = isinstance(fields, dict)
            doc = json.dumps(fields.get("doc") if is_object else None, default=str).encode()
            ids = {name: fields.get(name) for name in ("doc_id", "doc_hash")} if is_object else fields
            key = msgspec.convert(ids, _LineKey)
            return _LineKey(key.doc_id, key.doc_hash, msgspec.Raw(doc), str(fields.get("filter", "none")))
        except (ValueError, msgspec.MsgspecError, RecursionError) as other:
            raise DataError(f"{path}, line {number} is no sample: {exc}", file=str(path), line=number) from other


def _group_lines(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of the lines of each item. Items are in the order of their first line."""
    if not keys.size:
        return
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first[inverse], kind="stable")
    ends = np.flatnonzero(np.diff(first[inverse][order])) + 1
    if ends.size < _FEW:
        yield from np.split(order, ends)
        return
    start = 0
    for end in [*ends.tolist(), len(order)]:
        yield order[start:end]
        start = end
