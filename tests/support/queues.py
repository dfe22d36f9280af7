"""Servers of different shape in virtual time: when the first output and the end of each request would be."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from random import Random

from msgspec import Struct

Rate = Callable[[float], float]


class Served(Struct, frozen=True):
    """One request, times in seconds."""

    sent: float
    first: float
    end: float
    tokens: int


def arrivals(rate: Rate, seconds: float, chance: Random, even: bool = False) -> list[float]:
    """Return Poisson arrivals at a rate, or `even` ones. Random's other generators differ between versions."""
    at, times = 0.0, list[float]()
    while True:
        at += (1.0 if even else -math.log(1.0 - chance.random())) / rate(at)
        if at >= seconds:
            return times
        times.append(at)


def lognormal(chance: Random, mean: float, spread: float = 0.8) -> float:
    """Return a random length."""
    normal = math.sqrt(-2 * math.log(1 - chance.random())) * math.cos(2 * math.pi * chance.random())
    return mean * math.exp(spread * normal - spread**2 / 2)


def slots(times: Sequence[float], chance: Random, count: int = 32, service: float = 1.0, spread: float = 0.8,
          prefill: float = 0.05) -> list[Served]:  # fmt: skip
    """Serve with a fixed number of slots, first come first served: `count / (service + prefill)` a second."""
    free, served = [0.0] * count, []
    for at in times:
        begin = max(at, heapq.heappop(free))
        length = lognormal(chance, service, spread)
        end = begin + prefill + length
        heapq.heappush(free, end)
        served.append(Served(at, begin + prefill, end, 2 + int(50 * length / service)))
    return served


def shared(times: Sequence[float], chance: Random, work: float = 1.0, capacity: float = 32.0, most: float = 1.0,
           first: float = 0.05, slows: float = 0.0) -> list[Served]:  # fmt: skip
    """Serve all at once: each at its full speed `most` up to `capacity` of them, then at an equal part of it.

    first: fraction of the work until the first output.
    slows: fraction by which the capacity falls for each `capacity` requests in flight beyond it.
    """
    waiting = sorted(times, reverse=True)
    done, speed = 0.0, most  # the work done for each that is in flight since the beginning, and its rate
    firsts, ends = list[tuple[float, float]](), list[tuple[float, float, float]]()
    began: dict[float, float] = {}
    served, now = [], 0.0
    while waiting or ends:
        count = len(ends)
        total = capacity / (1 + slows * max(0.0, count / capacity - 1))
        speed = min(most, total / count) if count else most
        leaves = now + (ends[0][0] - done) / speed if ends else math.inf
        outputs = now + (firsts[0][0] - done) / speed if firsts else math.inf
        comes = waiting[-1] if waiting else math.inf
        then = min(leaves, outputs, comes)
        done, now = done + (then - now) * speed, then
        if then == comes:
            waiting.pop()
            length = lognormal(chance, work)
            heapq.heappush(ends, (done + length, now, length))
            heapq.heappush(firsts, (done + first * work, now))
            continue
        if then == outputs:
            began[heapq.heappop(firsts)[1]] = now
            continue
        _, sent, length = heapq.heappop(ends)
        served.append(Served(sent, began.get(sent, now), now, 2 + int(50 * length / work)))
    return sorted(served, key=lambda one: one.sent)
