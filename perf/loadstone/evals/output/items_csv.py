"""items.csv: a row per item and pass, which joins what an answer was worth with what it took.

An answer of several requests, as a choice is, took from the first that was sent to the last that ended; their tokens
add up. Times are in seconds; what is not known is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec import Struct

from loadstone.engine import run_folder
from loadstone.records import Record
from loadstone.samples import ItemResponses, Score
from loadstone.text import append_rows
from loadstone.units import S_PER_NS

COLUMNS = ("task", "doc_id", "pass", "outcome", "extracted", "target", "metric", "ttft", "latency", "input_tokens",
           "output_tokens", "finish", "failure", "attempts", "run", "index")  # fmt: skip


class Timing(Struct, frozen=True, kw_only=True):
    """Of one record. `start`, `end`: seconds since its run began."""

    start: float | None
    end: float
    ttft: float | None
    input_tokens: int | None
    output_tokens: int | None
    attempts: int


def timing(record: Record) -> Timing:
    """`end`: of the last output, as latency is measured; where nothing is streamed, of the response."""
    usage, ended = record.usage, record.last if record.streamed and record.last is not None else record.end
    heard = record.first is not None and record.sent is not None and record.streamed
    return Timing(
        start=None if record.sent is None else record.sent * S_PER_NS,
        end=ended * S_PER_NS,
        ttft=(record.first - record.sent) * S_PER_NS if heard and record.first and record.sent is not None else None,
        input_tokens=usage.prompt if usage else None,
        output_tokens=usage.completion if usage else None,
        attempts=record.attempt + 1,
    )


class Writer:
    """Writes the rows as they come; the file stands under its name when it is whole."""

    def __init__(self, path: Path, timings: Mapping[tuple[str, int], Timing]) -> None:
        self._path, self._half, self._timings = path, path.with_name(f".{path.name}.part"), timings

    def __enter__(self) -> Writer:
        with run_folder.writing(self._path):
            self._file = self._half.open("w", encoding="utf-8", errors="replace", newline="")
        append_rows(self._file, [COLUMNS])
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._file.close()
        if kind is None:
            self._half.replace(self._path)
        else:
            self._half.unlink(missing_ok=True)

    def add(self, answered: ItemResponses, scores: Sequence[Score], name: str) -> None:
        """All passes of an item. `name`: of the filter whose outcome is told."""
        judged = {score.attempt: score for score in scores if score.filter == name}
        attempts = range(max(map(len, answered.responses), default=0))
        append_rows(self._file, (_row(answered, judged.get(attempt), attempt, self._timings) for attempt in attempts))


def _row(
    answered: ItemResponses, score: Score | None, attempt: int, timings: Mapping[tuple[str, int], Timing]
) -> list[Any]:
    refs = [ref for lane in answered.records if attempt < len(lane) and (ref := lane[attempt]) is not None]
    found = [timings[ref] for ref in refs if ref in timings]
    metric = next(iter(score.metrics.values()), None) if score else None
    return [
        answered.task,
        answered.doc_id,
        attempt,
        score.outcome if score else None,
        _cell(score.extracted) if score else None,
        _cell(answered.target),
        None if isinstance(metric, list) else metric,
        *_took(found, refs),
        _first(answered.finishes, attempt),
        _first(answered.failures, attempt),
        sum(one.attempts for one in found) - len(found) + 1 if found else None,
        " ".join(dict.fromkeys(run for run, _ in refs)),
        " ".join(str(index) for _, index in refs),
    ]


def _took(found: Sequence[Timing], refs: Sequence[tuple[str, int]]) -> list[Any]:
    """ttft, latency, tokens in, tokens out. Times of different runs have no common start."""
    starts = [one.start for one in found if one.start is not None]
    together = len({run for run, _ in refs}) == 1 and len(starts) == len(found)
    latency = round(max(one.end for one in found) - min(starts), 9) if found and together else None
    ttft = found[0].ttft if len(found) == 1 else None
    return [None if ttft is None else round(ttft, 9), latency, _sum([one.input_tokens for one in found]),
            _sum([one.output_tokens for one in found])]  # fmt: skip


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _first(table: Sequence[Sequence[str | None]], attempt: int) -> str | None:
    return next((lane[attempt] for lane in table if attempt < len(lane) and lane[attempt] is not None), None)


def _cell(value: Any) -> str | None:
    """On one line, and no formula to a spreadsheet."""
    if value is None:
        return None
    text = " ".join(str(value).split())[:200]
    return f"'{text}" if text.startswith(("=", "+", "@")) or (text[:1] == "-" and not text[1:2].isdigit()) else text
