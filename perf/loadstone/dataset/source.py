"""Where a reader reads from, a file or stdin, as text and as numbered lines; and where it may say something.

Opens, gunzips and decodes; whatever goes wrong there is a UsageError with file and line. What the text means
is the readers' affair.
"""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadstone.errors import Notice, UsageError

GZIP = b"\x1f\x8b"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator asked of the prompts; None: not said. Lengths are numbers or laws (laws.py).

    count: rows that the run needs; None: not known. in_order: it takes them as they lie in the file, so that no more of
    them need be counted and cut than `count`.
    history: what is asked of a recorded conversation: its `first` turn; its last with all before it as they were
    `recorded`; or all turns, one after the other, `live`, with the server's own answers between them. Not said:
    messages as they stand, of other forms the first turn.
    scale_lengths: factor of the lengths of a trace.
    min_input_len, max_input_len, max_total_len: rows outside these token lengths are passed over.
    """

    prompt_field: str | None = None
    seed: int = 0
    count: int | None = None
    in_order: bool = False
    tokenizer: str | None = None
    input_len: int | str | None = None
    output_len: int | str | None = None
    range_ratio: float = 0.0
    prefix_len: int | str | None = None
    prefix_count: int | None = None
    system_len: int | str | None = None
    turns: int | str | None = None
    think_time: float | str | None = None
    history: str | None = None
    scale_lengths: float = 1.0
    min_input_len: int | None = None
    max_input_len: int | None = None
    max_total_len: int | None = None
    trace_from: float | None = None
    trace_to: float | None = None


class RequestBodiesNotice(str):
    """The notice that rows are request bodies. A caller whose rows always are may drop it by its type."""

    __slots__ = ()


class Source:
    """One input. `name` is for messages, `stem` for the ids of prompts; `load` is None for a generator."""

    def __init__(self, name: str, load: Callable[[], bytes] | None, notice: Notice) -> None:
        base = Path(name).name
        base = base[:-3] if base.lower().endswith(".gz") else base
        self.name = name
        self.stem = Path(base).stem or base
        self.ending = Path(base).suffix.lower()
        self.load = load
        self.notice = notice

    @property
    def folder(self) -> Path:
        """Where the files lie that a row names by a relative path."""
        return Path(os.path.expanduser(self.name)).parent

    @cached_property
    def data(self) -> bytes:
        """The bytes, uncompressed."""
        if self.load is None:
            raise UsageError(f"{self.name} reads a file: give it as {self.name}:PATH")
        data = self.load()
        if data.startswith(GZIP):
            data = _decompress(self.name, data)
        if not data or data.isspace():
            raise UsageError(f"{self.name} is empty")
        return data

    @cached_property
    def text(self) -> str:
        """The bytes as UTF-8, without a byte order mark."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            raise UsageError(f"{self.name}, line {line}: not UTF-8 text ({exc.reason}); save it as UTF-8") from exc

    def lines(self) -> Iterator[Line]:
        """The lines that are not blank. Only \\n and \\r\\n end one: U+2028 and the like are content."""
        for number, line in enumerate(self.text.split("\n"), 1):
            if line.strip():
                yield Line(RowPosition(self, "line", number), line.removesuffix("\r"))


class RowPosition(NamedTuple):
    """A row's place in its file; as a string `FILE, line 7`."""

    source: Source
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.source.name}, {self.unit} {self.number}"

    @property
    def id(self) -> str:
        return f"{self.source.stem}:{self.number}"


class Line(NamedTuple):
    where: RowPosition
    text: str


def open_source(path: str | None, reader: str | None, notice: Notice) -> Source:
    """The source behind a path; `-` is stdin, None the generator named by `reader`."""
    if path is None:
        return Source(reader or "", None, notice)
    if path == "-":
        return Source("stdin", sys.stdin.buffer.read, notice)
    return Source(path, lambda: _bytes(path), notice)


def _bytes(path: str) -> bytes:
    file = Path(os.path.expanduser(path))
    if file.is_dir():
        raise UsageError(f"{path} is a folder; give a file in it")
    try:
        return file.read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:  # a NUL byte
        raise UsageError(f"cannot read {path!r}: {exc}") from exc


def _decompress(name: str, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as exc:
        raise UsageError(f"{name} is not a whole gzip file: {exc}") from exc
