"""Over-saturation: seen above capacity, never below it, on queues simulated in virtual time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from random import Random

import pytest

from loadstone.metrics import saturation
from loadstone.metrics.saturation import Saturation, SaturationDetector

SLOTS, SERVICE, PREFILL = 32, 3.0, 0.1
CAPACITY = SLOTS / (SERVICE + PREFILL)
Rate = Callable[[float], float]


def queue(rate: Rate, seed: int, seconds: float) -> Iterator[tuple[float, list[float], int, int]]:
    """32 slots, first come first served, lognormal answers of 3 s on average. Once a second: the time, TTFTs of the
    first outputs since, requests sent, in flight. Random's generators differ between versions, `random` does not."""
    chance = Random(seed)
    free, firsts, ends = [0.0] * SLOTS, list[tuple[float, float]](), list[float]()
    at, sent = 0.0, 0
    for second in range(int(seconds)):
        while True:
            gap = -math.log(1.0 - chance.random()) / rate(at)
            if at + gap > second:
                break
            at += gap
            begin = max(at, heapq.heappop(free))
            normal = math.sqrt(-2 * math.log(1 - chance.random())) * math.cos(2 * math.pi * chance.random())
            end = begin + PREFILL + SERVICE * math.exp(0.8 * normal - 0.32)
            heapq.heappush(free, end)
            heapq.heappush(firsts, (begin + PREFILL, begin + PREFILL - at))
            heapq.heappush(ends, end)
            sent += 1
        at = max(at, float(second))  # memoryless: the gap may begin anew
        ttfts = [heapq.heappop(firsts)[1] for _ in range(sum(first <= second for first, _ in firsts))]
        while ends and ends[0] <= second:
            heapq.heappop(ends)
        yield float(second), ttfts, sent, len(ends)


def watch(rate: Rate, seed: int, seconds: float = 600) -> tuple[float, Saturation] | None:
    """When the detector fires, and what it says."""
    detector = SaturationDetector()
    for at, ttfts, sent, in_flight in queue(rate, seed, seconds):
        for ttft in ttfts:
            detector.add_ttft(ttft)
        detector.observe(at, sent, in_flight)
        if (found := detector.verdict()) is not None:
            return at, found
    return None


def steady(load: float) -> Rate:
    return lambda _: load * CAPACITY


@pytest.mark.parametrize("seed", range(10))
def test_above_capacity_it_fires(seed: int) -> None:
    found = watch(steady(1.2), seed)
    assert found is not None
    _, evidence = found
    assert evidence.in_flight[1] > 1.5 * evidence.in_flight[0]
    assert evidence.ttft[1] > 1.5 * evidence.ttft[0]
    assert evidence.sent > evidence.ended
    assert evidence.growth > evidence.margin > 0


@pytest.mark.parametrize("seed", range(10))
def test_below_capacity_it_does_not(seed: int) -> None:
    assert watch(steady(0.8), seed) is None


CALM: dict[str, Rate] = {
    "a ramp": lambda at: CAPACITY * min(0.85, 0.1 + at / 200),
    "a steep ramp": lambda at: CAPACITY * min(0.85, 0.1 + at / 30),
    "a step up": lambda at: CAPACITY * (0.2 if at < 150 else 0.8),
    "steps down and up": lambda at: CAPACITY * (0.2 if 100 < at < 200 else 0.8),
    "on and off": lambda at: CAPACITY * (0.8 if int(at / 40) % 2 else 0.001),
}


@pytest.mark.parametrize("load", CALM)
def test_a_load_that_changes_below_capacity_is_none_of_it(load: str) -> None:
    assert [watch(CALM[load], seed, 300) for seed in range(3)] == [None] * 3


@pytest.mark.parametrize("seed", range(3))
def test_a_ramp_through_capacity_fires_behind_it(seed: int) -> None:
    found = watch(lambda at: CAPACITY * (0.2 + at / 200), seed)
    assert found is not None
    assert 160 < found[0] < 320


def fed(in_flight: Callable[[int], float], ttft: Callable[[int], float | None], seconds: int = 200) -> list[str]:
    """Verdicts on a load of 20/s with these numbers in flight and TTFTs, second by second."""
    detector, said = SaturationDetector(), []
    for second in range(seconds):
        value = ttft(second)
        if value is not None:
            detector.add_ttft(value)
        detector.observe(float(second), 20 * second, min(20 * second, round(in_flight(second))))
        if (found := detector.verdict()) is not None:
            said.append(str(found))
    return said


def test_the_evidence_is_a_sentence() -> None:
    said = fed(lambda second: 40 + 5 * max(0, second - 50), lambda second: 0.2 + 0.25 * max(0, second - 50))
    assert said[0] == (
        "in flight rose from 40 to 180 in 32 s (4.4/s ± 1.5), TTFT from 0.2 s to 7.1 s: 20 requests/s were sent, "
        "15.6/s ended"
    )


@pytest.mark.parametrize(
    ("in_flight", "ttft"),
    [
        (lambda second: 40, lambda second: 0.2),
        (lambda second: 40 + 5 * second, lambda second: 0.2),
        (lambda second: 40 + 5 * second, lambda second: None),
        (lambda second: 40, lambda second: 0.2 + 0.25 * second),
        (lambda second: 40 + 5 * second, lambda second: 0.2 + 0.002 * second),
        (lambda second: 400 * (1 - math.exp(-second / 20)), lambda second: 0.2 + 0.01 * second),
        (lambda second: 40 + 5 * min(10, max(0, second - 50)), lambda second: 0.2 + 0.01 * second),
        (lambda second: 20 * second, lambda second: 0.2 + 0.25 * second),
    ],
    ids=[
        "nothing rises",
        "only the number in flight does",
        "no output at all",
        "only TTFT does",
        "hardly any of it in the wait for the first output",
        "an empty server fills up",
        "a jump that does not go on",
        "nothing has ended yet",
    ],
)
def test_what_is_not_enough(in_flight: Callable[[int], float], ttft: Callable[[int], float | None]) -> None:
    assert fed(in_flight, ttft) == []


def test_looks_in_quick_succession_count_once_and_memory_is_bounded() -> None:
    detector = SaturationDetector()
    for tick in range(3 * saturation.ROWS * 10):
        detector.observe(tick / 10, tick, 5)
    assert len(detector._rows) <= 2 * saturation.ROWS
    assert detector._rows[-1].at - detector._rows[-2].at >= saturation.STEP


def test_before_anything_was_told_there_is_no_verdict() -> None:
    detector = SaturationDetector()
    assert detector.verdict() is None
    detector.observe(0.0, 0, 0)
    detector.observe(1.0, 0, 0)
    assert detector.verdict() is None
