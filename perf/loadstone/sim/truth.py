"""What the server knows about the requests it was sent: one row a request, kept in memory, told as JSON lines.

All times are ns of `time.monotonic_ns()`, the same clock as that of a client on the same machine.
"""

from __future__ import annotations

from array import array
from typing import Any

from loadstone.sim.pages import Page, encode


class Row:
    """One POST request. `planned` and `sent`: an entry per output chunk; `end`: None unless the response was whole."""

    __slots__ = (
        "base",
        "end",
        "fault",
        "id",
        "number",
        "offsets",
        "received",
        "repeat",
        "request_id",
        "sent",
        "tokens",
    )

    def __init__(self, number: int, name: str, request_id: str | None, received: int, fault: str | None) -> None:
        self.number, self.id, self.request_id, self.fault = number, name, request_id, fault
        self.received = self.base = received
        self.offsets: tuple[int, ...] = ()
        self.repeat = 1
        self.sent = array("q")
        self.tokens = 0
        self.end: int | None = None

    def planned(self) -> list[int]:
        """When each output chunk was due; chunks of several choices share their step's time."""
        return [self.base + offset for offset in self.offsets for _ in range(self.repeat)]

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "id": self.id,
            "request_id": self.request_id,
            "received": self.received,
            "planned": self.planned(),
            "sent": self.sent.tolist(),
            "tokens": self.tokens,
            "fault": self.fault,
            "end": self.end,
        }


def page(rows: list[Row]) -> Page:
    """GET /truth."""
    return Page(200, b"".join([encode(row.to_dict()) + b"\n" for row in rows]), b"application/x-ndjson")
