"""The charts of a run: what traces.py has found, with titles, units, marks and the text that a pointer shows.

Times of distributions and requests are in ms, those along a run in seconds since it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from loadstone.columns import Array
from loadstone.finding import plain
from loadstone.records import Metric, Summary
from loadstone.traces import Curve, Shot, Traces
from loadstone.views.page import Axis, Band, Chart, Mark, Role, Series
from loadstone.views.tables import LABELS, number

Times = Mapping[str, tuple[Sequence[float], Sequence[float | None]]]
TIME = "time"
"""The group of charts along the run."""
_SECONDS, _MS = Axis("time since the run began", "s"), 1e3
_MARKS = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
_SPREAD = 20.0
"""From this many times the median on, the highest value calls for an axis in powers of ten."""
_STEPS: dict[str, Role] = {"wait": "muted", "connect": "doubt", "to first token": "new", "decode": "base"}


def distributions(summary: Summary, traces: Traces) -> list[Chart]:
    return [_ecdf(summary, name, curve) for name, curve in traces.curves.items()]


def _ecdf(summary: Summary, name: str, curve: Curve) -> Chart:
    metric, title = summary.metrics[name], LABELS[name]
    wide = metric.max is not None and bool(metric.p50) and metric.max > _SPREAD * (metric.p50 or 0.0)
    marks = [*_percentiles(metric), *_objective(summary, name)]
    hidden = "; gaps of 0, of events that came in one read, have no place on this axis" if metric.min == 0 else ""
    return Chart(
        title=f"{title[0].upper()}{title[1:]}",
        x=Axis(title, "ms", wide, *_ends(curve, wide, marks)),
        y=Axis("share at or below", "%", low=0.0, high=102.0),
        series=[Series(title, [*curve.values * _MS], [*curve.shares * 1e2], kind="line" if name == "gap" else "step")],
        marks=marks,
        note=f"{curve.n:,} {'gaps' if name == 'gap' else 'successful requests'} of the whole run; {_extremes(metric)}"
        + (hidden if wide else ""),
        half=True,
    )


def _ends(curve: Curve, wide: bool, marks: Sequence[Mark]) -> tuple[float, float]:
    """From the lowest to the highest, with room for labels; marks far beyond stay outside."""
    shown = curve.values[curve.values > 0] * _MS if wide else curve.values * _MS
    low, high = float(shown[0]), float(shown[-1])
    high = max([high, *(mark.at for mark in marks if mark.at < 1.5 * high)])
    if wide:
        return low / 1.1, high * (high / low) ** 0.1
    return max(0.0, low - 0.04 * (high - low)), high + 0.12 * ((high - low) or high or 1.0)


def _percentiles(metric: Metric) -> Iterator[Mark]:
    for field, name in _MARKS.items():
        if (value := getattr(metric, field)) is not None:
            yield Mark(value * _MS, name)


def _objective(summary: Summary, name: str) -> Iterator[Mark]:
    limit = ((summary.run.get("config") or {}).get("goodput") or {}).get(name)
    if limit is not None:
        yield Mark(limit * _MS, "objective")


def _extremes(metric: Metric) -> str:
    return f"lowest {number(metric.min, 's')} ms, highest {number(metric.max, 's')} ms"


def over_time(summary: Summary, traces: Traces) -> list[Chart]:
    flow, bands = traces.flow, _windows(summary, traces)
    edges: list[float] = flow.edges.tolist()
    slices = f"{len(edges) - 1} slices of {number(edges[1] - edges[0], 's')} ms"
    tokens = (
        [] if flow.tokens is None else [Series("output tokens", edges, _held(flow.tokens), kind="step", role="new")]
    )
    flight = Series("in flight", edges, _held(flow.in_flight), kind="step", role="base", right=bool(tokens))
    failed = [Series("failed", edges, _held(flow.failed), kind="step", role="bad")] if flow.failed.any() else []
    level = _upwards("in flight", flow.in_flight)
    return [
        Chart(
            title="Throughput and requests in flight" if tokens else "Requests in flight",
            x=_SECONDS,
            y=level if flow.tokens is None else _upwards("output tokens", flow.tokens, "tokens/s"),
            y2=level if tokens else None,
            series=[*tokens, flight],
            bands=bands,
            group=TIME,
            note=f"Means of {slices}. Tokens are booked when they arrive, those of successes alone."
            if tokens
            else f"Means of {slices}. How many tokens the answers held is not known for all of them.",
        ),
        Chart(
            title="Requests that ended",
            x=_SECONDS,
            y=_upwards("requests", np.r_[flow.succeeded, flow.failed], "1/s"),
            series=[Series("succeeded", edges, _held(flow.succeeded), kind="step", role="good"), *failed],
            bands=bands,
            group=TIME,
            height=260,
            note=f"In {slices}.",
        ),
    ]


def _upwards(title: str, values: Array, unit: str = "") -> Axis:
    """From 0, with room for the names of the windows."""
    return Axis(title, unit, low=0.0, high=1.15 * float(values.max()) or 1.0)


def _held(values: Array) -> list[float]:
    """A step for each slice, the last one drawn to its end."""
    return [*values.tolist(), float(values[-1])]


def _windows(summary: Summary, traces: Traces) -> list[Band]:
    edges, steady = traces.flow.edges, summary.steady
    bands = []
    if traces.warmed and traces.begins > edges[0]:
        bands.append(Band(float(edges[0]), traces.begins, "warm-up"))
    if steady is not None:
        bands.append(Band(steady.start, steady.end, "steady"))
    if traces.cooled and traces.ends < edges[-1]:
        bands.append(Band(traces.ends, float(edges[-1]), "cool-down"))
    return bands


def requests(summary: Summary, traces: Traces) -> Chart:
    """TTFT and latency by when a request was sent, failures by how long they had lasted."""
    answered, texts = traces.answered, [*map(told, traces.answered)]
    at = [shot.at for shot in answered]
    series = [
        Series("latency", at, [_ms(shot.lasted) for shot in answered], kind="points", role="base", texts=texts),
        Series("TTFT", at, [_ms(shot.ttft) for shot in answered], kind="points", role="new", texts=texts),
        *_failures(traces.failed),
    ]
    return Chart(
        title="Each request",
        x=Axis("sent, time since the run began", "s"),
        y=Axis("TTFT and latency", "ms", log=True),
        series=[part for part in series if any(y is not None for y in part.y)],
        bands=_windows(summary, traces),
        group=TIME,
        height=420,
        note=_shown(traces),
    )


def _failures(shots: Sequence[Shot]) -> Iterator[Series]:
    taken_back = ("stopped", "cancelled")
    parts: tuple[tuple[str, Role, list[Shot]], ...] = (
        ("failed", "bad", [shot for shot in shots if shot.error not in taken_back]),
        ("cut off or cancelled", "doubt", [shot for shot in shots if shot.error in taken_back]),
    )
    for name, role, mine in parts:
        lasted = [_ms(shot.lasted) for shot in mine]
        yield Series(name, [shot.at for shot in mine], lasted, kind="points", role=role, texts=[*map(told, mine)])


def _shown(traces: Traces) -> str:
    """How many of how many, and which."""
    parts = []
    for word, shots, count in (
        ("answered", traces.answered, traces.answers),
        ("failed", traces.failed, traces.failures),
    ):
        left = "" if len(shots) == count else ": the extremes of every slice of time, and others evenly between them"
        if count:
            parts.append(f"{len(shots):,} of {count:,} {word} requests are shown{left}.")
    return " ".join(parts) + (" Failures stand at the time until they had failed." if traces.failures else "")


def told(shot: Shot) -> str:
    """One request, a few lines."""
    prompt = f", prompt {plain(shot.prompt, 60)}" if shot.prompt else ""
    phase = {"measure": "", "warmup": ", warm-up", "cooldown": ", cool-down"}[shot.phase]
    times = [f"TTFT {number(shot.ttft, 's')} ms"] if shot.ttft is not None else []
    times.append(f"{'failed after' if shot.error else 'latency'} {number(shot.lasted, 's')} ms")
    tokens = f"{_count(shot.input_tokens)} tokens in, {_count(shot.output_tokens)} out"
    end = f"{shot.error}, HTTP {shot.status}" if shot.error and shot.status else shot.error or tokens
    return f"request {shot.index}{prompt}{phase}\nsent at {shot.at:.3f} s\n{', '.join(times)}\n{end}"


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else f"{tokens:,}"


def _ms(seconds: float | None) -> float | None:
    """Not positive: has no place on the axis."""
    return None if seconds is None or seconds <= 0 else seconds * _MS


def waterfall(traces: Traces) -> Chart:
    """Slowest on top. Each begins when the plan wanted it sent."""
    shots = traces.slowest[::-1]
    steps = {name: [_steps(shot)[name] for shot in shots] for name in _STEPS}
    names = [f"request {shot.index}" for shot in shots]
    series = []
    for name, spans in steps.items():
        there = [(row, shot, span) for row, shot, span in zip(names, shots, spans, strict=True) if span[1] > span[0]]
        starts, ends = [span[0] for _, _, span in there], [span[1] for _, _, span in there]
        rows, texts = [row for row, _, _ in there], [f"{name}: {_long(span)}\n{told(shot)}" for _, shot, span in there]
        series.append(Series(name, starts, rows, "spans", _STEPS[name], texts=texts, ends=ends))
    return Chart(
        title=f"The {len(shots)} slowest requests",
        x=Axis("time since it was wanted", "ms", low=0.0),
        y=Axis(""),
        series=[part for part in series if part.x],
        height=90 + 17 * len(shots),
        note="Successful, measured requests with the highest latency. Wait: from when the plan wanted it sent.",
    )


def _steps(shot: Shot) -> dict[str, tuple[float, float]]:
    """From when it was wanted, ms. An answer that was not streamed is all `to first token`."""
    wait, connect = (shot.wait or 0.0) * _MS, (shot.connect or 0.0) * _MS
    connected = max(0.0, wait - connect)
    end = wait + shot.lasted * _MS
    first = end if shot.ttft is None else wait + shot.ttft * _MS
    ends = (connected, wait, first, end)
    return dict(zip(_STEPS, zip((0.0, *ends[:-1]), ends, strict=True), strict=True))


def _long(span: tuple[float, float]) -> str:
    return f"{number((span[1] - span[0]) / _MS, 's')} ms"


def growth(traces: Traces) -> Chart | None:
    """Gaps by the place in the answer."""
    g = traces.growth
    if not len(g.start):
        return None
    middle = [*(g.start + g.end) / 2]
    rows = zip(g.start, g.end, g.count, g.median, g.p95, g.largest, strict=True)
    texts = [f"events {first:,} to {last:,}, {count:,} gaps\n{_three(*times)}" for first, last, count, *times in rows]
    lines: tuple[tuple[str, Role, Array], ...] = (
        ("max", "doubt", g.largest),
        ("p95", "base", g.p95),
        ("median", "new", g.median),
    )
    wide = bool(g.largest.max() > _SPREAD * max(float(g.median.max()), 1e-9))
    return Chart(
        title="Gaps over the answer",
        x=Axis("output events before", low=0.0),
        y=Axis("gap", "ms", log=wide, low=None if wide else 0.0),
        series=[
            Series(name, middle, [value * _MS for value in values], kind="linepoints", role=role, texts=texts)
            for name, role, values in lines
        ],
        note="Time between output events by how many came before, within 0.3 %; the maximum is exact.",
    )


def _three(median: float, p95: float, largest: float) -> str:
    return f"median {number(median, 's')} ms\np95 {number(p95, 's')} ms\nmax {number(largest, 's')} ms"


def server(metrics: Times, summary: Summary, traces: Traces) -> list[Chart]:
    """What the server told of itself, on the time of the client's charts."""
    bands = _windows(summary, traces)
    return [
        Chart(
            title=name,
            x=_SECONDS,
            y=Axis(""),
            series=[Series(name, times, values)],
            bands=bands,
            group=TIME,
            height=240,
            half=True,
        )
        for name, (times, values) in metrics.items()
    ]
