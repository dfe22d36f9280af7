"""Choose how many worker processes a load needs (`--workers auto`). Pure."""

from __future__ import annotations

import math

from loadstone.config.parse import REPLAY
from loadstone.schedule.plan import Load

# Events per second of one process where no self-test has measured its ceiling: on a quiet machine of two cores it held
# 69,000 with 55 % of its core, and other machines are slower.
ASSUMED = 40_000.0
# Fraction of the ceiling to use, so that bursts have room and stamps seldom queue up behind each other.
AIM = 0.5
# Tokens per second of one stream: a fast one, as few servers give a single user more under load.
PER_STREAM = 50.0
# Tokens of a response of unknown length.
OUTPUT = 256
# Seconds to the first token: those of a good server, as longer ones make less work.
FIRST = 0.1
# Events that cost as much CPU as one request (7 measured: 62 to 70 us, where an event took 9 us).
PER_REQUEST = 8
# Streams that a process should have at least: one process can always take fewer.
SLOTS = 16


def choose_workers(
    load: Load,
    output_len: int | None,
    cores: int,
    local_server: bool,
    ceiling: float | None,
    recorded: float | None = None,
) -> int:
    """Return the number of processes for `load` on `cores`, at least 1.

    As many as keep each at half of its ceiling, but no more than one per core, of which a server on this machine needs
    half, and no more than one for every 16 streams.

    output_len: tokens of a response; None: unknown.
    ceiling: events/s that one process can take; None: unknown.
    recorded: requests/s of a replay, which `load` does not know.
    """
    streams, events = peak_load(load, output_len, recorded)
    needed = math.ceil(events / (AIM * (ceiling or ASSUMED)))
    room = cores // 2 if local_server else cores
    return max(1, min(needed, room, math.ceil(streams / SLOTS)))


def peak_load(load: Load, output_len: int | None, recorded: float | None = None) -> tuple[float, float]:
    """Return streams in flight and events/s at the peak of `load`; a request counts as PER_REQUEST events."""
    tokens = output_len or OUTPUT
    events = tokens + PER_REQUEST
    seconds = FIRST + tokens / PER_STREAM
    levels = [max(stage.low, stage.high) for stage in load.stages]
    rate: float | None
    if load.arrivals == REPLAY:
        rate = (recorded or 0.0) * load.speed
    elif load.stages and not load.stages[0].concurrency:
        rate = max(levels)
    else:
        rate = load.rate
    if rate is None:
        streams = max(levels, default=float(load.concurrency or 1))
    else:
        streams = min(rate * seconds, load.concurrency or math.inf)
    return streams, streams * events / seconds
