"""Values that a server gave from time to time, as arrays, and what they come to over a stretch of the run. Pure numpy.

Counters and histograms are taken as what they grew by; one that falls began anew (the server was restarted), and what
it shows then is growth. Between two looks growth is spread evenly over the part in which the run was under way, so that
what came between the last look before the run and its beginning was no time at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loadstone.server_metrics.histograms import HistogramGrowth
from loadstone.server_metrics.names import (
    RATIOS,
    SUFFIXES,
    Labels,
    SeriesKey,
    SeriesName,
    ServerMetric,
    match_series,
    server_metric,
)
from loadstone.stats.describe import describe
from loadstone.summary import Metric
from loadstone.units import Array

# Seconds of the run.
Span = tuple[float, float]
UP, BUCKET, SUM, COUNT = "up", *SUFFIXES


class SourceRows:
    """Rows of server.csv of one source, as they come."""

    def __init__(self) -> None:
        self.answered: list[float] = []
        self.missed: list[float] = []
        self.changes: dict[SeriesKey, tuple[list[float], list[float]]] = {}

    def add(self, key: SeriesKey, at: float, value: float) -> None:
        if key == (UP, ()):
            (self.answered if value else self.missed).append(at)
            return
        times, values = self.changes.setdefault(key, ([], []))
        times.append(at)
        values.append(value)


@dataclass(slots=True)
class ScrapedSource:
    """The series of one source.

    source: its address.
    times: seconds of the run at which it answered.
    missed_times: seconds of the run at which it did not.
    bucket_times: those of `times` at which all buckets were written.
    series: one value for each of `times` (buckets: `bucket_times`), NaN before the series first appeared.
    """

    source: str
    times: Array
    missed_times: Array
    bucket_times: Array
    series: dict[SeriesKey, Array]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.series}


def build_source(source: str, rows: SourceRows) -> ScrapedSource:
    at = np.array(rows.answered)
    written = {time for (name, _), (times, _) in rows.changes.items() if name.endswith(BUCKET) for time in times}
    bucketed = np.array(sorted(written))
    series = {
        key: _held(bucketed if key[0].endswith(BUCKET) else at, *changes) for key, changes in rows.changes.items()
    }
    return ScrapedSource(source, at, np.array(rows.missed), bucketed, series)


def _held(at: Array, times: list[float], values: list[float]) -> Array:
    """A value holds until the next; NaN before the first."""
    places = np.searchsorted(times, at, "right")
    held: Array = np.r_[np.nan, values][places]
    return held


def counter_growth(values: Array) -> Array:
    """What a counter has grown by since the first look. One that was not there yet stood at 0; one that falls began
    anew at 0 (as Prometheus' own `increase` has it)."""
    values = np.nan_to_num(values)
    steps = np.diff(values, prepend=values[:1])
    return np.cumsum(np.where(steps < 0, values, steps))


def count_resets(scraped: ScrapedSource) -> int:
    """Looks at which a counter of requests or tokens had fallen."""
    counters = [name for ours, name in match_series(scraped.names).items() if server_metric(ours).kind == "counter"]
    fallen = [np.diff(values) < 0 for name in counters for values in _each(scraped, name)]
    return int(np.logical_or.reduce(fallen).sum()) if fallen else 0


class SourceMetrics:
    """A source by our names: `gauges` as they stood at each look; `counts` and `histograms` over a stretch."""

    def __init__(self, scraped: ScrapedSource, load: Span, also: str | None = None) -> None:
        """`load`: from the first request that was sent to the end of the last. `also`: a pattern of names that are
        shown as the server has them."""
        self.scraped, self._load = scraped, load
        self.names = match_series(scraped.names, also)
        looks = len(scraped.times)
        self.gauges = {
            ours: _together(list(_each(scraped, name)), server_metric(ours), looks) * name.scale
            for ours, name in self._of("gauge")
        }
        self._counters = {ours: _sum(_each(scraped, name), looks) for ours, name in self._of("counter")}
        self._times = {ours: _Histogram(scraped, name) for ours, name in self._of("times")}

    def _of(self, kind: str) -> Iterator[tuple[str, SeriesName]]:
        return ((ours, name) for ours, name in self.names.items() if server_metric(ours).kind == kind)

    def gauge(self, ours: str, span: Span) -> Metric:
        """Of the looks in the stretch."""
        inside = (self.scraped.times >= span[0]) & (self.scraped.times <= span[1])
        return describe(self.gauges[ours][inside], server_metric(ours).unit)

    def counts(self, span: Span) -> dict[str, float]:
        """What counters grew by."""
        at = self.scraped.times
        return {ours: float(growth_between(at, values, self._load, span)) for ours, values in self._counters.items()}

    def histograms(self, span: Span) -> dict[str, HistogramGrowth]:
        return {ours: histogram.within(self._load, span) for ours, histogram in self._times.items()}

    def series(self) -> Iterator[tuple[str, Array, Array]]:
        """For charts, with instants: gauges as they stood, counters a second, ratios and means of times from each look
        to the next."""
        at, steps = self.scraped.times, {ours: np.diff(values) for ours, values in self._counters.items()}
        yield from ((ours, at, values) for ours, values in self.gauges.items())
        yield from ((ours, at[1:], _over(step, np.diff(at))) for ours, step in steps.items())
        for ours, (part, whole) in RATIOS.items():
            if part in steps and whole in steps:
                yield ours, at[1:], _over(steps[part], steps[whole])
        for ours, histogram in self._times.items():
            yield ours, at[1:], _over(np.diff(histogram.sum), np.diff(histogram.count))


def chart_series(
    sources: Sequence[ScrapedSource], also: str | None = None
) -> dict[str, tuple[list[float], list[float]]]:
    """For charts: instants (s of the run) and values by our names, of several sources with their addresses. Counters
    are a second; instants at which there is no value are left out, but for one NaN where looks had no answer."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for one in sources:
        for ours, at, values in SourceMetrics(one, (0.0, 0.0), also).series():
            known = ~np.isnan(values)
            name = f"{ours} ({one.source})" if len(sources) > 1 else ours
            if known.any():
                found[name] = _broken(at[known], values[known], one.missed_times)
    return found


def _broken(at: Array, values: Array, missed: Array) -> tuple[list[float], list[float]]:
    """With a NaN in each stretch in which nothing was seen: nobody knows how things went there."""
    places = np.searchsorted(at, missed)
    places, first = np.unique(places, return_index=True)
    inside = (places > 0) & (places < len(at))
    places, when = places[inside], missed[first[inside]] if len(missed) else missed
    return np.insert(at, places, when).tolist(), np.insert(values, places, np.nan).tolist()


def growth_between(at: Array, grown: Array, load: Span, span: Span) -> Array:
    """What something grew by in the stretch; `grown` has a row for each look."""
    if not len(at):
        return np.zeros(grown.shape[1:])
    times = np.clip(at, *load)
    last = np.r_[times[1:] > times[:-1], True]
    times, rows = times[last], grown[last].reshape(int(last.sum()), -1)
    ends = np.array([np.interp(span, times, column) for column in rows.T]).reshape(-1, 2)
    return np.asarray(ends[:, 1] - ends[:, 0]).reshape(grown.shape[1:])


class _Histogram:
    def __init__(self, scraped: ScrapedSource, name: SeriesName) -> None:
        self._at, self._bucketed = scraped.times, scraped.bucket_times
        self.sum = _sum(_each(scraped, name, SUM), len(scraped.times))
        self.count = _sum(_each(scraped, name, COUNT), len(scraped.times))
        buckets: dict[float, Array] = {}
        for (raw, labels), values in scraped.series.items():
            if raw == name.name + BUCKET and (bound := _bound(labels)) is not None:
                buckets[bound] = buckets.get(bound, np.zeros(len(values))) + counter_growth(values)
        self._bounds = tuple(sorted(buckets))
        self._below = np.array([buckets[bound] for bound in self._bounds]).reshape(len(buckets), len(self._bucketed)).T

    def within(self, load: Span, span: Span) -> HistogramGrowth:
        count, total = (float(growth_between(self._at, grown, load, span)) for grown in (self.count, self.sum))
        below = growth_between(self._bucketed, self._below, load, span) if self._bounds else np.empty(0)
        return HistogramGrowth(count, total, self._bounds, below)


def _bound(labels: Labels) -> float | None:
    try:
        return float(dict(labels).get("le", ""))
    except ValueError:
        return None


def _each(scraped: ScrapedSource, name: SeriesName, suffix: str = "") -> Iterator[Array]:
    """The series under a name, whatever their other labels."""
    wanted = set(name.labels)
    return (
        values for (raw, labels), values in scraped.series.items() if raw == name.name + suffix and wanted <= {*labels}
    )


def _sum(series: Iterable[Array], looks: int) -> Array:
    total: Array = np.sum([np.zeros(looks), *map(counter_growth, series)], axis=0)
    return total


def _together(series: Sequence[Array], figure: ServerMetric, looks: int) -> Array:
    if not series:
        return np.full(looks, np.nan)
    values = np.array(series)
    if figure.combine == "max":
        return np.asarray(np.fmax.reduce(values), dtype=np.float64)
    there = (~np.isnan(values)).sum(axis=0)
    total = np.where(there > 0, np.nansum(values, axis=0), np.nan)
    return _over(total, there.astype(np.float64)) if figure.combine == "mean" else total


def _over(values: Array, by: Array) -> Array:
    return np.divide(values, by, out=np.full_like(values, np.nan), where=by > 0)
