"""Request records as arrays, one entry a request. What they hold of output events goes to events.py.

Built in one pass over a stream of records, none of which is kept; ns throughout, NaN for what did not happen.
Formulas are in measure.py.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadstone.metrics.events import Collector, Events
from loadstone.records import Failure, Record, Usage
from loadstone.units import Array, Mask

# A tokenizer's count of the tokens in a text.
TokenCounter = Callable[[str], int]
# Kinds of error that are neither success nor failure: the client took the request back.
NOT_COMPLETED = ("stopped", "cancelled")

_TIMES = ("scheduled", "sent", "connect", "first_byte", "first", "first_answer", "last", "end")
_MASKS = ("ok", "warmup", "cooldown", "measured", "streamed", "judged", "finished", "stamped", "superseded", "resent")
_NUMBERS = (*_TIMES, "asked", "turn", "abandoned", "stage", "server", "reads", "index", "status", "attempt")
_NAN = float("nan")
_UNTOLD = Usage()
_taken = attrgetter(*_NUMBERS)
_counted = attrgetter("prompt", "cached")
# Different prompts whose names are kept: those of a million would take 150 MB.
MAX_NAMES = 100_000
# Records worked on at once: as many as stay in the processor's cache.
BATCH = 100


@dataclass(slots=True)
class Requests:
    """Arrays of equal length, in order of sending. `ok`: succeeded; `measured`: not warm-up, not cool-down; `judged`:
    succeeded or failed, neither cut off at the end nor cancelled on purpose. `stamped`: all arrivals bear the kernel's
    time. `resent`: sent again after a keep-alive race. `superseded`: attempts that were made again, which are none of
    warm-up, measured, cool-down, judged. `model`, `prompt` and `error`: places in `models`, `prompts` and `kinds` of
    Columns."""

    scheduled: Array
    sent: Array
    connect: Array
    first_byte: Array
    first: Array
    first_answer: Array
    last: Array
    end: Array
    input_tokens: Array
    output_tokens: Array
    cached_tokens: Array
    packets: Array
    reads: Array
    index: Array
    status: Array
    attempt: Array
    asked: Array
    turn: Array
    abandoned: Array
    stage: Array
    server: Array
    model: Array
    prompt: Array
    error: Array
    ok: Mask
    warmup: Mask
    cooldown: Mask
    measured: Mask
    streamed: Mask
    judged: Mask
    finished: Mask
    stamped: Mask
    superseded: Mask
    resent: Mask


@dataclass(slots=True)
class Columns:
    requests: Requests
    events: Events
    models: list[str]
    prompts: list[str]
    kinds: list[str]
    errors: Counter[str]
    failures: Counter[tuple[str, str]]
    token_source: dict[str, str]


class _Builder:
    """Takes records a hundred at a time: a column of them is quickly made, and none is kept."""

    def __init__(self, count: TokenCounter | None) -> None:
        self.count = count
        self.rows: dict[str, array[float]] = {
            name: array("b" if name in _MASKS else "d") for name in Requests.__slots__
        }
        self.events = Collector()
        self.added = 0
        self.models: dict[str, int] = {}
        self.prompts: dict[str, int] = {}
        self.kinds: dict[str, int] = {}
        self.errors: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.sources: dict[str, Counter[str]] = {"input": Counter(), "output": Counter()}

    def add(self, records: Sequence[Record]) -> None:
        told = [self._output(record) for record in records]
        output = np.array([value for value, _ in told])
        for name, column in (_numbers(records) | _flags(records) | {"output_tokens": output}).items():
            self.rows[name].frombytes(column.tobytes())
        self.rows["model"].extend(_code(self.models, record.model) for record in records)
        self.rows["prompt"].extend(_code(self.prompts, record.prompt, MAX_NAMES) for record in records)
        self.rows["error"].extend(_code(self.kinds, record.error.kind if record.error else None) for record in records)
        for row, (record, (tokens, source)) in enumerate(zip(records, told, strict=True), self.added):
            if record.error is None:
                counted = record.usage is not None and record.usage.prompt is not None
                self.sources["input"]["server" if counted else "unknown"] += 1
                self.sources["output"][source] += 1
                self._add_pieces(row, record, tokens)
            elif record.phase == "measure" and not record.superseded:
                self._add_failure(record.error)
        self.added += len(records)

    def _output(self, record: Record) -> tuple[float, str]:
        """Output tokens, and who counted: the server, else the tokenizer in the text kept, else nobody."""
        if record.usage is not None and record.usage.completion is not None:
            return float(record.usage.completion), "server"
        if self.count is not None and record.text is not None:
            return float(self.count(record.text) + self.count(record.reasoning or "")), "tokenizer"
        return _NAN, "unknown"

    def _add_pieces(self, row: int, record: Record, output: float) -> None:
        pieces = record.pieces
        if pieces is None or record.first is None or not pieces.times:
            return
        told = pieces.tokens if pieces.tokens is not None and len(pieces.tokens) == len(pieces.times) else None
        self.events.add(row, record.first, pieces.times, told, _one_each(len(pieces.times), output, record.finish))

    def _add_failure(self, error: Failure) -> None:
        self.errors[error.kind] += 1
        if error.kind != "cancelled":
            self.failures[(error.kind, error.message)] += 1

    def build(self) -> Columns:
        """Empties the builder column by column, so that there is never a second copy of all."""
        sources = {which: _name_source(counts) for which, counts in self.sources.items()}
        order = np.argsort(np.nan_to_num(np.frombuffer(self.rows["sent"]), nan=np.inf), kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        arrays = {name: self._column(name)[order] for name in list(self.rows)}
        names = list(self.models), list(self.prompts), list(self.kinds)
        return Columns(Requests(**arrays), self.events.finish(place), *names, self.errors, self.failures, sources)

    def _column(self, name: str) -> NDArray[Any]:
        return np.frombuffer(self.rows.pop(name), dtype=bool if name in _MASKS else np.float64)


def build(records: Iterable[Record], count: TokenCounter | None = None) -> Columns:
    """Columns of all records; `count` counts tokens of texts where the server did not."""
    builder, coming = _Builder(count), iter(records)
    while batch := list(islice(coming, BATCH)):
        builder.add(batch)
    return builder.build()


def _code(names: dict[str, int], name: str | None, most: int | None = None) -> float:
    """The number of a name, a new one for a new name as long as there are not `most`."""
    if name is None or (most is not None and len(names) >= most and name not in names):
        return _NAN
    return names.setdefault(name, len(names))


def _numbers(records: Sequence[Record]) -> dict[str, Array]:
    """numpy takes None for NaN."""
    taken = np.array([_taken(record) for record in records], dtype=np.float64)
    usages = [_counted(record.usage or _UNTOLD) for record in records]
    packets = [len(record.pieces.times) if record.pieces else None for record in records]
    return {
        **dict(zip(_NUMBERS, taken.T, strict=True)),
        **dict(zip(("input_tokens", "cached_tokens"), np.array(usages, dtype=np.float64).T, strict=True)),
        "packets": np.array(packets, dtype=np.float64),
    }


def _flags(records: Sequence[Record]) -> dict[str, Mask]:
    phases = np.array(["superseded" if record.superseded else record.phase for record in records])
    kinds = [None if record.error is None else record.error.kind for record in records]
    return {
        "ok": np.array([kind is None for kind in kinds]),
        "warmup": phases == "warmup",
        "cooldown": phases == "cooldown",
        "measured": phases == "measure",
        "streamed": np.array([record.streamed for record in records]),
        "judged": np.array([kind not in NOT_COMPLETED for kind in kinds]) & (phases != "superseded"),
        "superseded": phases == "superseded",
        "resent": np.array([record.retried for record in records]),
        "finished": np.array([record.finish is not None for record in records]),
        "stamped": np.array([record.clock == "kernel" for record in records]),
    }


def _one_each(events: int, output: float, finish: str | None) -> bool:
    """Whether there are as many events as tokens. A stop token is counted by servers but has no event of its own."""
    return output == events or (output == events + 1 and finish == "stop")


def _name_source(counts: Counter[str]) -> str:
    if not counts:
        return "unknown"
    return " and ".join(sorted(counts)) if len(counts) > 1 else next(iter(counts))
