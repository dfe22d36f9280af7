"""Records made by hand: streamed, whole and failed ones, with times in milliseconds."""

from __future__ import annotations

import itertools
from typing import Any

from loadstone.records import Failure, FailureCause, Pieces, Record, Usage

MS = 1_000_000


def streamed(sent: int, *at: int, index: int = 0, scheduled: int | None = None, **fields: Any) -> Record:
    """A success with output events at these ms; as many tokens as events, unless `usage` says otherwise."""
    deltas = [0, *(later - earlier for earlier, later in itertools.pairwise(at))]
    given: dict[str, Any] = {
        "prompt": f"p{index}",
        "index": index,
        "scheduled": (sent if scheduled is None else scheduled) * MS,
        "sent": sent * MS,
        "connect": 0,
        "first_byte": (sent + 1) * MS,
        "first": at[0] * MS,
        "first_answer": at[0] * MS,
        "last": at[-1] * MS,
        "end": at[-1] * MS,
        "pieces": Pieces([delta * MS for delta in deltas], [3] * len(at)),
        "reads": len(at),
        "status": 200,
        "finish": "length",
        "usage": Usage(10, len(at)),
    }
    return Record(**{**given, **fields})


def whole(sent: int, end: int, **fields: Any) -> Record:
    """A success that was not streamed."""
    given: dict[str, Any] = {"index": 0, "prompt": "p", "scheduled": sent * MS, "sent": sent * MS, "end": end * MS}
    return Record(**{**given, "streamed": False, "status": 200, "finish": "stop", "usage": Usage(10, 5), **fields})


def failed(kind: FailureCause, sent: int | None, end: int, scheduled: int = 0, **fields: Any) -> Record:
    error = Failure(kind, f"{kind} it was")
    at = None if sent is None else sent * MS
    return Record(index=9, prompt="p", scheduled=scheduled * MS, sent=at, end=end * MS, error=error, **fields)
