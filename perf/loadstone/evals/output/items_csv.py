"""items.csv: a row for each item and pass, which joins the score of an answer with its timing.

An answer may take several requests (one for each choice): it lasts from the first that was sent to the last that ended,
and their tokens are added. Times are in seconds; unknown values are empty.
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
    """The timing of one record.

    start, end: seconds since its run began. ttft: seconds, None if not streamed. attempts: retries included.
    """

    start: float | None
    end: float
    ttft: float | None
    input_tokens: int | None
    output_tokens: int | None
    attempts: int


def timing(record: Record) -> Timing:
    """Return the timing of a record. It ends with the last output, as latency does, or unstreamed with the response."""
    usage = record.usage
    end = record.last if record.streamed and record.last is not None else record.end
    ttft = None
    if record.streamed and record.first and record.sent is not None:
        ttft = (record.first - record.sent) * S_PER_NS
    return Timing(
        start=None if record.sent is None else record.sent * S_PER_NS,
        end=end * S_PER_NS,
        ttft=ttft,
        input_tokens=usage.prompt if usage else None,
        output_tokens=usage.completion if usage else None,
        attempts=record.attempt + 1,
    )


class Writer:
    """Writes the rows as items are scored. The file gets its name when it is complete.

    timings: by (run, index) of the record.
    """

    def __init__(self, path: Path, timings: Mapping[tuple[str, int], Timing]) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._timings = timings

    def __enter__(self) -> Writer:
        with run_folder.writing(self._path):
            self._file = self._partial.open("w", encoding="utf-8", errors="replace", newline="")
        append_rows(self._file, [COLUMNS])
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def add(self, item: ItemResponses, scores: Sequence[Score], filter_name: str) -> None:
        """Write a row for each pass of an item, with the scores of one filter."""
        by_attempt = {score.attempt: score for score in scores if score.filter == filter_name}
        attempts = range(max(map(len, item.responses), default=0))
        append_rows(self._file, (_row(item, by_attempt.get(attempt), attempt, self._timings) for attempt in attempts))


def _row(
    item: ItemResponses, score: Score | None, attempt: int, timings: Mapping[tuple[str, int], Timing]
) -> list[Any]:
    refs = [ref for passes in item.records if attempt < len(passes) and (ref := passes[attempt]) is not None]
    known = [timings[ref] for ref in refs if ref in timings]
    metric = next(iter(score.metrics.values()), None) if score else None
    return [
        item.task,
        item.doc_id,
        attempt,
        score.outcome if score else None,
        _cell(score.extracted) if score else None,
        _cell(item.target),
        None if isinstance(metric, list) else metric,
        *_timing_cells(known, refs),
        _first(item.finishes, attempt),
        _first(item.failures, attempt),
        sum(each.attempts for each in known) - len(known) + 1 if known else None,
        " ".join(dict.fromkeys(run for run, _ in refs)),
        " ".join(str(index) for _, index in refs),
    ]


def _timing_cells(timings: Sequence[Timing], refs: Sequence[tuple[str, int]]) -> list[Any]:
    """Return ttft, latency, input tokens and output tokens of an answer's requests."""
    starts = [each.start for each in timings if each.start is not None]
    latency = None
    # Times of different runs do not have a common start.
    if timings and len({run for run, _ in refs}) == 1 and len(starts) == len(timings):
        latency = round(max(each.end for each in timings) - min(starts), 9)
    ttft = timings[0].ttft if len(timings) == 1 else None
    return [None if ttft is None else round(ttft, 9), latency, _sum([each.input_tokens for each in timings]),
            _sum([each.output_tokens for each in timings])]  # fmt: skip


def _sum(counts: Sequence[int | None]) -> int | None:
    """Return the sum, None unless all counts are known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _first(table: Sequence[Sequence[str | None]], attempt: int) -> str | None:
    """Return the first known entry of a pass, over the requests of an item."""
    return next((passes[attempt] for passes in table if attempt < len(passes) and passes[attempt] is not None), None)


def _cell(value: Any) -> str | None:
    """Return a text on one line that spreadsheets do not take for a formula."""
    if value is None:
        return None
    text = " ".join(str(value).split())[:200]
    return f"'{text}" if text.startswith(("=", "+", "@")) or (text[:1] == "-" and not text[1:2].isdigit()) else text
