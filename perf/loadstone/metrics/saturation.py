"""Detect over-saturation of an open loop: the server falls behind for good, as concurrency and waiting times both show.

Pure: while a run goes on the caller reports the state, several times a second at first and less often later, and asks
for the verdict; a finished run is replayed by `replay`. Random arrivals near capacity pile up by chance, so a rise
counts only if it is large against the fluctuation of as many requests. Nothing depends on the length of a second: what
is needed is a rise over 32 rows that begins when the server has filled up, so 1.5 times as long as a response takes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

import numpy as np
from msgspec import Struct

from loadstone.metrics.columns import Requests
from loadstone.stats.distributions import NORMAL
from loadstone.units import S_PER_NS, Array

# Seconds between two rows, and between those of a second detector for short runs.
STEP = 1.0
FAST_STEP = 0.2
# Fraction of a step after which the next row may come: what reports the state is not exact.
NEARLY = 0.9
# Rows kept at least: some 17 minutes.
ROWS = 1024
# Equal parts of a window: independent enough for their increments to tell the size of chance.
BLOCKS = 16
WINDOWS = tuple(BLOCKS * parts for parts in (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64))
# Standard errors. In simulations of 10 minutes at 95 % of capacity, chance reaches 4 in one run of hundreds. A finished
# run is judged once, not hundreds of times.
SIGNIFICANT = 4.5
SIGNIFICANT_ONCE = 3.5
# Rows of a finished run that is replayed.
LOOKS = 128
# Seconds that the time in the server must rise a second, beyond chance: a load 2 % above capacity.
DRIFT = 0.02
# Factor by which the time in the server and TTFT must have risen. An empty server that fills up stays below it from the
# instant that `SETTLED` names on, whatever the spread of its answers' lengths.
RISE = 1.5
SETTLED = 1.5
# The second half of a rise against the first: filling up slows down, falling behind does not.
LASTING = 0.6
# Fraction of the rise that is in the wait for the first output, or else tokens come so much slower as answers take
# longer: otherwise the answers alone were longer.
WAITING = 0.05
# Responses that a median of TPOT is of at least: the few that end first are short, and vary.
MIN_TPOTS = 8
# Observations in a row that must agree.
MIN_AGREEING = 3


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
    ttft, tpot: medians since the row before.
    """

    at: float
    sent: int
    in_flight: int
    age: float
    ttft: float | None
    tpot: float | None
    settled: bool


class SaturationDetector:
    """Add every TTFT with `add_ttft`, call `observe` every `step` seconds, then ask for the `verdict`.

    significant: standard errors by which a rise must exceed chance.
    """

    def __init__(self, step: float = STEP, significant: float = SIGNIFICANT) -> None:
        self._step, self._significant = step, significant
        self._rows: list[_Row] = []
        self._ttfts: list[float] = []
        self._tpots: list[float] = []
        self._begun: float | None = None
        self._agreed = 0
        self._found: Saturation | None = None

    def add_ttft(self, ttft: float) -> None:
        """Add a TTFT in seconds; the whole latency of a response that is not streamed."""
        self._ttfts.append(ttft)

    def add_tpot(self, tpot: float) -> None:
        """Add the seconds per token of a response that has ended."""
        self._tpots.append(tpot)

    def observe(self, at: float, sent: int, in_flight: int) -> None:
        """Add the current state.

        at: seconds on any clock.
        sent: requests so far.
        in_flight: includes requests that wait for a slot.
        """
        rows = self._rows
        if rows and at - rows[-1].at < NEARLY * self._step:
            return
        rows.append(self._row(at, sent, in_flight))
        if len(rows) > 2 * ROWS:
            del rows[:-ROWS]
        sizes = (size for size in reversed(WINDOWS) if size < len(rows))
        found = next(filter(None, (_judge(rows, size, self._significant) for size in sizes)), None)
        self._agreed = self._agreed + 1 if found else 0
        self._found = found if self._agreed >= MIN_AGREEING else None

    def verdict(self) -> Saturation | None:
        """Return the evidence of saturation; None while the server keeps up, or chance could explain the rise."""
        return self._found

    def _row(self, at: float, sent: int, in_flight: int) -> _Row:
        ttft, tpot = (self._rows[-1].ttft, self._rows[-1].tpot) if self._rows else (None, None)
        if self._ttfts:
            ttft = median(self._ttfts)
            self._ttfts.clear()
        if len(self._tpots) >= MIN_TPOTS:
            tpot = median(self._tpots)
            self._tpots.clear()
        age = at - self._when(sent - in_flight) if in_flight else 0.0
        self._begun = at if self._begun is None else self._begun
        settled = ttft is not None and sent > in_flight and at - self._begun >= SETTLED * (age - ttft)
        return _Row(at, sent, in_flight, age, ttft, tpot, settled)

    def _when(self, count: int) -> float:
        """Return the instant by which `count` requests had been sent."""
        place = bisect_left(self._rows, count, key=lambda row: row.sent)
        if place in (0, len(self._rows)):
            return self._rows[min(place, len(self._rows) - 1)].at if self._rows else 0.0
        before, after = self._rows[place - 1], self._rows[place]
        return before.at + (after.at - before.at) * (count - before.sent) / (after.sent - before.sent)


