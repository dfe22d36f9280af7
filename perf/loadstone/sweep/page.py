"""The report of a sweep, as a page: what it comes to, every point, latency against throughput, the Pareto front.

Pure. A point of several runs shows their mean, and the interval between runs; a point of one run that run's interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
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
# Settings that are told even where nobody gave them.
_ALWAYS = ("dataset", "api", "seed")
# Runs of a point from which their spread is told.
FEW = 3


def page(sweep: Sweep, found: SearchResult | None = None) -> Page:
    """`found`: by a search for objectives, which then comes first."""
    title = one_line(f"Sweep {sweep.grid.label}").strip()
    searched = list(slo_search_page.sections(found)) if found else []
    sections = [*searched, Section("Points", [table(sweep), *_notes(sweep)]), *_charts(sweep), _settings(sweep)]
    return Page(title, slo_search_page.lead(found) if found else lead(sweep), sections)


def lead(sweep: Sweep) -> Prose:
    """What it comes to."""
    run = [point for point in sweep.points if point.runs]
    failed, left = [p for p in sweep.points if p.failed], [p for p in sweep.points if not p.runs and not p.failed]
    said = [f"{len(run)} of {len(sweep.points)} points were run" if failed or left else f"{len(run)} points"]
    most = max((p for p in run if _value(p, "output_throughput") is not None), default=None,
               key=lambda p: _value(p, "output_throughput") or 0.0)  # fmt: skip
    if most is not None:
        said.append(
            f"the most output is {_value(most, 'output_throughput'):,.0f} tokens/s at {describe(most.settings)}"
        )
    if failed:
        said.append(f"{len(failed)} could not be run")
    return Prose(f"{'; '.join(said)}. {sweep.grid.note}".strip(), _tone(sweep))


def table(sweep: Sweep) -> Table:
    """A row a point."""
    best = {one.name for one in pareto_front(pareto_points(sweep))}
    gpus = "tokens/s per GPU" if sweep.grid.gpus else "tokens/s"
    columns = ["point", "QPS", gpus, "tokens/s per user", *(name for _, name in FIGURES), "errors", "Pareto", "check"]
    rows = [_row(point, one, point.name in best) for point, one in zip(sweep.points, pareto_points(sweep), strict=True)]
    note = "check: the worst verdict of a point's runs; Pareto: no other point has more for a user and more in all;"
    note += " rates: of the steady window where the load is a number in flight, else of the whole run"
    return Table("Points", columns, rows, note, numeric=True)


def pareto_points(sweep: Sweep) -> list[ParetoPoint]:
    return [pareto_point(point, sweep.grid.gpus) for point in sweep.points]


def figure(point: MeasuredPoint, metric: str, name: str) -> Estimate | None:
    """A figure of a distribution, in its unit; None where a run lacks it."""
    found = [run.metrics.get(metric) for run in point.runs]
    values = [getattr(one, name) if one else None for one in found]
    middle = mean(values)
    if middle is None:
        return None
    if len(found) == 1 and found[0]:
        return Estimate(middle, *(found[0].ci95.get(name) or (None, None)))
    if len(values) < FEW:
        return Estimate(middle)
    half = student_t(0.975, len(values) - 1) * stdev(value or 0.0 for value in values) / math.sqrt(len(values))
    return Estimate(middle, middle - half, middle + half)


def worst_verdict(runs: Sequence[Summary]) -> str:
    """The worst of several."""
    statuses = [run.verdict.status for run in runs if run.verdict]
    return max(statuses, key=("valid", "suspect", "invalid").index, default="-")


def run_line(summary: Summary) -> str:
    """A run of it in a line, for the log."""
    rates, ttft = rates_under_load(summary), summary.metrics.get("ttft")
    waits = f", TTFT p50 {_time(_plain(ttft.p50))} p99 {_time(_plain(ttft.p99))}" if ttft else ""
    failed = f", {summary.counts.failed} failed" if summary.counts.failed else ""
    output = f"{_number(rates.get('qps'))} QPS, {_number(rates.get('output_throughput'))} tokens/s"
    return f"{output}{waits}{failed}, {worst_verdict([summary])}"


def _plain(value: float | None) -> Estimate | None:
    return None if value is None else Estimate(value)


def _row(point: MeasuredPoint, one: ParetoPoint, best: bool) -> list[str]:
    name = describe(point.settings)
    if not point.runs:
        reason = f"failed: {one_line(point.failed, 100)}" if point.failed else "not run"
        return [name, *["-"] * (len(FIGURES) + 5), reason]
    errors = _value(point, "error_rate")
    return [
        name,
        _number(_value(point, "qps")),
        _number(one.total),
        _number(one.per_user),
        *(_time(figure(point, *path)) for path, _ in FIGURES),
        "-" if errors is None else f"{errors:.2%}",
        "yes" if best else "",
        worst_verdict(point.runs),
    ]


def _notes(sweep: Sweep) -> Iterator[Prose]:
    """Why points are doubted, each reason once; and where prompts were used again."""
    doubts: dict[str, list[str]] = {}
    for point in sweep.points:
        for what in dict.fromkeys(d.what for run in point.runs if run.verdict for d in run.verdict.doubts):
            doubts.setdefault(what, []).append(describe(point.settings))
    if doubts:
        told = "; ".join(f"{what} ({_some(names)})" for what, names in doubts.items())
        yield Prose(f"Doubts: {told}. loadstone check tells more of a point's folder.", "doubt")
    again = [
        describe(p.settings) for p in sweep.points if any((r.run.get("schedule") or {}).get("repeats") for r in p.runs)
    ]
    if again:
        yield Prose(
            f"The dataset is too small for prompts of their own at every point: they repeat at {_some(again)},"
            " and a prefix cache may have helped there.",
            "doubt",
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _charts(sweep: Sweep) -> Iterator[Section]:
    lines = _lines(sweep)
    if not any(point.runs for point in sweep.points):
        return
    curves = [_curve(lines, metric, label) for metric, label in CURVES]
    yield Section("Latency against throughput", [curve for curve in curves if curve.series])
    yield Section("A user's share against the whole", [_pareto(sweep, lines)])
    if load := _load(sweep):
        yield Section("Over the load", list(_over(lines, load)))


def _lines(sweep: Sweep) -> dict[str, list[MeasuredPoint]]:
    """The points that make a line: they differ in the load alone. Those without runs are on none."""
    load, found = _load(sweep), dict[str, list[MeasuredPoint]]()
    for point in sweep.points:
        rest = {name: value for name, value in point.settings.items() if name != load}
        if point.runs:
            found.setdefault(describe(rest) if rest else "all points", []).append(point)
    if load:
        for points in found.values():
            points.sort(key=lambda point: point.settings[load])
    return found


def _load(sweep: Sweep) -> str | None:
    """The field along which a line runs."""
    numbers = [name for name in sweep.grid.varied if all(_is_number(p.settings.get(name)) for p in sweep.points)]
    return next((name for name in (*LOADS, *numbers) if name in numbers), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curve(lines: dict[str, list[MeasuredPoint]], metric: str, label: str) -> Chart:
    """Throughput along x, as a load tester reads it: the knee is where the line turns up."""
    parts = [(f"{name}, " if len(lines) > 1 else "", points) for name, points in lines.items()]
    series = _known(
        _series(f"{name}p{share}", points, metric, f"p{share}", share == 99)
        for name, points in parts
        for share in (50, 99)
    )
    axes = Axis("output throughput", "tokens/s", low=0), Axis(_named(label, series), "ms", log=True)
    return Chart(title=f"{label[0].upper()}{label[1:]} against throughput", x=axes[0], y=axes[1], series=series)


def _named(label: str, series: Sequence[Series]) -> str:
    """One line has no legend that tells what it is."""
    return f"{label} {series[0].name}" if len(series) == 1 else label


def _known(series: Iterable[Series]) -> list[Series]:
    """Those that have anything to draw: a small run has no p99."""
    return [one for one in series if any(y is not None for y in one.y)]


def _series(name: str, points: list[MeasuredPoint], metric: str, which: str, dashed: bool, load: str = "") -> Series:
    found = [figure(point, metric, which) for point in points]
    x = [float(p.settings[load]) if load else _value(p, "output_throughput") or math.nan for p in points]
    return Series(
        name,
        x,
        [_ms(one.value if one else None) for one in found],
        "linepoints",
        low=[_ms(one.low if one else None) for one in found],
        high=[_ms(one.high if one else None) for one in found],
        texts=[describe(point.settings) for point in points],
        dashed=dashed,
    )


def _pareto(sweep: Sweep, lines: dict[str, list[MeasuredPoint]]) -> Chart:
    found = {one.name: one for one in pareto_points(sweep)}
    best = pareto_front(list(found.values()))
    names = {point.name: describe(point.settings) for point in sweep.points}
    clouds = [_cloud(name, [found[point.name] for point in points], names) for name, points in lines.items()]
    edge = Series("Pareto front", [t.per_user or 0.0 for t in best], [t.total for t in best], "line", "good",
                  texts=[names[t.name] for t in best])  # fmt: skip
    unit = "tokens/s per GPU" if sweep.grid.gpus else "tokens/s"
    note = "per user: 1 over the median TPOT. Up and to the right is better; the line joins the points no other beats."
    axes = Axis("output of one user", "tokens/s", low=0), Axis("output in all", unit, low=0)
    return Chart(title="Pareto front", x=axes[0], y=axes[1], series=[*clouds, edge], note=note)


def _cloud(name: str, found: list[ParetoPoint], names: dict[str, str]) -> Series:
    known = [one for one in found if one.per_user is not None]
    x, y = [one.per_user or 0.0 for one in known], [one.total for one in known]
    return Series(name, x, y, "points", texts=[names[one.name] for one in known])


def _over(lines: dict[str, list[MeasuredPoint]], load: str) -> Iterator[Chart]:
    x = Axis(flag(load), "1/s" if load == "rate" else "", log=load in LOADS)
    along = [
        Series(name, [float(p.settings[load]) for p in points], [_value(p, "output_throughput") for p in points],
               "linepoints", texts=[describe(p.settings) for p in points])
        for name, points in lines.items()
    ]  # fmt: skip
    yield Chart(title="Output throughput", x=x, y=Axis("output", "tokens/s", low=0), series=along, group="load")
    waits = _known(_series(name, points, "ttft", "p99", False, load) for name, points in lines.items())
    if waits:
        yield Chart(title="TTFT p99", x=x, y=Axis("TTFT p99", "ms", log=True), series=waits, group="load")


def _settings(sweep: Sweep) -> Section:
    default = Config().redacted()
    given = [[flag(name), format_value(value)] for name, value in sweep.grid.config.items()
             if name in _ALWAYS or value != default.get(name)]  # fmt: skip
    varied = [[f"{flag(name)} (varied)", ", ".join(dict.fromkeys(format_value(p.settings.get(name)) for p in sweep.points))]
              for name in sweep.grid.varied]  # fmt: skip
    more = [["gpus", format_value(sweep.grid.gpus)]] if sweep.grid.gpus else []
    return Section("Settings", [Table("Settings", ["setting", "value"], [*varied, *more, *given])], folded=True)


def _value(point: MeasuredPoint, rate: str) -> float | None:
    """Mean over the runs of a rate."""
    return mean([rates_under_load(run).get(rate) for run in point.runs])


def _tone(sweep: Sweep) -> Tone:
    if any(point.failed for point in sweep.points) or not any(point.runs for point in sweep.points):
        return "bad"
    valid = all(worst_verdict(point.runs) == "valid" for point in sweep.points)
    return "plain" if valid else "doubt"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}" if value >= 100 else f"{value:.4g}"


def _time(found: Estimate | None) -> str:
    return "-" if found is None else f"{found.value * 1e3:,.4g} ms"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
