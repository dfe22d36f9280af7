"""The report of a sweep: a summary, every point, latency against throughput, the Pareto front.

Pure. A point with several runs shows their mean and the interval between runs, a point with one run that run's
interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import stdev
from typing import Any

from loadstone.checks.finding import one_line
from loadstone.config.schema import Config, flag
from loadstone.metrics.slo import Estimate
from loadstone.report.page import Axis, Chart, Page, Prose, Section, Series, Table, Tone
from loadstone.stats.distributions import student_t
from loadstone.summary import Summary
from loadstone.sweep import slo_search_page
from loadstone.sweep.grid import describe, format_value
from loadstone.sweep.pareto import ParetoPoint, mean, pareto_front, pareto_point
from loadstone.sweep.points import MeasuredPoint, Sweep, rates_under_load
from loadstone.sweep.slo_search import SearchResult

LOADS = ("concurrency", "rate")
FIGURES = ((("ttft", "p50"), "TTFT p50"), (("ttft", "p99"), "TTFT p99"), (("tpot", "p50"), "TPOT p50"),
           (("latency", "p50"), "latency p50"), (("latency", "p99"), "latency p99"))  # fmt: skip
CURVES = (("ttft", "TTFT"), ("tpot", "TPOT"), ("latency", "latency"))
# Settings that are shown even if they have their default.
_ALWAYS = ("dataset", "api", "seed")
# Runs of a point from which on an interval between runs is shown.
FEW = 3
# Points named in a note; of more, their number.
_NAMED = 3


def page(sweep: Sweep, result: SearchResult | None = None) -> Page:
    """Return a sweep as a page. `result`: of a search for objectives, which then comes first."""
    title = one_line(f"Sweep {sweep.grid.label}").strip()
    searches = list(slo_search_page.sections(result)) if result else []
    sections = [*searches, Section("Points", [table(sweep), *_notes(sweep)]), *_charts(sweep), _settings(sweep)]
    return Page(title, slo_search_page.lead(result) if result else lead(sweep), sections)


def lead(sweep: Sweep) -> Prose:
    """Return the summary of a sweep over a grid."""
    measured = [point for point in sweep.points if point.runs]
    failed = [point for point in sweep.points if point.failed]
    missing = [point for point in sweep.points if not point.runs and not point.failed]
    parts = [f"{len(measured)} points"]
    if failed or missing:
        parts = [f"{len(measured)} of {len(sweep.points)} points were run"]
    outputs = [(output, point) for point in measured if (output := _rate(point, "output_throughput")) is not None]
    if outputs:
        output, point = max(outputs, key=lambda pair: pair[0])
        parts.append(f"the highest output is {output:,.0f} tokens/s at {describe(point.settings)}")
    if failed:
        parts.append(f"{len(failed)} could not be run")

    tone: Tone = "plain" if all(worst_verdict(point.runs) == "valid" for point in sweep.points) else "doubt"
    if failed or not measured:
        tone = "bad"
    return Prose(f"{'; '.join(parts)}. {sweep.grid.note}".strip(), tone)


def table(sweep: Sweep) -> Table:
    """Return the table with a row for each point."""
    best = {one.name for one in pareto_front(pareto_points(sweep))}
    rows = []
    for point, pareto in zip(sweep.points, pareto_points(sweep), strict=True):
        name, errors = describe(point.settings), _rate(point, "error_rate")
        if not point.runs:
            reason = f"failed: {one_line(point.failed, 100)}" if point.failed else "not run"
            rows.append([name, *["-"] * (len(FIGURES) + 5), reason])
            continue
        rows.append(
            [
                name,
                _number(_rate(point, "qps")),
                _number(pareto.total),
                _number(pareto.per_user),
                *(_time(figure(point, *path)) for path, _ in FIGURES),
                "-" if errors is None else f"{errors:.2%}",
                "yes" if point.name in best else "",
                worst_verdict(point.runs),
            ]
        )
    gpus = "tokens/s per GPU" if sweep.grid.gpus else "tokens/s"
    columns = ["point", "QPS", gpus, "tokens/s per user", *(name for _, name in FIGURES), "errors", "Pareto", "check"]
    note = "check: the worst verdict of a point's runs; Pareto: no other point has more per user and more in total;"
    note += " rates: of the steady window where the load is a number in flight, else of the whole run"
    return Table("Points", columns, rows, note, numeric=True)


def pareto_points(sweep: Sweep) -> list[ParetoPoint]:
    """Return the two throughputs of every point."""
    return [pareto_point(point, sweep.grid.gpus) for point in sweep.points]


def figure(point: MeasuredPoint, metric: str, stat: str) -> Estimate | None:
    """Return a statistic of a metric, in its unit; None where a run lacks it."""
    metrics = [run.metrics.get(metric) for run in point.runs]
    values = [getattr(one, stat) if one else None for one in metrics]
    middle = mean(values)
    if middle is None:
        return None
    if len(metrics) == 1 and metrics[0]:
        return Estimate(middle, *(metrics[0].ci95.get(stat) or (None, None)))
    if len(values) < FEW:
        return Estimate(middle)
    half = student_t(0.975, len(values) - 1) * stdev(value or 0.0 for value in values) / math.sqrt(len(values))
    return Estimate(middle, middle - half, middle + half)


def worst_verdict(runs: Sequence[Summary]) -> str:
    """Return the worst verdict of several runs."""
    statuses = [run.verdict.status for run in runs if run.verdict]
    return max(statuses, key=("valid", "suspect", "invalid").index, default="-")


def run_line(summary: Summary) -> str:
    """Return a run in one line, for the log."""
    rates, ttft = rates_under_load(summary), summary.metrics.get("ttft")
    waits = ""
    if ttft:
        p50, p99 = (None if value is None else Estimate(value) for value in (ttft.p50, ttft.p99))
        waits = f", TTFT p50 {_time(p50)} p99 {_time(p99)}"
    failed = f", {summary.counts.failed} failed" if summary.counts.failed else ""
    output = f"{_number(rates.get('qps'))} QPS, {_number(rates.get('output_throughput'))} tokens/s"
    return f"{output}{waits}{failed}, {worst_verdict([summary])}"


def _notes(sweep: Sweep) -> Iterator[Prose]:
    """Yield the doubts, each once with its points, and a note where prompts were used more than once."""
    doubts: dict[str, list[str]] = {}
    repeating = []
    for point in sweep.points:
        for what in dict.fromkeys(d.what for run in point.runs if run.verdict for d in run.verdict.doubts):
            doubts.setdefault(what, []).append(describe(point.settings))
        if any(run.run.schedule.repeats for run in point.runs):
            repeating.append(describe(point.settings))
    if doubts:
        text = "; ".join(f"{what} ({_some(names)})" for what, names in doubts.items())
        yield Prose(f"Doubts: {text}. loadstone check explains those of a point's folder.", "doubt")
    if repeating:
        yield Prose(
            f"The dataset is too small for different prompts at every point: they repeat at {_some(repeating)},"
            " and a prefix cache may have helped there.",
            "doubt",
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _charts(sweep: Sweep) -> Iterator[Section]:
    if not any(point.runs for point in sweep.points):
        return
    load = _load(sweep)
    lines = _lines(sweep, load)
    curves = [_curve(lines, metric, label) for metric, label in CURVES]
    yield Section("Latency against throughput", [curve for curve in curves if curve.series])
    yield Section("Throughput per user against total throughput", [_pareto(sweep, lines)])
    if load:
        yield Section("Over the load", list(_over_load(lines, load)))


def _lines(sweep: Sweep, load: str | None) -> dict[str, list[MeasuredPoint]]:
    """Return the points of each line: they differ in the load alone. Points without runs are on none."""
    lines = dict[str, list[MeasuredPoint]]()
    for point in sweep.points:
        rest = {name: value for name, value in point.settings.items() if name != load}
        if point.runs:
            lines.setdefault(describe(rest) if rest else "all points", []).append(point)
    if load:
        for points in lines.values():
            points.sort(key=lambda point: point.settings[load])
    return lines


def _load(sweep: Sweep) -> str | None:
    """Return the field along which a line runs: a load, else the first varied setting with numbers."""
    numbers = []
    for name in sweep.grid.varied:
        values: list[Any] = [point.settings.get(name) for point in sweep.points]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            numbers.append(name)
    return next((name for name in (*LOADS, *numbers) if name in numbers), None)


def _curve(lines: dict[str, list[MeasuredPoint]], metric: str, label: str) -> Chart:
    """Return a chart with the throughput along x, as is usual for load tests: at the knee the line turns up."""
    series = []
    for name, points in lines.items():
        prefix = f"{name}, " if len(lines) > 1 else ""
        for percent in (50, 99):
            series.append(_series(f"{prefix}p{percent}", points, metric, f"p{percent}", percent == 99))
    series = [one for one in series if _has_values(one)]
    return Chart(
        title=f"{label[0].upper()}{label[1:]} against throughput",
        x=Axis("output throughput", "tokens/s", low=0),
        # A single line has no legend with its name.
        y=Axis(f"{label} {series[0].name}" if len(series) == 1 else label, "ms", log=True),
        series=series,
    )


def _has_values(series: Series) -> bool:
    """Return True if there is anything to draw: a small run has no p99."""
    return any(y is not None for y in series.y)


def _series(name: str, points: list[MeasuredPoint], metric: str, stat: str, dashed: bool, load: str = "") -> Series:
    """Return a statistic of the points over their output throughput, or over the field `load`."""
    figures = [figure(point, metric, stat) for point in points]
    x = [float(p.settings[load]) if load else _rate(p, "output_throughput") or math.nan for p in points]
    return Series(
        name,
        x,
        [_ms(one.value if one else None) for one in figures],
        "linepoints",
        low=[_ms(one.low if one else None) for one in figures],
        high=[_ms(one.high if one else None) for one in figures],
        texts=[describe(point.settings) for point in points],
        dashed=dashed,
    )


def _pareto(sweep: Sweep, lines: dict[str, list[MeasuredPoint]]) -> Chart:
    by_name = {one.name: one for one in pareto_points(sweep)}
    labels = {point.name: describe(point.settings) for point in sweep.points}
    series = []
    for name, points in lines.items():
        known = [one for point in points if (one := by_name[point.name]).per_user is not None]
        x, y = [one.per_user or 0.0 for one in known], [one.total for one in known]
        series.append(Series(name, x, y, "points", texts=[labels[one.name] for one in known]))
    front = pareto_front(list(by_name.values()))
    x, y = [one.per_user or 0.0 for one in front], [one.total for one in front]
    series.append(Series("Pareto front", x, y, "line", "good", texts=[labels[one.name] for one in front]))
    return Chart(
        title="Pareto front",
        x=Axis("output of one user", "tokens/s", low=0),
        y=Axis("total output", "tokens/s per GPU" if sweep.grid.gpus else "tokens/s", low=0),
        series=series,
        note="per user: 1 over the median TPOT. Up and to the right is better; no point beats those on the line.",
    )


def _over_load(lines: dict[str, list[MeasuredPoint]], load: str) -> Iterator[Chart]:
    x = Axis(flag(load), "1/s" if load == "rate" else "", log=load in LOADS)
    outputs = [
        Series(
            name,
            [float(point.settings[load]) for point in points],
            [_rate(point, "output_throughput") for point in points],
            "linepoints",
            texts=[describe(point.settings) for point in points],
        )
        for name, points in lines.items()
    ]
    yield Chart(title="Output throughput", x=x, y=Axis("output", "tokens/s", low=0), series=outputs, group="load")
    waits = [_series(name, points, "ttft", "p99", False, load) for name, points in lines.items()]
    waits = [one for one in waits if _has_values(one)]
    if waits:
        yield Chart(title="TTFT p99", x=x, y=Axis("TTFT p99", "ms", log=True), series=waits, group="load")


def _settings(sweep: Sweep) -> Section:
    default = Config().redacted()
    rows = []
    for name in sweep.grid.varied:
        values = dict.fromkeys(format_value(point.settings.get(name)) for point in sweep.points)
        rows.append([f"{flag(name)} (varied)", ", ".join(values)])
    if sweep.grid.gpus:
        rows.append(["gpus", format_value(sweep.grid.gpus)])
    for name, value in sweep.grid.config.items():
        if name in _ALWAYS or value != default.get(name):
            rows.append([flag(name), format_value(value)])
    return Section("Settings", [Table("Settings", ["setting", "value"], rows)], folded=True)


def _rate(point: MeasuredPoint, name: str) -> float | None:
    """Return the mean of a rate over the runs."""
    return mean([rates_under_load(run).get(name) for run in point.runs])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if value >= 100 else f"{value:.4g}"


def _time(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value * 1e3:,.4g} ms"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
