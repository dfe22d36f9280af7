"""The server's own record of its requests: one row per request, kept in memory and served as JSON lines.

All times are ns of `time.monotonic_ns()`, the same clock as that of a client on the same machine.
"""

from __future__ import annotations

from array import array
from typing import Any

from msgspec import Struct

from loadstone.sim.bodies import Page, encode


class TruthRow(Struct, gc=False):
    """One POST request.

    Finished rows have nothing that the garbage collector has to visit: with 200,000 of them it would stop the server
    for a long time.

    number: of the request, from 0.
    id: of the response.
    request_id: the request's X-Request-Id header.
    received: when the request was complete, ns.
    base: what `offsets` count from, ns: `received` plus the delay of the fault slow-head.
    offsets: ns, when each step was due.
    choices: chunks that each step sends.
    sent: timestamp of each chunk, ns; bytes once the row is finished.
    tokens: tokens sent.
    end: ns, None unless the response was sent completely.
    """

    number: int
    id: str
    request_id: str | None
    received: int
    fault: str | None
    base: int
    offsets: tuple[int, ...] | array[int] = ()
    choices: int = 1
    sent: list[int] | bytes = b""
    tokens: int = 0
    end: int | None = None

    def finish(self, end: int | None) -> None:
        """Set the end, and pack the timestamps."""
        self.end = end
        self.sent = array("q", self.sent).tobytes()

    def planned(self) -> list[int]:
        """Return when each output chunk was due, ns; chunks of all choices have the time of their step."""
        return [self.base + offset for offset in self.offsets for _ in range(self.choices)]

    def to_dict(self) -> dict[str, Any]:
        """Return a finished row as /truth shows it."""
        return {
            "number": self.number,
            "id": self.id,
            "request_id": self.request_id,
            "received": self.received,
            "planned": self.planned(),
            "sent": array("q", self.sent).tolist(),
            "tokens": self.tokens,
            "fault": self.fault,
            "end": self.end,
        }


def page(rows: list[TruthRow]) -> Page:
    """Return GET /truth."""
    return Page(200, b"".join([encode(row.to_dict()) + b"\n" for row in rows]), b"application/x-ndjson")
