"""What the server knows about the requests it was sent: one row a request, kept in memory, told as JSON lines.

All times are ns of `time.monotonic_ns()`, the same clock as that of a client on the same machine.
"""

from __future__ import annotations

from array import array
from typing import Any

from msgspec import Struct

from loadstone.sim.bodies import Page, encode


class TruthRow(Struct, gc=False):
    """One POST request. `planned` and `sent`: an entry per output chunk; `end`: None unless the response was whole.

    Sealed rows hold nothing the garbage collector has to visit: with 200,000 of them it would halt the server for long.
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
        """The request is over."""
        self.end = end
        self.sent = array("q", self.sent).tobytes()

    def planned(self) -> list[int]:
        """When each output chunk was due; chunks of several choices share their step's time."""
        return [self.base + offset for offset in self.offsets for _ in range(self.choices)]

    def to_dict(self) -> dict[str, Any]:
        """The sealed row, as it is told."""
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
    """GET /truth."""
    return Page(200, b"".join([encode(row.to_dict()) + b"\n" for row in rows]), b"application/x-ndjson")
