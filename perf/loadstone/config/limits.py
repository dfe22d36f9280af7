"""Limits of time and number: when the client gives up, tries again, or holds requests back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from loadstone.config import kinds
from loadstone.config.flags import Flag


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Timeouts and retries of single requests. Times are seconds."""

    GROUP: ClassVar = "timeouts (seconds, or 500ms, 2m, 1h30m)"

    wait: Annotated[
        float | None,
        Flag(
            "wait up to this long for servers that are starting, such as 10m (default: not at all)", kinds.TIME, above=0
        ),
    ] = None
    first_timeout: Annotated[
        float,
        Flag(
            "longest time for a request that tries the server before the run: some compile at the first one"
            " (default: 10m)",
            kinds.TIME,
            above=0,
        ),
    ] = 600.0
    connect_timeout: Annotated[float, Flag("longest time to open a connection (default: 30)", kinds.TIME, above=0)] = (
        30.0
    )
    ttft_timeout: Annotated[
        float | None, Flag("longest time to the first output (default: none)", kinds.TIME, above=0)
    ] = None
    idle_timeout: Annotated[
        float | None, Flag("longest time between two outputs (default: none)", kinds.TIME, above=0)
    ] = None
    timeout: Annotated[float | None, Flag("longest time for a whole request (default: 6h)", kinds.TIME, above=0)] = (
        21_600.0
    )
    retries: Annotated[
        int, Flag("retries of a request after HTTP 429, 5xx or a lost connection (default: 0)", least=0)
    ] = 0
    retry_longest: Annotated[
        float,
        Flag(
            "longest wait before one retry (default: 60)",
            kinds.TIME,
            above=0,
            needs=(("retries",), "nothing is retried without it"),
        ),
    ] = 60.0
