"""Units and types that all modules share. It imports nothing heavy: `loadstone --help` waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Times of records are whole nanoseconds; times of summaries and reports are seconds.
NS_PER_S = 1_000_000_000
S_PER_NS = 1e-9
# One value for each request, event or step. Strings, so that importing this module does not load numpy.
Array: TypeAlias = "NDArray[np.float64]"
Mask: TypeAlias = "NDArray[np.bool_]"
