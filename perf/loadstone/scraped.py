"""Values that a server gave from time to time, as arrays, and what they come to over a stretch of the run. Pure numpy.

Counters and histograms are taken as what they grew by; one that falls began anew (the server was restarted), and what
it shows then is growth. Between two looks growth is spread evenly over the part in which the run was under way, so that
what came between the last look before the run and its beginning was no time at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadstone.gauges import FIGURES, SUFFIXES, Figure, Key, Name, chosen
from loadstone.records import Metric
from loadstone.stats import describe, enough

Array = NDArray[np.float64]
Span = tuple[float, float]
"""Seconds of the run."""
UP, BUCKET, SUM, COUNT = "up", *SUFFIXES
_POINTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Rows:
    """Rows of server.csv of one source, as they come."""

    def __init__(self) -> None:
        self.looks: list[float] = []
        self.missed: list[float] = []
        self.changes: dict[Key, tuple[list[float], list[float]]] = {}

    def add(self, key: Key, at: float, value: float) -> None:
        if key == (UP, ()):
            (self.looks if value else self.missed).append(at)
            return
        times, values = self.changes.setdefault(key, ([], []))
        times.append(at)
        values.append(value)


@dataclass(slots=True)
class Scraped:
    """One source. `at`: when it answered, s of the run; `bucketed`: those of these times at which all buckets were
    written. A series has a value for each, NaN before it first appeared."""

    source: str
    at: Array
    missed: Array
    bucketed: Array
    series: dict[Key, Array]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.series}


def build(source: str, rows: Rows) -> Scraped:
    at = np.array(rows.looks)
    written = {time for (name, _), (times, _) in rows.changes.items() if name.endswith(BUCKET) for time in times}
    bucketed = np.array(sorted(written))
    series = {
        key: _held(bucketed if key[0].endswith(BUCKET) else at, *changes) for key, changes in rows.changes.items()
    }
    return Scraped(source, at, np.array(rows.missed), bucketed, series)


def _held(at: Array, times: list[float], values: list[float]) -> Array:
    """A value holds until the next; NaN before the first."""
    places = np.searchsorted(times, at, "right")
    held: Array = np.r_[np.nan, values][places]
    return held


def grown(values: Array) -> Array:
    """What a counter has grown by since the first look. One that was not there yet stood at 0; one that falls began
    anew at 0 (as Prometheus' own `increase` has it)."""
    values = np.nan_to_num(values)
    steps = np.diff(values, prepend=values[:1])
    return np.cumsum(np.where(steps < 0, values, steps))


def resets(scraped: Scraped) -> int:
    """Looks at which a counter of requests or tokens had fallen."""
    counters = [name for figure, name in chosen(scraped.names).items() if FIGURES[figure].kind == "counter"]
    fallen = [np.diff(values) < 0 for name in counters for values in _each(scraped, name)]
    return int(np.logical_or.reduce(fallen).sum()) if fallen else 0


@dataclass(slots=True)
class Timed:
    """What a histogram grew by: the number and sum of its times in seconds, and how many were at or below each bound,
    the last of which is infinite."""

    count: float
    sum: float
    bounds: tuple[float, ...]
    below: Array

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count > 0.5 else None

    def __add__(self, other: Timed) -> Timed:
        """Of two servers; percentiles are known where their bounds are the same."""
        same = self.bounds == other.bounds
        bounds, below = (self.bounds, self.below + other.below) if same else ((), np.empty(0))
        return Timed(self.count + other.count, self.sum + other.sum, bounds, below)

    def metric(self) -> Metric:
        """Percentiles by linear interpolation within a bucket, as Prometheus' `histogram_quantile` has them; the note has
        its bounds. None in the first bucket and beyond the last bound, where a value would be made up, and where the
        sample is too small."""
        count = round(self.count)
        places = {name: place for name, share in _POINTS.items()
                  if enough(count, share) and (place := self._at(share)) is not None}  # fmt: skip
        points = {name: place.value for name, place in places.items()}
        told = ", ".join(f"{name} {place}" for name, place in places.items())
        note = f"known by the bounds of its histogram: {told}" if told else None
        return Metric("s", count, mean=self.mean, **points, note=note)  # type: ignore[arg-type]

    def _at(self, share: float) -> _Place | None:
        if not len(self.below) or self.below[-1] <= 0:
            return None
        rank = share * float(self.below[-1])
        place = min(int(np.searchsorted(self.below, rank)), len(self.bounds) - 1)
        low, before = (self.bounds[place - 1], float(self.below[place - 1])) if place else (None, 0.0)
        inside = float(self.below[place]) - before
        return _Place(low, self.bounds[place], (rank - before) / inside if inside > 0 else 1.0)


class _Place(NamedTuple):
    """A quantile: between which bounds it lies, in seconds, and how far on its way from one to the other."""

    low: float | None
    high: float
    part: float

    @property
    def value(self) -> float | None:
        if self.low is None or math.isinf(self.high):
            return None
        return self.low + (self.high - self.low) * self.part

    def __str__(self) -> str:
        if self.low is None:
            return f"below {self.high * 1e3:g} ms"
        return (
            f"above {self.low * 1e3:g} ms" if math.isinf(self.high) else f"{self.low * 1e3:g} to {self.high * 1e3:g} ms"
        )


class Figures:
    """A source by our names: `gauges` as they stood at each look; `counts` and `times` over a stretch."""

    def __init__(self, scraped: Scraped, load: Span) -> None:
        """`load`: from the first request that was sent to the end of the last."""
        self.scraped, self._load = scraped, load
        self.names = chosen(scraped.names)
        self.gauges = {
            figure: _together(list(_each(scraped, name)), FIGURES[figure], len(scraped.at)) * name.scale
            for figure, name in self._of("gauge")
        }
        self._counters = {figure: _sum(_each(scraped, name), len(scraped.at)) for figure, name in self._of("counter")}
        self._times = {figure: _Histogram(scraped, name) for figure, name in self._of("times")}

    def _of(self, kind: str) -> Iterator[tuple[str, Name]]:
        return ((figure, name) for figure, name in self.names.items() if FIGURES[figure].kind == kind)

    def gauge(self, figure: str, span: Span) -> Metric:
        """Of the looks in the stretch."""
        inside = (self.scraped.at >= span[0]) & (self.scraped.at <= span[1])
        return describe(self.gauges[figure][inside], FIGURES[figure].unit)

    def counts(self, span: Span) -> dict[str, float]:
        return {
            figure: float(between(self.scraped.at, values, self._load, span))
            for figure, values in self._counters.items()
        }

    def times(self, span: Span) -> dict[str, Timed]:
        return {figure: histogram.within(self._load, span) for figure, histogram in self._times.items()}

    def steps(self) -> Iterator[tuple[str, Array, Array]]:
        """For charts: gauges as they stood, counters a second, and means of times, from each look to the next."""
        at = self.scraped.at
        yield from ((figure, at, values) for figure, values in self.gauges.items())
        passed = np.diff(at)
        for figure, values in self._counters.items():
            yield figure, at[1:], np.diff(values) / passed
        for figure, histogram in self._times.items():
            yield figure, at[1:], _over(np.diff(histogram.sum), np.diff(histogram.count))


def between(at: Array, grown: Array, load: Span, span: Span) -> Array:
    """What something grew by in the stretch; `grown` has a row for each look."""
    if not len(at):
        return np.zeros(grown.shape[1:])
    times = np.clip(at, *load)
    last = np.r_[times[1:] > times[:-1], True]
    times, rows = times[last], grown[last].reshape(int(last.sum()), -1)
    ends = np.array([np.interp(span, times, column) for column in rows.T]).reshape(-1, 2)
    return np.asarray(ends[:, 1] - ends[:, 0]).reshape(grown.shape[1:])


class _Histogram:
    def __init__(self, scraped: Scraped, name: Name) -> None:
        self._at, self._bucketed = scraped.at, scraped.bucketed
        self.sum = _sum(_each(scraped, name, SUM), len(scraped.at))
        self.count = _sum(_each(scraped, name, COUNT), len(scraped.at))
        buckets: dict[float, Array] = {}
        for (raw, labels), values in scraped.series.items():
            if raw == name.name + BUCKET and "le" in dict(labels):
                bound = float(dict(labels)["le"])
                buckets[bound] = buckets.get(bound, np.zeros(len(values))) + grown(values)
        self._bounds = tuple(sorted(buckets))
        self._below = np.array([buckets[bound] for bound in self._bounds]).reshape(len(buckets), -1).T

    def within(self, load: Span, span: Span) -> Timed:
        count, total = (float(between(self._at, grown, load, span)) for grown in (self.count, self.sum))
        below = between(self._bucketed, self._below, load, span) if self._bounds else np.empty(0)
        return Timed(count, total, self._bounds, below)


def _each(scraped: Scraped, name: Name, suffix: str = "") -> Iterator[Array]:
    """The series under a name, whatever their other labels."""
    wanted = set(name.labels)
    return (
        values for (raw, labels), values in scraped.series.items() if raw == name.name + suffix and wanted <= {*labels}
    )


def _sum(series: Iterable[Array], looks: int) -> Array:
    total: Array = np.sum([np.zeros(looks), *map(grown, series)], axis=0)
    return total


def _together(series: Sequence[Array], figure: Figure, looks: int) -> Array:
    if not series:
        return np.full(looks, np.nan)
    values = np.array(series)
    if figure.together == "max":
        return np.asarray(np.fmax.reduce(values), dtype=np.float64)
    there = (~np.isnan(values)).sum(axis=0)
    total = np.where(there > 0, np.nansum(values, axis=0), np.nan)
    return _over(total, there.astype(np.float64)) if figure.together == "mean" else total


def _over(values: Array, by: Array) -> Array:
    return np.divide(values, by, out=np.full_like(values, np.nan), where=by > 0)
