"""Values that a server reported over time, as arrays, and what they come to in a window of the run. Pure numpy.

Counters and histograms count by their growth. One that falls was reset (the server restarted), and its value then is
growth. Between two scrapes growth is spread evenly over the part in which the run was under way: growth between the
last scrape before the run and the beginning of the run takes no time at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loadstone.server_metrics.histograms import HistogramGrowth
from loadstone.server_metrics.names import (
    RATIOS,
    SUFFIXES,
    SeriesKey,
    SeriesName,
    match_series,
    server_metric,
)
from loadstone.stats.describe import describe
from loadstone.summary import Metric
from loadstone.units import Array

# Start and end of a window, seconds of the run.
Span = tuple[float, float]
# Name of the series that is 1 for an answered scrape and 0 for another.
UP = "up"
# The rows of one source in server.csv: by series, the times (seconds of the run) and the values.
Rows = dict[SeriesKey, tuple[list[float], list[float]]]
BUCKET, SUM, COUNT = SUFFIXES


@dataclass(slots=True)
class ScrapedSource:
    """The series of one source.

    source: its address.
    times: seconds of the run at which it answered.
    missed_times: seconds of the run at which it did not.
    bucket_times: those of `times` at which all buckets were written.
    series: one value for each of `times` (buckets: `bucket_times`), NaN before the series first appeared.
    names: names of the series.
    """

    source: str
    times: Array
    missed_times: Array
    bucket_times: Array
    series: dict[SeriesKey, Array]
    names: set[str]


def build_source(source: str, rows: Rows) -> ScrapedSource:
    """Return the series of a source from its rows. A value holds until the next one."""
    scrapes = list(zip(*rows.get((UP, ()), ([], [])), strict=True))
    at = np.array([time for time, answered in scrapes if answered])
    missed = np.array([time for time, answered in scrapes if not answered])
    changes = {key: row for key, row in rows.items() if key != (UP, ())}
    bucket_times = np.array(
        sorted({time for (name, _), (times, _) in changes.items() if name.endswith(BUCKET) for time in times})
    )
    series: dict[SeriesKey, Array] = {}
    for key, (times, values) in changes.items():
        latest = np.searchsorted(times, bucket_times if key[0].endswith(BUCKET) else at, "right")
        series[key] = np.r_[np.nan, values][latest]
    return ScrapedSource(source, at, missed, bucket_times, series, {name for name, _ in series})


def counter_growth(values: Array) -> Array:
    """Return what a counter has grown by since the first scrape.

    A counter that was not there yet was 0. One that falls was reset to 0, as in Prometheus' `increase`.
    """
    values = np.nan_to_num(values)
    steps = np.diff(values, prepend=values[:1])
    return np.cumsum(np.where(steps < 0, values, steps))


def count_resets(source: ScrapedSource) -> int:
    """Count the scrapes at which a counter of requests or tokens had fallen."""
    counters = [name for metric, name in match_series(source.names).items() if server_metric(metric).kind == "counter"]
    fallen = [np.diff(values) < 0 for name in counters for values in _series_of(source, name)]
    return int(np.logical_or.reduce(fallen).sum()) if fallen else 0


class SourceMetrics:
    """The metrics of a source.

    names: the server's name of each metric.
    gauges: value of each gauge at each scrape.
    """

    def __init__(self, source: ScrapedSource, load: Span, extra: str | None = None) -> None:
        """Compute the metrics.

        load: from the first request sent to the end of the last.
        extra: pattern of series that are shown under the server's names.
        """
        self.source = source
        self._load = load
        self.names = match_series(source.names, extra)
        self.gauges: dict[str, Array] = {}
        self._counters: dict[str, Array] = {}
        self._histograms: dict[str, _Histogram] = {}
        scrapes = len(source.times)
        for metric, name in self.names.items():
            kind = server_metric(metric).kind
            if kind == "gauge":
                # Sum, mean or maximum over the label sets; NaN where none has a value.
                values = np.array([np.full(scrapes, np.nan), *_series_of(source, name)])
                known = (~np.isnan(values)).sum(axis=0)
                combined = np.where(known > 0, np.nansum(values, axis=0), np.nan)
                combine = server_metric(metric).combine
                if combine == "max":
                    combined = np.fmax.reduce(values)
                elif combine == "mean":
                    combined = _divide(combined, known.astype(np.float64))
                self.gauges[metric] = combined * name.scale
            elif kind == "counter":
                self._counters[metric] = _total_growth(_series_of(source, name), scrapes)
            else:
                self._histograms[metric] = _Histogram(source, name)

    def gauge(self, metric: str, span: Span) -> Metric:
        """Return the distribution of a gauge over the scrapes in a window."""
        inside = (self.source.times >= span[0]) & (self.source.times <= span[1])
        return describe(self.gauges[metric][inside], server_metric(metric).unit)

    def counts(self, span: Span) -> dict[str, float]:
        """Return the growth of each counter in a window."""
        at = self.source.times
        return {
            metric: float(growth_between(at, growth, self._load, span)) for metric, growth in self._counters.items()
        }

    def histograms(self, span: Span) -> dict[str, HistogramGrowth]:
        """Return the growth of each histogram in a window."""
        return {metric: histogram.within(self._load, span) for metric, histogram in self._histograms.items()}

    def series(self) -> Iterator[tuple[str, Array, Array]]:
        """Yield name, times and values of each series for charts.

        These are the gauges, the counters per second, and the ratios and mean times from each scrape to the next.
        """
        at = self.source.times
        steps = {metric: np.diff(growth) for metric, growth in self._counters.items()}
        for metric, values in self.gauges.items():
            yield metric, at, values
        for metric, step in steps.items():
            yield metric, at[1:], _divide(step, np.diff(at))
        for metric, (part, whole) in RATIOS.items():
            if part in steps and whole in steps:
                yield metric, at[1:], _divide(steps[part], steps[whole])
        for metric, histogram in self._histograms.items():
            yield metric, at[1:], _divide(np.diff(histogram.sum), np.diff(histogram.count))


def chart_series(
    sources: Sequence[ScrapedSource], extra: str | None = None
) -> dict[str, tuple[list[float], list[float]]]:
    """Return times (seconds of the run) and values by metric, for charts.

    sources: with several, the names have their addresses.
    extra: pattern of series that are shown under the server's names.

    Counters are per second. Times without a value are left out, except for one NaN where scrapes had no answer.
    """
    charts: dict[str, tuple[list[float], list[float]]] = {}
    for source in sources:
        for metric, at, values in SourceMetrics(source, (0.0, 0.0), extra).series():
            known = ~np.isnan(values)
            if not known.any():
                continue
            times = at[known]
            # A NaN wherever scrapes between two values had no answer.
            missed = source.missed_times
            indexes, first = np.unique(np.searchsorted(times, missed), return_index=True)
            inside = (indexes > 0) & (indexes < len(times))
            gaps = missed[first[inside]] if len(missed) else missed
            name = f"{metric} ({source.source})" if len(sources) > 1 else metric
            charts[name] = (
                np.insert(times, indexes[inside], gaps).tolist(),
                np.insert(values[known], indexes[inside], np.nan).tolist(),
            )
    return charts


def growth_between(at: Array, growth: Array, load: Span, span: Span) -> Array:
    """Return what something grew by in a window.

    at: times of the scrapes.
    growth: growth since the first scrape, a row for each scrape.
    load: from the first request sent to the end of the last.
    span: the window.
    """
    if not len(at):
        return np.zeros(growth.shape[1:])
    times = np.clip(at, *load)
    last = np.r_[times[1:] > times[:-1], True]
    times, rows = times[last], growth[last].reshape(int(last.sum()), -1)
    ends = np.array([np.interp(span, times, column) for column in rows.T]).reshape(-1, 2)
    return np.asarray(ends[:, 1] - ends[:, 0]).reshape(growth.shape[1:])


class _Histogram:
    """A histogram: the growth of its sum, its count and its buckets at each scrape, over all label sets."""

    def __init__(self, source: ScrapedSource, name: SeriesName) -> None:
        self._at = source.times
        self._bucket_times = source.bucket_times
        self.sum = _total_growth(_series_of(source, name, SUM), len(source.times))
        self.count = _total_growth(_series_of(source, name, COUNT), len(source.times))
        buckets: dict[float, Array] = {}
        for (series_name, labels), values in source.series.items():
            if series_name == name.name + BUCKET:
                try:
                    bound = float(dict(labels).get("le", ""))
                except ValueError:
                    continue
                buckets[bound] = buckets.get(bound, np.zeros(len(values))) + counter_growth(values)
        self._bounds = tuple(sorted(buckets))
        below = np.array([buckets[bound] for bound in self._bounds])
        self._below = below.reshape(len(buckets), len(self._bucket_times)).T

    def within(self, load: Span, span: Span) -> HistogramGrowth:
        """Return the growth in a window."""
        count = float(growth_between(self._at, self.count, load, span))
        total = float(growth_between(self._at, self.sum, load, span))
        below = growth_between(self._bucket_times, self._below, load, span) if self._bounds else np.empty(0)
        return HistogramGrowth(count, total, self._bounds, below)


def _series_of(source: ScrapedSource, name: SeriesName, suffix: str = "") -> Iterator[Array]:
    """Yield the series of a name, whatever other labels they have."""
    required = set(name.labels)
    for (series_name, labels), values in source.series.items():
        if series_name == name.name + suffix and required <= {*labels}:
            yield values


def _total_growth(series: Iterable[Array], scrapes: int) -> Array:
    total: Array = np.sum([np.zeros(scrapes), *map(counter_growth, series)], axis=0)
    return total


def _divide(values: Array, by: Array) -> Array:
    """Return the quotients; NaN where `by` is not positive."""
    return np.divide(values, by, out=np.full_like(values, np.nan), where=by > 0)
