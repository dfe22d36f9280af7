"""Whether a request that failed is made again, and after how long. Pure.

Only what may well go better the next time, and was not answered: HTTP 429 and 5xx, and connections that did not come
about or were lost before any byte of an answer. Every attempt has a record of its own; the seed makes the waits of a
run the same each time.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from zlib import crc32

from msgspec import Struct

from loadstone.records import Failure

# Seconds before the first retry; each further one waits twice as long.
FIRST = 0.5
# The value of a response header, by its lower-case name.
Header = Callable[[bytes], bytes | None]


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """most: retries of one request. longest: seconds that one is waited for at most, whatever the server asks."""

    max_retries: int = 0
    max_wait: float = 60.0
    seed: int = 0

    def wait(self, failure: Failure, status: int | None, header: Header, index: int, attempt: int) -> float | None:
        """Seconds until attempt `attempt` + 1 of request `index`; None where there is none.

        Doubling from FIRST, of which between a half and all is waited: requests that failed together do not come back
        together. A server that says when (`Retry-After`) is waited for, and up to FIRST longer.
        """
        if attempt >= self.max_retries or not is_retryable(failure, status):
            return None
        chance = crc32(f"{self.seed}/{index}/{attempt}".encode()) / 2**32
        told = retry_after(header)
        if told is not None:
            return min(told + chance * FIRST, self.max_wait)
        return min(FIRST * 2.0**attempt, self.max_wait) * (1 + chance) / 2


def is_retryable(failure: Failure, status: int | None) -> bool:
    """Whether it may go better the next time."""
    if failure.kind == "status":
        return status is not None and (status == 429 or 500 <= status < 600)
    return failure.kind == "connect"


def retry_after(header: Header) -> float | None:
    """Seconds that the server asks to wait for, in seconds or as a date (RFC 9110, 10.2.3), which is held against the
    server's own `Date`. None where it does not say."""
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