def replay(r: Requests, capped: bool = False, stages: bool = False) -> Saturation | None:
    """Return the evidence that the server had fallen behind when the last request was sent; None if it had not.

    Time is scaled so that sending took LOOKS seconds. `ended` counts successes alone.

    capped: a limit on requests in flight made others wait in the client, which counts as time in the server.
    stages: the load was to change, so that the server may have caught up by the end: any time counts.
    """
    began = r.scheduled if capped else r.sent
    rows = ~np.isnan(began) & ~np.isnan(r.end) & ~(r.superseded & capped)
    began, ends = np.sort(began[rows]), np.sort(r.end[rows])
    if len(began) < LOOKS or began[-1] <= began[0]:
        return None
    edges = np.linspace(began[0], began[-1], LOOKS + 1)
    scale = float(LOOKS / ((began[-1] - began[0]) * S_PER_NS))
    sent, ended = (np.searchsorted(times, edges, "right") for times in (began, ends))
    first = np.where(r.streamed, r.first, r.end)
    waits = _in_steps(edges, first, first - r.scheduled)
    tpots = _in_steps(edges, r.last, np.where(r.packets > 1, (r.last - r.first) / np.maximum(r.packets - 1, 1), np.nan))
    detector, found, at = SaturationDetector(significant=SIGNIFICANT_ONCE), None, 0
    for look in range(1, LOOKS + 1):
        for wait in waits[look - 1]:
            detector.add_ttft(wait * scale)
        for tpot in tpots[look - 1]:
            detector.add_tpot(tpot * scale)
        detector.observe(float(look), int(sent[look]), int(sent[look] - ended[look]))
        now = detector.verdict()
        if now or not stages:
            found, at = now, look
    if found is None:
        return None
    seconds = float(found.seconds / scale)
    span = (edges[at] - seconds / S_PER_NS, edges[at])
    answered = r.end[rows & r.ok] if capped else r.end[~np.isnan(r.sent) & r.ok]
    return Saturation(
        seconds=seconds,
        in_flight=found.in_flight,
        ttft=(found.ttft[0] / scale, found.ttft[1] / scale),
        growth=float(found.growth * scale),
        margin=float(found.margin * scale),
        sent=float(found.sent * scale),
        ended=float(((answered > span[0]) & (answered <= span[1])).sum() / seconds),
    )


def _in_steps(edges: Array, at: Array, values: Array) -> list[list[float]]:
    """Return the values, ns, that came between each edge and the next, in seconds."""
    known = ~np.isnan(at) & ~np.isnan(values)
    order = np.argsort(at[known])
    places = np.searchsorted(at[known][order], edges, "right")
    return [part.tolist() for part in np.split(values[known][order] * S_PER_NS, places)[1:-1]]


def _judge(rows: Sequence[_Row], size: int, significant: float) -> Saturation | None:
    """Check the last `size` rows, a multiple of BLOCKS, for saturation."""
    window = rows[-size - 1 :]
    first, last = window[0], window[-1]
    seconds, sent = last.at - first.at, last.sent - first.sent
    if not sent or not first.settled:
        return None
    rate = sent / seconds
    rise = (last.age - first.age) * rate - DRIFT * sent
    if rise < significant * math.sqrt(sent) or not _rises(window):
        return None
    chance = _chance(rows, window, rate, sent)
    return _evidence(window, rate, chance) if rise >= significant * chance else None


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
    """Return the variance of the increments of age; 0 of fewer than two."""
    steps = [later.age - earlier.age for earlier, later in pairwise(rows)]
    if len(steps) < 2:
        return 0.0
    mean = fmean(steps)
    return math.fsum((step - mean) ** 2 for step in steps) / (len(steps) - 1)


def _rises(rows: Sequence[_Row]) -> bool:
    """Return True if the rise is large enough, is in the wait for output or in its speed, and goes on."""
    size = (len(rows) - 1) // BLOCKS
    (age, then), (ttft, later) = _ends([row.age for row in rows], size), _ends([row.ttft or 0.0 for row in rows], size)
    tpot, slower = _ends([row.tpot or 0.0 for row in rows], size)
    crowd, more = _ends([float(row.in_flight) for row in rows], size)
    middle = rows[len(rows) // 2].age
    waits = later >= RISE * ttft and later - ttft >= WAITING * (then - age)
    slows = rows[0].tpot is not None and slower >= RISE * tpot
    return (
        then >= RISE * age
        and more >= RISE * crowd
        and (waits or slows)
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
