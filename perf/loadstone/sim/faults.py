"""The faults of the simulated server: their names, how they are asked for, and which request gets one.

Pure. What each does to a connection or a stream is in `answer` and `http`.
"""

from __future__ import annotations

from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.sim.settings import generator

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
    """`by_number`: request number -> fault. `cumulative`: (fault, upper end of its stretch of 0..1)."""

    by_number: dict[int, str]
    cumulative: tuple[tuple[str, float], ...]
    seed: int

    def choose(self, number: int) -> str | None:
        """The fault of request `number`, if it is to have one."""
        if number in self.by_number or not self.cumulative:
            return self.by_number.get(number)
        draw = generator(self.seed, number, "fault").random()
        return next((name for name, end in self.cumulative if draw < end), None)


def parse(specs: tuple[str, ...], seed: int) -> Faults:
    """`NAME:SHARE` or `NAME@i,j,k`, request numbers from 0. Raises UsageError."""
    listed: dict[int, str] = {}
    shares: list[tuple[str, float]] = []
    end = 0.0
    for spec in specs:
        name, mark, value = _split(spec)
        if mark == "@":
            listed.update(dict.fromkeys(_numbers(spec, value), name))
        else:
            end += _share(spec, value)
            shares.append((name, end))
    if end > 1 + 1e-9:
        raise UsageError(f"the shares of the faults add up to {end:g}: make them at most 1 together")
    return Faults(listed, tuple(shares), seed)


def _split(spec: str) -> tuple[str, str, str]:
    mark = "@" if "@" in spec else ":"
    name, found, value = spec.partition(mark)
    if not found or name not in FAULTS:
        raise UsageError(f"{spec!r} is not a fault: write NAME:SHARE or NAME@i,j,k with one of {', '.join(FAULTS)}")
    return name, mark, value


def _share(spec: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError as exc:
        raise _wrong_share(spec) from exc
    if not 0 <= share <= 1:
        raise _wrong_share(spec)
    return share


def _wrong_share(spec: str) -> UsageError:
    return UsageError(
        f"{spec!r} has no share between 0 and 1: write for instance NAME:0.05 with one of {', '.join(FAULTS)}"
    )


def _numbers(spec: str, value: str) -> list[int]:
    parts = value.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"{spec!r} has no list of request numbers: write for instance {spec.partition('@')[0]}@0,5,9")
    return [int(part) for part in parts]
