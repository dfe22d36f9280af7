"""The input of a reader: a file or stdin as bytes, text and numbered lines, and the options of the prompts.

Opens, decompresses and decodes. Whatever fails there is a DataError that names file and line.
"""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from loadstone.errors import DataError, Notice

# First bytes of a gzip file.
GZIP = b"\x1f\x8b"
_HAS_PROMPTS = "{} has its own prompts"
_HAS_LENGTHS = "{} has its own lengths"
# Why a source does not use an option; {} is the value of --dataset. All other options are used or refused.
WHY_UNUSED = {
    **dict.fromkeys(("prefix_len", "prefix_count", "system_len", "turns"), _HAS_PROMPTS),
    **dict.fromkeys(("input_len", "output_len", "range_ratio"), _HAS_LENGTHS),
    "prompt_field": "the format of {} decides what the prompt is",
    "think_time": "{} has no turns that wait for it",
    "history": "{} has no recorded conversations",
    "scale_lengths": "{} is no trace of token counts",
}
R = TypeVar("R", bound=Callable[..., Any])


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user requests of the prompts; None if not given. A length is a number or a distribution as text.

    prompt_field: field that holds the prompt; may be a dotted path.
    seed: seed of everything random.
    count: prompts that the run needs, None if not known.
    in_order: True if the run takes prompts in file order; then no more than `count` need be counted and cut.
    tokenizer: folder of a tokenizer, or a model's name on the Hub.
    input_len, output_len, prefix_len, system_len: tokens (words without a tokenizer).
    range_ratio: lengths vary from L(1-R) to L(1+R).
    prefix_count: number of prefixes that generated prompts share.
    turns: turns of a generated conversation.
    think_time: seconds between turns, or a distribution of them.
    history: what to send of a recorded conversation: its `first` turn; its last turn after the history as `recorded`;
        or all turns, `live`, with the server's own answers between them. If not given: messages as they are, of other
        forms the first turn.
    scale_lengths: factor of the lengths of a trace.
    min_input_len, max_input_len, max_total_len: tokens; rows outside are skipped.
    trace_from, trace_to: window of a trace to replay, in seconds from its start.
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


def uses(*names: str) -> Callable[[R], R]:
    """Return a decorator that declares which options of WHY_UNUSED a reader uses, whatever its input holds.

    Those that it uses for some inputs only are added to `Source.used` while it reads. A reader without a declaration
    may use all of them.
    """

    def declare(reader: R) -> R:
        reader.uses = frozenset(names)  # type: ignore[attr-defined]
        return reader

    return declare


class RequestBodiesNotice(str):
    """The notice that rows are request bodies. A caller whose rows always are may drop it by its type."""

    __slots__ = ()


class Source:
    """One input of a reader.

    name: its name in messages.
    load: reads the bytes; None for a generator.
    notice: called with what the user should know.
    stem: beginning of the ids of its prompts, from the name. ending: suffix of the name, in lower case.
    used: options that were used because of what the input holds.
    """

    def __init__(self, name: str, load: Callable[[], bytes] | None, notice: Notice) -> None:
        base = Path(name).name
        base = base[:-3] if base.lower().endswith(".gz") else base
        self.name = name
        self.stem = Path(base).stem or base
        self.ending = Path(base).suffix.lower()
        self.load = load
        self.notice = notice
        self.used: set[str] = set()

    @property
    def folder(self) -> Path:
        """Return the folder against which a row's relative paths are resolved."""
        return Path(os.path.expanduser(self.name)).parent

    @cached_property
    def data(self) -> bytes:
        """Return the bytes, decompressed. Raises DataError."""
        if self.load is None:
            raise DataError(f"{self.name} reads a file: give it as {self.name}:PATH", field="dataset")
        try:
            data = self.load()
        except OSError as exc:
            if os.path.isdir(os.path.expanduser(self.name)):
                raise DataError(f"{self.name} is a folder; give a file in it", file=self.name) from exc
            raise DataError(f"cannot read {self.name}: {exc.strerror or exc}", file=self.name) from exc
        except ValueError as exc:  # a NUL byte
            raise DataError(f"cannot read {self.name!r}: {exc}", file=self.name) from exc
        if data.startswith(GZIP):
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError, zlib.error) as exc:
                raise DataError(f"{self.name} is not a whole gzip file: {exc}", file=self.name) from exc
        if not data or data.isspace():
            raise DataError(f"{self.name} is empty", file=self.name)
        return data

    @cached_property
    def text(self) -> str:
        """Return the bytes decoded as UTF-8, without a byte order mark. Raises DataError."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as exc:
            line = exc.object.count(b"\n", 0, exc.start) + 1
            position = RowPosition(self, "line", line)
            raise position.error(f"not UTF-8 text ({exc.reason}); save it as UTF-8") from exc

    def lines(self) -> Iterator[Line]:
        """Yield the lines that are not blank. Only \\n and \\r\\n end one: U+2028 and the like are content."""
        for number, line in enumerate(self.text.split("\n"), 1):
            if line.strip():
                yield Line(RowPosition(self, "line", number), line.removesuffix("\r"))


class BadRows:
    """Leaves out the rows of a public dump that cannot be used: a context that takes the DataError of one row.

    kept: rows that could be used; the reader counts them.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._first: DataError | None = None
        self._left_out = 0
        self.kept = 0

    def __enter__(self) -> None:
        """Begin a row."""

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: object) -> bool:
        if not isinstance(exc, DataError):
            return False
        self._first = self._first or exc
        self._left_out += 1
        return True

    def finish(self) -> None:
        """Say how many rows were left out, and why the first one. Raises its DataError if more than half were."""
        if self._first is None:
            return
        if self._left_out > self.kept:
            raise self._first
        rows = "1 row was" if self._left_out == 1 else f"{self._left_out:,} rows were"
        total = self._left_out + self.kept
        self._source.notice(f"{rows} left out of {total:,}, the first because: {self._first}")


class RowPosition(NamedTuple):
    """The position of a row in its file; as a string `FILE, line 7`.

    unit: what is counted, such as `line`. number: from 1.
    """

    source: Source
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.source.name}, {self.unit} {self.number}"

    @property
    def id(self) -> str:
        """Return the id of a prompt that has none of its own."""
        return f"{self.source.stem}:{self.number}"

    def error(self, text: str) -> DataError:
        """Return the error of this row: its position and the text."""
        line = self.number if self.unit == "line" else None
        return DataError(f"{self}: {text}", file=self.source.name, line=line)


class Line(NamedTuple):
    """A line of text and its position."""

    position: RowPosition
    text: str


def open_source(path: str | None, reader: str | None, notice: Notice) -> Source:
    """Return the source at a path; `-` is stdin, None the generator named `reader`. Nothing is read yet."""
    if path is None:
        return Source(reader or "", None, notice)
    if path == "-":
        return Source("stdin", sys.stdin.buffer.read, notice)
    return Source(path, Path(os.path.expanduser(path)).read_bytes, notice)
