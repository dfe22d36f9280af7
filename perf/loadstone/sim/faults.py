"""The faults of the simulated server: their names, their flag, and which request gets one.

Pure. response.py and server.py carry them out.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from loadstone.errors import ConfigError
from loadstone.sim.timing import generator

# What the server does for each fault.
FAULTS = {
    "refuse": "the connection is reset, and the listener is closed for 300 ms",
    "reset": "the connection is reset before any byte of the response",
    "reset-mid": "the connection is reset in mid-stream",
    "stall": "nothing more comes from mid-stream on; the connection stays open",
    "truncate": "the connection is closed in mid-stream",
    "truncate-clean": "the HTTP response ends properly in mid-stream, with neither finish reason nor [DONE]",
    "bad-json": "one event in mid-stream is not JSON",
    "bad-utf8": "one event in mid-stream is not UTF-8",
    "no-done": "all is right but [DONE] is missing",
    "empty": "status 200 with an empty body",
    "400": "bad request",
    "401": "unauthorized",
    "404": "no such model",
    "429": "too many requests, with Retry-After: 1",
    "500": "the engine is dead",
    "503": "unavailable",
    "slow-head": "the response head comes late",
    "error-event": "an error object in mid-stream, then [DONE]",
}


class Faults(Struct, frozen=True):
    """Which requests get a fault.

    by_number: request number -> fault.
    cumulative: (fault, cumulative fraction of the requests), for requests that have no fault by number.
    """

    by_number: dict[int, str]
    cumulative: tuple[tuple[str, float], ...]
    seed: int

    def choose(self, number: int) -> str | None:
        """Return the fault of request `number`, None for none."""
        if number in self.by_number or not self.cumulative:
            return self.by_number.get(number)
        draw = generator(self.seed, number, "fault").random()
        return next((name for name, end in self.cumulative if draw < end), None)


def parse(specs: Sequence[str], seed: int) -> Faults:
    """Parse values of --fault: `NAME:SHARE` or `NAME@i,j,k`, request numbers from 0. Raises ConfigError."""
    by_number: dict[int, str] = {}
    cumulative: list[tuple[str, float]] = []
    end = 0.0
    names = ", ".join(FAULTS)
    for spec in specs:
        mark = "@" if "@" in spec else ":"
        name, separator, value = spec.partition(mark)
        if not separator or name not in FAULTS:
            raise ConfigError(
                f"{spec!r} is not a fault: write NAME:SHARE or NAME@i,j,k with one of {names}", field="faults"
            )
        if mark == "@":
            numbers = value.split(",")
            if not all(number.strip().isdecimal() for number in numbers):
                raise ConfigError(
                    f"{spec!r} has no list of request numbers: write for instance {name}@0,5,9", field="faults"
                )
            by_number.update(dict.fromkeys(map(int, numbers), name))
            continue
        try:
            fraction = float(value)
        except ValueError:
            fraction = -1.0
        if not 0 <= fraction <= 1:
            raise ConfigError(
                f"{spec!r} has no share between 0 and 1: write for instance NAME:0.05 with one of {names}",
                field="faults",
            )
        end += fraction
        cumulative.append((name, end))
    if end > 1 + 1e-9:
        raise ConfigError(f"the shares of the faults add up to {end:g}: make them at most 1 together", field="faults")
    return Faults(by_number, tuple(cumulative), seed)
