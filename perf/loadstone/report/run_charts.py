"""Charts of a whole run: distributions, throughput over time, gaps, and metrics of the server.

Charts of single requests are in request_charts.py. Distributions are in ms, charts over time in seconds since the run
began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loadstone.metrics.chart_data import ChartData, Curve
from loadstone.report.page import Axis, Band, Chart, Mark, Role, Series
from loadstone.report.run_tables import LABELS, number
from loadstone.server_metrics.names import server_metric
from loadstone.summary import Summary
from loadstone.units import Array

Times = Mapping[str, tuple[Sequence[float], Sequence[float | None]]]
# The group of charts along the run.
TIME = "time"
MS = 1e3
_MARKS = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
# If the highest value is this many times the median, the axis is logarithmic.
_SPREAD = 20.0
# Such an axis begins this factor below the median.
_BELOW = 100.0
_UNITS = {"share": ("%", 100.0), "s": ("ms, mean", 1e3), "bytes": ("GiB", 2.0**-30)}
_RATIOS = {"prefix_hit_rate": "prefix cache hits", "acceptance": "drafts accepted"}


def distributions(summary: Summary, traces: ChartData) -> list[Chart]:
    return [_ecdf(summary, name, curve) for name, curve in traces.curves.items()]


def _ecdf(summary: Summary, name: str, curve: Curve) -> Chart:
    metric, title = summary.metrics[name], LABELS[name]
    wide = metric.max is not None and bool(metric.p50) and metric.max > _SPREAD * (metric.p50 or 0.0)
    marks = [
        Mark(value * MS, label) for field, label in _MARKS.items() if (value := getattr(metric, field)) is not None
    ]
    limit = (summary.run.config.goodput).get(name)
    if limit is not None:
        marks.append(Mark(limit * MS, "SLO"))
    low = _least(curve) if wide else 0.0
    extremes = f"lowest {number(metric.min, 's')} ms, highest {number(metric.max, 's')} ms"
    hidden = f"; values below {number(low, 's')} ms are left of the chart"
    return Chart(
        title=f"{title[0].upper()}{title[1:]}",
        x=Axis(title, "ms", wide, *_ends(curve, wide, marks)),
        y=Axis("fraction at or below", "%", low=0.0, high=102.0),
        series=[
            Series(title, [*curve.values * MS], [*curve.fractions * 1e2], kind="line" if name == "gap" else "step")
        ],
        marks=marks,
        note=f"{curve.n:,} {'gaps' if name == 'gap' else 'successful requests'} of the whole run; {extremes}"
        + (hidden if curve.values[0] < low else ""),
        half=True,
    )


def _ends(curve: Curve, wide: bool, marks: Sequence[Mark]) -> tuple[float, float]:
    """Return the ends of an axis: all values with room for labels. Marks far beyond stay outside."""
    low, high = (_least(curve) if wide else float(curve.values[0])) * MS, float(curve.values[-1]) * MS
    high = max([high, *(mark.at for mark in marks if mark.at < 1.5 * high)])
    if wide:
        return low / 1.1, high * (high / low) ** 0.1
    return max(0.0, low - 0.04 * (high - low)), high + 0.12 * ((high - low) or high or 1.0)


def _least(curve: Curve) -> float:
    """Return where a logarithmic axis begins: few tiny values, such as gaps within a read, do not stretch it."""
    above = curve.values[curve.values > 0]
    return max(float(above[0]), float(np.interp(0.5, curve.fractions, curve.values)) / _BELOW)


def over_time(summary: Summary, traces: ChartData) -> list[Chart]:
    return [_throughput(summary, traces), _ended(summary, traces)]


def _throughput(summary: Summary, traces: ChartData) -> Chart:
    """Draw output tokens and concurrency; concurrency alone if tokens are unknown."""
    flow, edges = traces.timeline, traces.timeline.edges.tolist()
    level, flight = _from_zero("in flight", flow.in_flight), _steps(flow.in_flight)
    known = flow.tokens is not None
    tokens = [] if flow.tokens is None else [Series("output tokens", edges, _steps(flow.tokens), "step", "new")]
    why = (
        "Tokens count when they arrive; successful requests only."
        if known
        else "The number of output tokens is not known for all responses."
    )
    # A note on the shaded windows, as narrow ones have no room for their names.
    bands = windows(summary, traces)
    spans = ", ".join(f"{band.label} {band.start:,.4g} to {band.end:,.4g} s" for band in bands)
    shaded = f" Shaded: {spans}." if spans else ""
    return Chart(
        title="Throughput and requests in flight" if known else "Requests in flight",
        x=seconds(traces),
        y=level if flow.tokens is None else _from_zero("output tokens", flow.tokens, "tokens/s"),
        y2=level if known else None,
        series=[*tokens, Series("in flight", edges, flight, kind="step", role="base", right=known)],
        bands=bands,
        group=TIME,
        note=f"Means of {_slices(traces)}. {why}{shaded}",
    )


def _ended(summary: Summary, traces: ChartData) -> Chart:
    flow, edges = traces.timeline, traces.timeline.edges.tolist()
    failed = [Series("failed", edges, _steps(flow.failed), kind="step", role="bad")] if flow.failed.any() else []
    return Chart(
        title="Requests that ended",
        x=seconds(traces),
        y=_from_zero("requests", np.r_[flow.succeeded, flow.failed], "1/s"),
        series=[Series("succeeded", edges, _steps(flow.succeeded), kind="step", role="good"), *failed],
        bands=windows(summary, traces),
        group=TIME,
        height=260,
        note=f"In {_slices(traces)}.",
    )


def _slices(traces: ChartData) -> str:
    edges = traces.timeline.edges
    return f"{len(edges) - 1} slices of {number(edges[1] - edges[0], 's')} ms"


def seconds(traces: ChartData, what: str = "") -> Axis:
    """Return the time axis of all charts of the group."""
    low, high = float(traces.timeline.edges[0]), float(traces.timeline.edges[-1])
    room = 0.01 * (high - low)
    return Axis(f"{what}time since the run began", "s", low=low - room, high=high + room)


def _from_zero(title: str, values: Array, unit: str = "") -> Axis:
    """Return an axis from 0, with room for the names of windows."""
    return Axis(title, unit, low=0.0, high=1.15 * float(values.max()) or 1.0)


def _steps(values: Array) -> list[float]:
    """Return a step for each slice, the last one drawn to its end."""
    return [*values.tolist(), float(values[-1])]


def windows(summary: Summary, traces: ChartData) -> list[Band]:
    """Return the windows that are shaded in charts over time."""
    edges, steady = traces.timeline.edges, summary.steady
    bands = []
    if traces.has_warmup and traces.measure_start > edges[0]:
        bands.append(Band(float(edges[0]), traces.measure_start, "warm-up"))
    if steady is not None:
        bands.append(Band(steady.start, steady.end, "steady"))
    if traces.has_cooldown and traces.measure_end < edges[-1]:
        bands.append(Band(traces.measure_end, float(edges[-1]), "cool-down"))
    return bands


def gaps_by_position(traces: ChartData) -> Chart | None:
    """Draw gaps by position in the response. None if there are no gaps."""
    g = traces.gaps_by_position
    if not len(g.start):
        return None
    middle = [*(g.start + g.end) / 2]
    rows = zip(g.start, g.end, g.count, g.median, g.p95, g.largest, strict=True)
    texts = [
        f"events {first:,} to {last:,}, {count:,} gaps\n"
        f"median {number(median, 's')} ms\np95 {number(p95, 's')} ms\nmax {number(largest, 's')} ms"
        for first, last, count, median, p95, largest in rows
    ]
    lines: tuple[tuple[str, Role, Array], ...] = (
        ("max", "doubt", g.largest),
        ("p95", "base", g.p95),
        ("median", "new", g.median),
    )
    wide = bool(g.largest.max() > _SPREAD * max(float(g.median.max()), 1e-9))
    return Chart(
        title="Gaps by position in the response",
        x=Axis("output events before", low=0.0),
        y=Axis("gap", "ms", log=wide, low=None if wide else 0.0),
        series=[
            Series(name, middle, [value * MS for value in values], kind="linepoints", role=role, texts=texts)
            for name, role, values in lines
        ],
        note="Time between output events by how many came before, within 0.3 %; the maximum is exact.",
    )


def server(metrics: Times, summary: Summary, traces: ChartData) -> list[Chart]:
    """Draw the metrics of the servers on the time axis of the client's charts."""
    bands = windows(summary, traces)
    return [_of_server(name, *series, traces, bands) for name, series in metrics.items()]


def _of_server(
    name: str, times: Sequence[float], values: Sequence[float | None], traces: ChartData, bands: Sequence[Band]
) -> Chart:
    """Draw one metric. Its name may end with the server in brackets."""
    ours, _, source = name.partition(" (")
    # The unit of the axis and the factor to it. Counters are per second, times are means.
    what = server_metric(ours)
    unit, scale = ("%", 100.0) if ours in _RATIOS else _UNITS.get(what.unit, (what.unit, 1.0))
    if what.kind == "counter" and ours not in _RATIOS:
        unit = f"{unit}/s"
    known = [None if value is None else value * scale for value in values]
    label = _RATIOS.get(ours) or what.label
    return Chart(
        title=f"Server: {label}" + (f" ({source}" if source else ""),
        x=seconds(traces),
        y=_from_zero("", np.array([value for value in known if value is not None] or [0.0]), unit),
        series=[Series(label, times, known, role="new")],
        bands=bands,
        group=TIME,
        height=240,
        half=True,
    )
