"""How many processes a load needs: `--workers auto`. Pure; the load is known before a request is sent."""

from __future__ import annotations

import math

from loadstone.config.parse import REPLAY
from loadstone.schedule.plan import Load

# Events a second that one process takes where no self-test has found its ceiling: on a quiet machine of two cores it
# held 69,000 with 55 % of its core, and other machines are slower.
ASSUMED = 40_000.0
# Share of the ceiling to use, so that bursts have room and stamps seldom queue up behind each other.
AIM = 0.5
# Tokens a second of one stream: a fast one, as few servers give a single user more under load.
PER_STREAM = 50.0
# Tokens of an answer whose length nobody gave.
OUTPUT = 256
# Seconds to the first token: a good server's, as longer ones make less work.
FIRST = 0.1
# Events that cost as much CPU as one request (7 measured: 62 to 70 us, where an event took 9 us).
PER_REQUEST = 8
# Streams that a process should at least have: fewer are never too many for one.
SLOTS = 16


def choose_workers(
    load: Load,
    output_len: int | None,
    cores: int,
    local_server: bool,
    ceiling: float | None,
    recorded: float | None = None,
) -> int:
    """Processes for `load` on `cores`: as many as keep each at half of its `ceiling` (events/s; None: not known), at
    most one a core, of which a server on this machine needs half, and one for every 16 streams; at least 1.
    `recorded`: requests a second of a replay, which `load` does not tell."""
    streams, events = peak_load(load, output_len, recorded)
    wanted = math.ceil(events / (AIM * (ceiling or ASSUMED)))
    room = cores // 2 if local_server else cores
    return max(1, min(wanted, room, math.ceil(streams / SLOTS)))


def peak_load(load: Load, output_len: int | None, recorded: float | None = None) -> tuple[float, float]:
    """Streams in flight and events a second at the peak of `load`; a request counts as PER_REQUEST events."""
    tokens = output_len or OUTPUT
    work, lasts = tokens + PER_REQUEST, FIRST + tokens / PER_STREAM
    rate = _rate(load, recorded)
    streams = _slots(load) if rate is None else min(rate * lasts, load.concurrency or math.inf)
    return streams, streams * work / lasts


def _rate(load: Load, recorded: float | None) -> float | None:
    """Peak of an open loop, requests a second; None for a closed one."""
    if load.arrivals == REPLAY:
        return (recorded or 0.0) * load.speed
    return max((max(stage.low, stage.high) for stage in load.stages if not stage.concurrency), default=load.rate)


def _slots(load: Load) -> float:
    return max((max(stage.low, stage.high) for stage in load.stages), default=float(load.concurrency or 1))
