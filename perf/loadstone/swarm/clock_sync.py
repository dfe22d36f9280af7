"""The offset between the clocks of two machines, estimated from messages that went there and back.

Pure. Each exchange bounds the offset: the other clock was read after the message was sent and before the answer
arrived. The intersection of all bounds is narrower than the best single one, and the true offset lies in it however
asymmetric the two directions are (Marzullo, "Maintaining the time in a distributed system", 1984).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from loadstone.units import NS_PER_S


class Exchange(NamedTuple):
    """One message and its answer.

    sent: ns of this clock.
    remote: ns of the other clock, in between.
    received: ns of this clock.
    """

    sent: int
    remote: int
    received: int


class Estimate(Struct, frozen=True):
    """An estimated clock offset.

    offset: the other clock minus this one, ns.
    error: maximum error of the offset, ns.
    at: ns of this clock, in the middle of the exchanges.
    """

    offset: int
    error: int
    at: int

    def to_remote(self, local: int) -> int:
        """Convert an instant of this clock to the other one."""
        return local + self.offset


def estimate(exchanges: Sequence[Exchange]) -> Estimate:
    """Estimate the offset from at least one exchange.

    If the bounds contradict each other (one clock ran at another speed meanwhile), the fastest exchange alone counts.
    """
    low = max(exchange.remote - exchange.received for exchange in exchanges)
    high = min(exchange.remote - exchange.sent for exchange in exchanges)
    if low > high:
        fastest = min(exchanges, key=lambda exchange: exchange.received - exchange.sent)
        low, high = fastest.remote - fastest.received, fastest.remote - fastest.sent
    at = (exchanges[0].sent + exchanges[-1].received) // 2
    return Estimate((low + high) // 2, (high - low + 1) // 2, at)


def summary(before: Estimate, after: Estimate | None) -> dict[str, Any]:
    """Return offset, error and drift in seconds, as run.json has them.

    The offset is the one from before the run, which the run used. The drift is its change until the end, None if there
    is no estimate from the end; the uncertainty of the drift adds to the error.
    """
    if after is None:
        return {"offset": before.offset / NS_PER_S, "error": before.error / NS_PER_S, "drift": None}
    drift = after.offset - before.offset
    error = max(before.error, abs(drift) + after.error)
    return {"offset": before.offset / NS_PER_S, "error": error / NS_PER_S, "drift": drift / NS_PER_S}
