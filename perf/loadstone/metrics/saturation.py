"""Detect over-saturation of an open loop: the server falls behind for good, as concurrency and TTFT both show.

Pure: the caller reports the state a few times a second and asks for the verdict. Random arrivals near capacity pile up
by chance, so a rise counts only if it is large against the fluctuation of as many requests. `judge_run` looks at the
requests of a run that has ended.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

import numpy as np
from msgspec import Struct

from loadstone.stats.distributions import NORMAL
from loadstone.units import Array

# Least seconds between two rows at first. Whenever there are 2 * ROWS of them, every second one is dropped.
STEP = 0.18
ROWS = 1024
# Equal parts of a window: independent enough for their increments to tell the size of chance.
BLOCKS = 16
WINDOWS = tuple(BLOCKS * parts for parts in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64))
# Seconds of a rise at least, while the run goes on and after its end.
SHORTEST = 8.0
SHORTEST_ENDED = 2.0
# Standard errors. In simulations of 10 minutes at 95 % of capacity, chance reaches 4 in one run of hundreds.
SIGNIFICANT = 4.5
# Seconds that the time in the server must rise a second, beyond chance: a load 2 % above capacity.
DRIFT = 0.02
# Factor by which the time in the server and TTFT must have risen. An empty server that fills up stays below it from the
# instant that `SETTLED` names on, whatever the spread of its answers' lengths.
RISE = 1.5
SETTLED = 1.5
# The second half of a rise against the first: filling up slows down, falling behind does not.
LASTING = 0.6
# Fraction of the rise that is in the wait for the first output: the rest is longer answers, or larger batches.
WAITING = 0.05
# Seconds for which observations in a row must agree.
AGREEING = 2.0
# Instants at which a run that has ended is looked at.
STEPS = 384


class Saturation(Struct, frozen=True):
    """The evidence: values at the begin and at the end of `seconds`, rates per second. `margin`: 95 % half-width."""

    seconds: float
    in_flight: tuple[float, float]
    ttft: tuple[float, float]
    growth: float
    margin: float
    sent: float
    ended: float

    def __str__(self) -> str:
        return (
            f"in flight rose from {self.in_flight[0]:.0f} to {self.in_flight[1]:.0f} in {self.seconds:.0f} s "
            f"({self.growth:.2g}/s ± {self.margin:.2g}), TTFT from {self.ttft[0]:.2g} s to {self.ttft[1]:.2g} s: "
            f"{self.sent:.3g} requests/s were sent, {self.ended:.3g}/s ended"
        )


class _Row(Struct, frozen=True):
    """The state at one time.

    age: how long ago the last ended request was sent, if requests ended in order. This is the number in flight over the
        rate (Little's law), and stays right while the rate changes.
    """

    at: float
    sent: int
    in_flight: int
    age: float
    ttft: float | None
    settled: bool


class SaturationDetector:
    """Add every TTFT with `add_ttft`, call `observe` a few times a second, then ask for the `verdict`."""

    def __init__(self, step: float = STEP) -> None:
        """step: least seconds between two rows at first."""
        self._rows: list[_Row] = []
        self._ttfts: list[float] = []
        self._begun: float | None = None
        self._step = step
        self._since: float | None = None
        self._found: Saturation | None = None

    def add_ttft(self, ttft: float) -> None:
        """Add a TTFT in seconds; the whole latency of a response that is not streamed."""
        self._ttfts.append(ttft)

    def observe(self, at: float, sent: int, in_flight: int) -> None:
        """Add the current state.

        at: seconds on any clock.
        sent: requests so far.
        in_flight: includes requests that wait for a slot.
        """
        rows = self._rows
        if rows and at - rows[-1].at < self._step:
            return
        rows.append(self._row(at, sent, in_flight))
        if len(rows) > 2 * ROWS:
            del rows[-2::-2]
            self._step *= 2
        found = self.judge(SHORTEST)
        if found is None:
            self._since = None
        elif self._since is None:
            self._since = at
        self._found = found if self._since is not None and at - self._since >= AGREEING else None

    def judge(self, shortest: float) -> Saturation | None:
        """Return the evidence of the shortest window, of `shortest` s or more, in which the server falls behind."""
        rows = self._rows
        found = (_judge(rows, size, shortest) for size in WINDOWS if size < len(rows))
        return next(filter(None, found), None)

    def verdict(self) -> Saturation | None:
        """Return the evidence of saturation; None while the server keeps up, or chance could explain the rise."""
        return self._found

    def _row(self, at: float, sent: int, in_flight: int) -> _Row:
        ttft = median(self._ttfts) if self._ttfts else self._rows[-1].ttft if self._rows else None
        self._ttfts.clear()
        age = at - self._when(sent - in_flight) if in_flight else 0.0
        self._begun = at if self._begun is None else self._begun
        settled = ttft is not None and sent > in_flight and at - self._begun >= SETTLED * (age - ttft)
        return _Row(at, sent, in_flight, age, ttft, settled)

    def _when(self, count: int) -> float:
        """Return the instant by which `count` requests had been sent."""
        place = bisect_left(self._rows, count, key=lambda row: row.sent)
        if place in (0, len(self._rows)):
            return self._rows[min(place, len(self._rows) - 1)].at if self._rows else 0.0
        before, after = self._rows[place - 1], self._rows[place]
        return before.at + (after.at - before.at) * (count - before.sent) / (after.sent - before.sent)


def judge_run(scheduled: Array, first: Array, end: Array) -> Saturation | None:
    """Return the evidence that the server fell behind by the end of a run whose requests came at planned times.

    scheduled: when each request was due, first: its first output (NaN: none), end: its end; seconds.
    """
    if len(scheduled) < BLOCKS:
        return None
    begin, stop = float(scheduled.min()), float(scheduled.max())
    if stop - begin < SHORTEST_ENDED:
        return None
    detector = SaturationDetector(step=0.0)
    came = np.sort(scheduled)
    ended = np.sort(end)
    at_output = np.where(np.isnan(first), end, first)
    order = np.argsort(at_output)
    outputs, waits = at_output[order], (at_output - scheduled)[order].tolist()
    seen = 0
    for at in np.linspace(begin, stop, STEPS).tolist():
        until = int(np.searchsorted(outputs, at, "right"))
        for wait in waits[seen:until]:
            detector.add_ttft(wait)
        seen = until
        sent = int(np.searchsorted(came, at, "right"))
        detector.observe(at, sent, sent - int(np.searchsorted(ended, at, "right")))
    return detector.judge(SHORTEST_ENDED)


def _judge(rows: Sequence[_Row], size: int, shortest: float) -> Saturation | None:
    """Check the last `size` rows, a multiple of BLOCKS, for saturation."""
    window = rows[-size - 1 :]
    first, last = window[0], window[-1]
    seconds, sent = last.at - first.at, last.sent - first.sent
    if seconds < shortest or not sent or not first.settled:
        return None
    rate = sent / seconds
    rise = (last.age - first.age) * rate - DRIFT * sent
    if rise < SIGNIFICANT * math.sqrt(sent) or not _rises(window):
        return None
    chance = _chance(rows, window, rate, sent)
    return _evidence(window, rate, chance) if rise >= SIGNIFICANT * chance else None


def _chance(rows: Sequence[_Row], window: Sequence[_Row], rate: float, sent: int) -> float:
    """Return the standard error of the rise over a window, in requests.

    Poisson arrivals vary by the root of their number. Bursts and responses of different lengths show in the increments:
    those of the window or, if larger, of all earlier rows, as few increments estimate a variance badly.
    """
    step = (len(window) - 1) // BLOCKS
    before = [row for row in rows if row.settled]
    spread = max(_spread(window[::step]), _spread(before[::-step]))
    return math.sqrt(max(sent, BLOCKS * rate**2 * spread))


def _spread(rows: Sequence[_Row]) -> float:
    """Return the variance of the increments of age."""
    steps = [later.age - earlier.age for earlier, later in pairwise(rows)]
    mean = fmean(steps)
    return math.fsum((step - mean) ** 2 for step in steps) / (len(steps) - 1)


def _rises(rows: Sequence[_Row]) -> bool:
    """Return True if the rise is large enough, is in the wait for output, and goes on."""
    size = (len(rows) - 1) // BLOCKS
    (age, then), (ttft, later) = _ends([row.age for row in rows], size), _ends([row.ttft or 0.0 for row in rows], size)
    crowd, more = _ends([float(row.in_flight) for row in rows], size)
    middle = rows[len(rows) // 2].age
    return (
        then >= RISE * age
        and later >= RISE * ttft
        and more >= RISE * crowd
        and later - ttft >= WAITING * (then - age)
        and rows[-1].age - middle >= LASTING * (middle - rows[0].age)
    )


def _ends(values: Sequence[float], size: int) -> tuple[float, float]:
    """Return the means of the first and of the last `size` values."""
    return fmean(values[:size]), fmean(values[-size:])


def _evidence(rows: Sequence[_Row], rate: float, chance: float) -> Saturation:
    first, last = rows[0], rows[-1]
    seconds, size = last.at - first.at, (len(rows) - 1) // BLOCKS
    return Saturation(
        seconds=seconds,
        in_flight=(first.in_flight, last.in_flight),
        ttft=_ends([row.ttft or 0.0 for row in rows], size),
        growth=(last.in_flight - first.in_flight) / seconds,
        margin=NORMAL * chance / seconds,
        sent=rate,
        ended=rate - (last.in_flight - first.in_flight) / seconds,
    )
