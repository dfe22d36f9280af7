"""How the clocks of two machines lie to each other, from letters that went there and back.

Pure. Each exchange bounds the offset: the other clock was read after the letter left and before the answer came. The
bounds of all exchanges together are narrower than the best exchange alone, and the truth lies within them however
uneven the two ways are (Marzullo, "Maintaining the time in a distributed system", 1984).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from loadstone.units import NS_PER_S


class Exchange(NamedTuple):
    """ns: when the letter left and its answer came, by this clock; what the other clock said in between."""

    left: int
    there: int
    back: int


class Estimate(Struct, frozen=True):
    """The other clock minus this one, and how far off that may be, ns; `at`: this clock, in the middle of it all."""

    offset: int
    error: int
    at: int

    def there(self, here: int) -> int:
        """An instant of this clock, by the other."""
        return here + self.offset


def estimate(exchanges: Sequence[Exchange]) -> Estimate:
    """From at least one exchange. Where they contradict each other (a clock that ran differently in between), the
    quickest alone tells."""
    low = max(each.there - each.back for each in exchanges)
    high = min(each.there - each.left for each in exchanges)
    if low > high:
        best = min(exchanges, key=lambda each: each.back - each.left)
        low, high = best.there - best.back, best.there - best.left
    at = (exchanges[0].left + exchanges[-1].back) // 2
    return Estimate((low + high) // 2, (high - low + 1) // 2, at)


def told(before: Estimate, after: Estimate | None) -> dict[str, Any]:
    """As run.json has it, in seconds. The offset is that of the beginning, by which the run went. `drift`: by how much
    it had changed at the end, None if the end was not seen; what the change may be adds to the error."""
    if after is None:
        return {"offset": before.offset / NS_PER_S, "error": before.error / NS_PER_S, "drift": None}
    drift = after.offset - before.offset
    error = max(before.error, abs(drift) + after.error)
    return {"offset": before.offset / NS_PER_S, "error": error / NS_PER_S, "drift": drift / NS_PER_S}
