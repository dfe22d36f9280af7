"""Request records as arrays: one entry a request in `Requests`, one entry an output event in `Events`.

Built in one pass over a stream of records; ns throughout, NaN for what did not happen. Formulas are in measure.py.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadstone.records import Pieces, Record

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Count = Callable[[str], int]
"""A tokenizer's count of the tokens in a text."""
NOT_COMPLETED = ("stopped", "cancelled")
"""Kinds of error that are neither success nor failure: the client took the request back."""

_TIMES = ("scheduled", "sent", "connect", "first_byte", "first", "first_answer", "last", "end")
_MASKS = ("ok", "warmup", "cooldown", "measured", "streamed", "judged", "finished")
_AS_THEY_ARE = ("asked", "turn", "abandoned", "stage", "server")
_NAN = float("nan")


@dataclass(slots=True)
class Requests:
    """Arrays of equal length, in order of sending. `ok`: succeeded; `measured`: not warm-up, not cool-down; `judged`:
    succeeded or failed, neither cut off at the end nor cancelled on purpose. `model`: place in `Columns.models`."""

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
    asked: Array
    turn: Array
    abandoned: Array
    stage: Array
    server: Array
    model: Array
    ok: Mask
    warmup: Mask
    cooldown: Mask
    measured: Mask
    streamed: Mask
    judged: Mask
    finished: Mask


@dataclass(slots=True)
class Events:
    """Output events of all successful streamed requests. `owner` is the row in Requests; `gap` is NaN for a first
    event. `tokens`: how many the event stands for, as told by the server, or one each; NaN where that is not known."""

    at: Array
    gap: Array
    owner: NDArray[np.int64]
    tokens: Array


@dataclass(slots=True)
class Columns:
    requests: Requests
    events: Events
    models: list[str]
    errors: Counter[str]
    failures: Counter[tuple[str, str]]
    token_source: dict[str, str]
    shared_reads: int


class _Builder:
    def __init__(self, count: Count | None) -> None:
        self.count = count
        self.rows: dict[str, array[float]] = {name: array("d") for name in Requests.__slots__}
        self.gaps: array[int] = array("q")
        self.firsts: array[int] = array("q")
        self.lengths: array[int] = array("q")
        self.told: array[float] = array("d")
        self.models: dict[str, int] = {}
        self.errors: Counter[str] = Counter()
        self.failures: Counter[tuple[str, str]] = Counter()
        self.sources: dict[str, Counter[str]] = {"input": Counter(), "output": Counter()}
        self.shared_reads = 0

    def add(self, record: Record) -> None:
        rows, ok = self.rows, record.error is None
        for name in (*_TIMES, *_AS_THEY_ARE):
            rows[name].append(_number(getattr(record, name)))
        usage = record.usage
        output = self._output(record)
        rows["input_tokens"].append(_number(usage.prompt if usage else None))
        rows["output_tokens"].append(output)
        rows["cached_tokens"].append(_number(usage.cached if usage else None))
        rows["model"].append(_number(self._model(record.model)))
        rows["reads"].append(record.reads)
        rows["ok"].append(ok)
        rows["warmup"].append(record.phase == "warmup")
        rows["cooldown"].append(record.phase == "cooldown")
        rows["measured"].append(record.phase == "measure")
        rows["streamed"].append(record.streamed)
        rows["finished"].append(record.finish is not None)
        rows["judged"].append(record.error is None or record.error.kind not in NOT_COMPLETED)
        rows["packets"].append(len(record.pieces.times) if record.pieces else _NAN)
        if ok:
            self._source("input", "server" if usage and usage.prompt is not None else "unknown")
            self._add_pieces(record, output)
        elif record.phase == "measure":
            self._add_failure(record)

    def _output(self, record: Record) -> float:
        """Output tokens: the server's count, else the tokenizer's of the text kept, else not known."""
        if record.usage is not None and record.usage.completion is not None:
            source, value = "server", float(record.usage.completion)
        elif self.count is not None and record.text is not None:
            source, value = "tokenizer", float(self.count(record.text) + self.count(record.reasoning or ""))
        else:
            source, value = "unknown", _NAN
        if record.error is None:
            self._source("output", source)
        return value

    def _model(self, name: str | None) -> int | None:
        return None if name is None else self.models.setdefault(name, len(self.models))

    def _source(self, which: str, source: str) -> None:
        self.sources[which][source] += 1

    def _add_pieces(self, record: Record, output: float) -> None:
        pieces = record.pieces
        if pieces is None or record.first is None:
            self.lengths.append(0)
            self.firsts.append(0)
            return
        self.gaps.extend(pieces.times)
        self.firsts.append(record.first)
        self.lengths.append(len(pieces.times))
        self.told.extend(_tokens(pieces, output, record.finish))
        self.shared_reads += pieces.times.count(0) - 1

    def _add_failure(self, record: Record) -> None:
        assert record.error is not None
        self.errors[record.error.kind] += 1
        if record.error.kind != "cancelled":
            self.failures[(record.error.kind, record.error.message)] += 1

    def build(self) -> Columns:
        sources = {which: _name_source(counts) for which, counts in self.sources.items()}
        events = self._events()
        order = np.argsort(np.nan_to_num(np.array(self.rows["sent"]), nan=np.inf), kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        events.owner = place[events.owner]
        arrays = {name: np.frombuffer(column)[order] for name, column in self.rows.items()}
        requests = Requests(**{**arrays, **{name: arrays[name].astype(bool) for name in _MASKS}})
        return Columns(requests, events, list(self.models), self.errors, self.failures, sources, self.shared_reads)

    def _events(self) -> Events:
        """Times of all events: each request's deltas summed up from its first event."""
        lengths = np.frombuffer(self.lengths, dtype=np.int64)
        deltas = np.array(self.gaps, dtype=np.int64)
        owners_ok = np.flatnonzero(np.array(self.rows["ok"], dtype=bool))
        owner = np.repeat(owners_ok, lengths)
        begins = np.cumsum(lengths) - lengths
        running = np.cumsum(deltas)
        full = lengths > 0
        base = np.zeros(len(lengths), dtype=np.int64)
        base[full] = np.frombuffer(self.firsts, dtype=np.int64)[full] - running[begins[full]]
        at = running + np.repeat(base, lengths)
        gap = deltas.astype(np.float64)
        gap[begins[full]] = np.nan
        return Events(at.astype(np.float64), gap, owner, np.array(self.told))


def build(records: Iterable[Record], count: Count | None = None) -> Columns:
    """Columns of all records; `count` counts tokens of texts where the server did not."""
    builder = _Builder(count)
    for record in records:
        builder.add(record)
    return builder.build()


def _number(value: int | None) -> float:
    return _NAN if value is None else float(value)


def _tokens(pieces: Pieces, output: float, finish: str | None) -> list[float]:
    """Tokens of each event: as told with it; or one each, when there are as many events as tokens. A stop token is
    counted by servers but has no event of its own."""
    events = len(pieces.times)
    if pieces.tokens is not None:
        return [float(tokens) for tokens in pieces.tokens]
    known = output == events or (output == events + 1 and finish == "stop")
    return [1.0 if known else _NAN] * events


def _name_source(counts: Counter[str]) -> str:
    if not counts:
        return "unknown"
    return " and ".join(sorted(counts)) if len(counts) > 1 else next(iter(counts))
