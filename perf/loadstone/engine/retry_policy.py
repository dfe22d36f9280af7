"""Decide whether a failed request is sent again, and after how long. Pure.

Only failures that may well succeed the next time are retried: HTTP 429 and 5xx, and connections that could not be
opened or were lost before any byte of a response. Each attempt has a record of its own. The waits follow from the seed,
so they are the same each time.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from zlib import crc32

from msgspec import Struct

from loadstone.records import Failure, FailureCause

# Seconds before the first retry; each further one waits twice as long.
FIRST = 0.5
# The value of a response header, by its lower-case name.
Header = Callable[[bytes], bytes | None]


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """The retries of a run.

    max_retries: of one request.
    max_wait: seconds to wait for a retry at most, whatever the server asks for.
    seed: of the run.
    """

    max_retries: int = 0
    max_wait: float = 60.0
    seed: int = 0

    def wait(self, failure: Failure, status: int | None, header: Header, index: int, attempt: int) -> float | None:
        """Return the seconds until attempt `attempt` + 1 of request `index`; None if there is none.

        The wait doubles from FIRST. Between a half and all of it is waited, so that requests that failed together do
        not come back together. A server's `Retry-After` is followed, and up to FIRST added to it.
        """
        if attempt >= self.max_retries:
            return None
        if failure.kind == FailureCause.STATUS:
            retryable = status is not None and (status == 429 or 500 <= status < 600)
        else:
            retryable = failure.kind == FailureCause.CONNECT
        if not retryable:
            return None
        chance = crc32(f"{self.seed}/{index}/{attempt}".encode()) / 2**32
        requested = retry_after(header)
        if requested is not None:
            return min(requested + chance * FIRST, self.max_wait)
        return min(FIRST * 2.0**attempt, self.max_wait) * (1 + chance) / 2


def retry_after(header: Header) -> float | None:
    """Return the seconds that the server asks to wait for; None if it does not say.

    `Retry-After` is seconds or a date (RFC 9110, 10.2.3). A date is compared to the server's own `Date`.
    """
    value = (header(b"retry-after") or b"").decode("latin-1").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        now = parsedate_to_datetime((header(b"date") or b"").decode("latin-1"))
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None
