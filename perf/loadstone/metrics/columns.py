"""Request records as arrays with one entry per request. Their output events go to events.py.

`build` makes one pass over a stream of records and keeps none. Times are ns, NaN for what did not happen. Formulas are
in measure.py.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadstone.errors import DataError
from loadstone.metrics.events import Collector, Events
from loadstone.metrics.token_counts import MAX_INPUT, is_buffered, output_tokens
from loadstone.records import Failure, FailureCause, Record, Usage
from loadstone.units import Array, Mask

# Counts the tokens of a text.
TokenCounter = Callable[[str], int]
# Kinds of error that are no failures: the client itself cut off or cancelled the request.
NOT_COMPLETED = (FailureCause.STOPPED, FailureCause.CANCELLED)

_TIMES = ("scheduled", "sent", "connect", "first_byte", "first", "first_answer", "last", "end")
_MASKS = (
    *("ok", "warmup", "cooldown", "measured", "streamed", "judged", "finished", "stamped", "superseded", "resent"),
    *("buffered", "unterminated"),
)
_NUMBERS = (*_TIMES, "asked", "turn", "abandoned", "stage", "server", "reads", "index", "status", "attempt")
_NAN = float("nan")
_NO_USAGE = Usage()
_numbers_of = attrgetter(*_NUMBERS)
_usage_of = attrgetter("prompt", "cached")
# Most names of prompts that are kept: a million would take 150 MB.
MAX_NAMES = 100_000
# Records processed at once: as many as fit in the processor's cache.
BATCH = 100


@dataclass(slots=True)
class Requests:
    """Arrays of equal length, in order of sending. Fields not listed are those of `Record`.

    model, prompt, error: indices into `models`, `prompts` and `kinds` of Columns.
    ok: succeeded.
    measured: neither warm-up nor cool-down.
    judged: succeeded or failed; not cut off at the end, not cancelled by the client, not superseded.
    stamped: all arrival times are the kernel's.
    superseded: failed attempts that were retried; they are not warm-up, measured, cool-down or judged.
    resent: sent again after a keep-alive race.
    hidden_tokens: output tokens that no event carried (`token_counts.OutputTokens`).
    buffered: several events of a stream came in one read, so that no time between them is known.
    """

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
    hidden_tokens: Array
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
    buffered: Mask
    unterminated: Mask


@dataclass(slots=True)
class Columns:
    """All records of a run.

    models, prompts, kinds: names that `requests` refers to; kinds are kinds of error.
    errors: measured requests that failed, by kind.
    failures: the same one by one.
    token_source: who counted "input" and "output" tokens: server, tokenizer or unknown.
    finishes: finish reasons of the measured requests that were judged; `none` for successes without one.
    rejected: of successes, how many counts cannot be true, by "input", "output" and "cached", and by the count.
    """

    requests: Requests
    events: Events
    models: list[str]
    prompts: list[str]
    kinds: list[str]
    errors: Counter[str]
    failures: Counter[Failure]
    token_source: dict[str, str]
    finishes: Counter[str]
    rejected: dict[str, Counter[int]]


class _Builder:
    """Builds columns from batches of records, and keeps no record."""

    def __init__(self, count: TokenCounter | None, inputs: Mapping[str, int]) -> None:
        self.count = count
        self.inputs = inputs
        self.rows: dict[str, array[float]] = {
            name: array("b" if name in _MASKS else "d") for name in Requests.__slots__
        }
        self.events = Collector()
        self.added = 0
        self.models: dict[str, int] = {}
        self.prompts: dict[str, int] = {}
        self.kinds: dict[str, int] = {}
        self.errors: Counter[str] = Counter()
        self.failures: Counter[Failure] = Counter()
        self.sources: dict[str, Counter[str]] = {"input": Counter(), "output": Counter()}
        self.finishes: Counter[str] = Counter()
        self.rejected: dict[str, Counter[int]] = {"input": Counter(), "output": Counter(), "cached": Counter()}

    def add(self, records: Sequence[Record]) -> None:
        """Add a batch of records."""
        counted = [self._count_output(record) for record in records]
        output = {
            "output_tokens": np.array([tokens for tokens, *_ in counted]),
            "hidden_tokens": np.array([float(hidden) for _, hidden, *_ in counted]),
        }
        try:
            arrays = _arrays(records)
        except OverflowError as exc:
            first = records[0].index
            raise DataError(
                f"a record from number {first} on has a number of hundreds of digits: mend the file"
            ) from exc
        counted_inputs = self._count_inputs(records, arrays["input_tokens"])
        for name, column in (arrays | output).items():
            self.rows[name].frombytes(column.tobytes())
        self.rows["model"].extend(_code(self.models, record.model) for record in records)
        self.rows["prompt"].extend(_code(self.prompts, record.prompt, MAX_NAMES) for record in records)
        self.rows["error"].extend(_code(self.kinds, record.error.kind if record.error else None) for record in records)
        has_input = (~np.isnan(arrays["input_tokens"])).tolist()
        for row, (record, (tokens, hidden, source, rejected)) in enumerate(
            zip(records, counted, strict=True), self.added
        ):
            if record.error is None:
                if record.usage is not None:
                    self._note_rejected(record.usage, rejected)
                place = row - self.added
                known = "tokenizer" if place in counted_inputs else "server"
                self.sources["input"][known if has_input[place] else "unknown"] += 1
                self.sources["output"][source] += 1
                pieces = record.pieces
                if pieces is not None and record.first is not None and (count := len(pieces.times)):
                    reported = pieces.tokens if pieces.tokens is not None and len(pieces.tokens) == count else None
                    # Servers count a stop token, which has no event of its own.
                    visible = tokens - hidden
                    one_each = visible == count or (visible == count + 1 and record.finish == "stop")
                    self.events.add(row, record.first, pieces.times, reported, one_each)
            elif record.phase == "measure" and not record.superseded:
                self.errors[record.error.kind] += 1
                if record.error.kind is not FailureCause.CANCELLED:
                    self.failures[record.error] += 1
            if record.phase == "measure" and not record.superseded and (record.finish or record.error is None):
                self.finishes[record.finish or "none"] += 1
        self.added += len(records)

    def _count_inputs(self, records: Sequence[Record], column: NDArray[Any]) -> set[int]:
        """Fill the input tokens that servers did not report from those of the prompts. Return the rows filled.

        Later turns have a history that no prompt has.
        """
        filled = set()
        for row in np.flatnonzero(np.isnan(column)).tolist() if self.inputs else ():
            tokens = self.inputs.get(records[row].prompt)
            if tokens is not None and records[row].turn in (None, 1):
                column[row] = tokens
                filled.add(row)
        return filled

    def _count_output(self, record: Record) -> tuple[float, int, str, int | None]:
        """Return the output tokens, how many are hidden, who counted them, and a count that cannot be true."""
        tokens, hidden, rejected = output_tokens(record)
        if tokens is not None:
            return float(tokens), hidden, "server", None
        if self.count is not None and record.text is not None:
            return float(self.count(record.text) + self.count(record.reasoning or "")), 0, "tokenizer", rejected
        return _NAN, 0, "unknown", rejected

    def _note_rejected(self, usage: Usage, output: int | None) -> None:
        """Note the counts of a successful request that cannot be true; `output`: that of its output tokens."""
        if output is not None:
            self.rejected["output"][output] += 1
        if usage.prompt is not None and not 0 < usage.prompt <= MAX_INPUT:
            self.rejected["input"][usage.prompt] += 1
        if usage.cached is not None and not 0 <= usage.cached <= (usage.prompt or MAX_INPUT):
            self.rejected["cached"][usage.cached] += 1

    def build(self) -> Columns:
        """Build the columns one by one and empty the builder, so that no second copy of all exists."""
        sources = {which: " and ".join(sorted(counts)) or "unknown" for which, counts in self.sources.items()}
        order = np.argsort(np.nan_to_num(np.frombuffer(self.rows["sent"]), nan=np.inf), kind="stable")
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        arrays: dict[str, NDArray[Any]] = {
            name: np.frombuffer(self.rows.pop(name), dtype=bool if name in _MASKS else np.float64)[order]
            for name in list(self.rows)
        }
        names = list(self.models), list(self.prompts), list(self.kinds)
        return Columns(
            Requests(**arrays), self.events.finish(position), *names, self.errors, self.failures, sources,
            self.finishes, self.rejected,
        )  # fmt: skip


def build(
    records: Iterable[Record], count: TokenCounter | None = None, inputs: Mapping[str, int] | None = None
) -> Columns:
    """Build the columns of all records.

    count: counts the tokens of saved texts if the server did not. inputs: the same of prompts, by their ids.
    """
    builder, remaining = _Builder(count, inputs or {}), iter(records)
    while batch := list(islice(remaining, BATCH)):
        builder.add(batch)
    return builder.build()


def decoding(r: Requests) -> tuple[Array, Array]:
    """Return how long each response was decoded after its first token, in ns, and the number of tokens that took.

    Hidden tokens were generated before the first visible one. NaN where that is unknown: with one token, or if all
    events came in one read.
    """
    begin = np.where(r.hidden_tokens > 0, r.first_answer, r.first)
    tokens = r.output_tokens - r.hidden_tokens - 1
    known = (tokens > 0) & ~r.buffered
    return np.where(known, r.last - begin, np.nan), np.where(known, tokens, np.nan)


def _code(names: dict[str, int], name: str | None, limit: int | None = None) -> float:
    """Return the index of a name, a new one for a new name. NaN for None, and for new names beyond the limit."""
    if name is None or (limit is not None and len(names) >= limit and name not in names):
        return _NAN
    return names.setdefault(name, len(names))


def _arrays(records: Sequence[Record]) -> dict[str, NDArray[Any]]:
    """Return the columns that follow from one record each."""
    # numpy converts None to NaN.
    numbers = np.array([_numbers_of(record) for record in records], dtype=np.float64)
    usages = np.array([_usage_of(record.usage or _NO_USAGE) for record in records], dtype=np.float64)
    # Counts that cannot be true are not reported.
    prompts, cached = usages.T
    prompts[(prompts <= 0) | (prompts > MAX_INPUT)] = np.nan
    cached[(cached < 0) | (cached > np.nan_to_num(prompts, nan=MAX_INPUT))] = np.nan
    packets = [len(record.pieces.times) if record.pieces else None for record in records]
    phases = np.array(["superseded" if record.superseded else record.phase for record in records])
    kinds = [None if record.error is None else record.error.kind for record in records]
    return {
        **dict(zip(_NUMBERS, numbers.T, strict=True)),
        **dict(zip(("input_tokens", "cached_tokens"), usages.T, strict=True)),
        "packets": np.array(packets, dtype=np.float64),
        "ok": np.array([kind is None for kind in kinds]),
        "warmup": phases == "warmup",
        "cooldown": phases == "cooldown",
        "measured": phases == "measure",
        "streamed": np.array([record.streamed for record in records]),
        "judged": np.array([kind not in NOT_COMPLETED for kind in kinds]) & (phases != "superseded"),
        "superseded": phases == "superseded",
        "resent": np.array([record.retried for record in records]),
        "finished": np.array([record.finish is not None for record in records]),
        "buffered": np.array([is_buffered(record) for record in records]),
        "unterminated": np.array([record.unterminated is True for record in records]),
        "stamped": np.array([record.clock == "kernel" for record in records]),
    }
