"""Units and types that every room shares. Imports nothing heavy: `loadstone --help` waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Times of records are whole nanoseconds; times of summaries and reports are seconds.
NS_PER_S = 1_000_000_000
S_PER_NS = 1e-9
# One value a request, an event or a step. Strings, so that numpy is only loaded where arrays are made.
Array: TypeAlias = "NDArray[np.float64]"
Mask: TypeAlias = "NDArray[np.bool_]"
