"""requests.csv: one row a request for spreadsheets and notebooks. The only file that imports pandas, when used."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadstone.records import Record, Usage

if TYPE_CHECKING:
    import pandas as pd

_TIMES = ("scheduled", "sent", "connect", "first_byte", "first", "first_answer", "last", "end")
CHUNK = 50_000


def _row(record: Record) -> dict[str, Any]:
    usage, error = record.usage or Usage(), record.error
    return {
        "index": record.index,
        "phase": record.phase,
        "worker": record.worker,
        "prompt": record.prompt,
        "conversation": record.conversation,
        "turn": record.turn,
        "abandoned": record.abandoned,
        "stage": record.stage,
        "model": record.model,
        "server": record.server,
        "request_id": record.request_id,
        "streamed": record.streamed,
        "status": record.status,
        "finish": record.finish,
        **{f"{name}_s": _seconds(getattr(record, name)) for name in _TIMES},
        "ttft_s": _seconds(_between(record.sent, record.first)),
        "latency_s": _seconds(_between(record.sent, record.last if record.streamed else record.end)),
        "events": len(record.pieces.times) if record.pieces else None,
        "reads": record.reads,
        "clock": record.clock,
        "retried": record.retried,
        "asked_tokens": record.asked,
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
        "cached_tokens": usage.cached,
        "reasoning_tokens": usage.reasoning,
        "error": error.kind if error else None,
        "error_message": error.message if error else None,
    }


def table(records: Iterable[Record]) -> pd.DataFrame:
    """A row a request; times in seconds since the run began, counts as nullable integers."""
    import pandas as pd

    rows = [_row(record) for record in records]
    columns = list(_row(Record(index=0, prompt="", scheduled=0, end=0)))
    return pd.DataFrame(rows, columns=columns).convert_dtypes()


def write_csv(records: Iterable[Record], path: Path) -> None:
    """Written in pieces, so that a long run does not need the memory of all its rows."""
    rows = iter(records)
    chunk, first = list(islice(rows, CHUNK)), True
    while chunk or first:
        table(chunk).to_csv(path, mode="w" if first else "a", header=first, index=False, lineterminator="\n")
        chunk, first = list(islice(rows, CHUNK)), False


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _between(begin: int | None, end: int | None) -> int | None:
    return None if begin is None or end is None else end - begin
