"""The report of a run as a page: verdict, numbers with intervals, charts, groups, failures, and what it was done with.

Every number of the summary that is shown carries its name in summary.json and all of its digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from loadstone.checks.finding import one_line
from loadstone.metrics.chart_data import ChartData
from loadstone.report import html, request_charts, run_charts
from loadstone.report.page import Block, Page, Prose, Section, Table, Tone
from loadstone.report.run_charts import Times
from loadstone.report.run_tables import LABELS, number, tables
from loadstone.summary import Metric, Summary

_TONES: dict[str, Tone] = {"valid": "good", "suspect": "doubt", "invalid": "bad"}
_WORDS = {
    "valid": "Valid: nothing that was looked at speaks against these numbers.",
    "suspect": "Suspect: the numbers may not mean what they seem to.",
    "invalid": "Invalid: do not decide anything by these numbers.",
}
_CARDS = [("ttft", "p50"), ("ttft", "p99"), ("tpot", "p50"), ("latency", "p50"), ("latency", "p99")]
_RATES = {
    "qps": ("QPS", "{:.4g}"),
    "output_throughput": ("Output tokens/s", "{:,.1f}"),
    "concurrency": ("In flight, mean", "{:.2f}"),
    "goodput": ("Goodput, requests/s", "{:.4g}"),
    "attainment": ("Requests that met all objectives", "{:.1%}"),
}
_WITHOUT = "There are none here: they are drawn from the records. Say loadstone report RUN --as html."
_FIGURES = ["mean", "p50", "p90", "p95", "p99", "max"]
# What a card shows where the sample is too small.
_LOWER = {"p99": "p95", "p95": "p90", "p90": "p50"}
# By how their titles begin, tables that stand elsewhere than among the numbers.
_PLACES = {
    "Run": "run",
    "Failures": "failures",
    "Distributions of successful requests": "",
    "By ": "parts",
    "Server": "server",
    "Client and server": "server",
    "Counted by both": "server",
    "Of the server": "server",
}


def render(summary: Summary, traces: ChartData | None = None, server: Times | None = None) -> str:
    """The file: the view called `html`."""
    return html.draw(page(summary, traces, server))


def page(summary: Summary, traces: ChartData | None, server: Times | None = None) -> Page:
    """`server`: series of its metrics by name, each seconds since the run began and values."""
    placed = _placed(summary)
    sections = [
        Section("Numbers", [_cards(summary), *_whole(summary), *placed["numbers"]]),
        *(_pictures(summary, traces, server or {}) if traces else []),
        Section("Charts", [Prose(_WITHOUT)] if traces is None and summary.metrics else []),
        Section("Steady window", [*_steady(summary)], folded=True),
        Section("The server's side", placed["server"]),
        Section("Parts of the load", placed["parts"]),
        Section("Failures", placed["failures"]),
        Section("Run", placed["run"]),
        Section("Configuration", [_settings(summary.run.get("config") or {})], folded=True),
        Section("Client and environment", [*placed["check"], *_environment(summary)], folded=True),
    ]
    return Page(_title(summary), _verdict(summary), [section for section in sections if any(_filled(section))])


def _filled(section: Section) -> Iterator[bool]:
    for block in section.blocks:
        yield not isinstance(block, Table) or bool(block.rows or block.note)


def _placed(summary: Summary) -> dict[str, list[Block]]:
    """The tables that all reports have, by where they stand here."""
    places: dict[str, list[Block]] = {name: [] for name in ("numbers", "check", *_PLACES.values())}
    for table in tables(summary):
        place = next((place for title, place in _PLACES.items() if table.title.startswith(title)), "numbers")
        if table.title.startswith("Check:"):
            places["check"].append(Prose(f"{table.note}."))
        else:
            alone = place in ("run", "failures")
            places[place].append(msgspec.structs.replace(table, title="") if alone else table)
    return places


def _title(summary: Summary) -> str:
    run = summary.run
    config = run.get("config") or {}
    model = " and ".join(run.get("models") or [run.get("model") or "requests"])
    return one_line(f"{config.get('label') or 'Load test'}: {model}") + (
        f", {began[:16]}" if (began := _began(run)) else ""
    )


def _began(run: dict[str, Any]) -> str:
    return str(run.get("began") or "").replace("T", " ")


def _verdict(summary: Summary) -> Prose:
    if summary.verdict is None:
        return Prose("Not judged.")
    status, doubts = summary.verdict.status, summary.verdict.doubts
    lines = [f"{doubt.what}: {doubt.measured} (limit {doubt.limit}). {_sentence(doubt.advice)}" for doubt in doubts]
    return Prose("\n".join([_WORDS[status], *map(_one_line, map(_sentence, lines))]), _TONES[status])


def _one_line(text: str) -> str:
    return one_line(text, 1000)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def _cards(summary: Summary) -> Table:
    """The few figures that people look for first, with their 95 % interval."""
    counts, rows = summary.counts, []
    figures: dict[tuple[int, int], tuple[str, float]] = {(0, 1): ("counts.succeeded", counts.succeeded)}
    lost = f"{counts.failed:,} of {counts.completed:,} failed" if counts.failed else f"of {counts.completed:,}"
    rows.append(["Succeeded", f"{counts.succeeded:,}", lost])
    for name, wanted in _CARDS:
        metric = summary.metrics.get(name)
        if (point := _point(metric, wanted)) and metric:
            value = getattr(metric, point)
            figures[len(rows), 1] = (f"metrics.{name}.{point}", value)
            title = LABELS[name][0].upper() + LABELS[name][1:]
            rows.append([f"{title} {point}", _with_unit(value, metric.unit), _interval(metric, point, "95 %: ")])
    for name, (title, form) in _RATES.items():
        if (rate := summary.rates.get(name)) is not None:
            steady = summary.steady.rates.get(name) if summary.steady else None
            figures[len(rows), 1] = (f"rates.{name}", rate)
            rows.append([title, form.format(rate), "" if steady is None else f"steady: {form.format(steady)}"])
    return Table("", ["", "whole run", ""], rows, cards=True, figures=figures)


def _point(metric: Metric | None, wanted: str | None) -> str | None:
    """The percentile wanted, or the next lower one that is known."""
    while metric is not None and wanted is not None and getattr(metric, wanted) is None:
        wanted = _LOWER.get(wanted)
    return wanted if metric is not None else None


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value, unit)} {'ms' if unit == 's' else unit}"


def _interval(metric: Metric, figure: str, before: str = "") -> str:
    found = metric.ci95.get(figure)
    return "" if found is None else f"{before}{number(found[0], metric.unit)} to {number(found[1], metric.unit)}"


def _whole(summary: Summary) -> Iterator[Table]:
    note = "95 % intervals below the figures, where the sample is large enough for one. Successful requests only."
    yield from _distribution("Distributions, whole run", "metrics", summary.metrics, note)


def _steady(summary: Summary) -> Iterator[Table]:
    if steady := summary.steady:
        note = f"{steady.start:.2f} s to {steady.end:.2f} s, at or above 80 % of the peak number in flight."
        yield from _distribution("Distributions, steady window", "steady.metrics", steady.metrics, note)


def _distribution(title: str, place: str, metrics: dict[str, Metric], note: str) -> Iterator[Table]:
    rows: list[list[str]] = []
    figures: dict[tuple[int, int], tuple[str, float]] = {}
    shown = {name: metrics[name] for name in LABELS if name in metrics and metrics[name].n}
    for name, metric in shown.items():
        for column, figure in enumerate(_FIGURES, 1):
            if (value := getattr(metric, figure)) is not None:
                figures[len(rows), column] = (f"{place}.{name}.{figure}", value)
        figures[len(rows), len(_FIGURES) + 1] = (f"{place}.{name}.n", metric.n)
        rows.append([LABELS[name], *(_cell(metric, figure) for figure in _FIGURES), f"{metric.n:,}"])
    notes = [note, *(f"{LABELS[name]}: {metric.note}." for name, metric in shown.items() if metric.note)]
    if rows:
        columns = ["ms, or as named", *_FIGURES, "n"]
        yield Table(title, columns, rows, " ".join(notes), numeric=True, figures=figures)


def _cell(metric: Metric, figure: str) -> str:
    interval = _interval(metric, figure)
    return number(getattr(metric, figure), metric.unit) + (f"\n{interval}" if interval else "")


def _pictures(summary: Summary, traces: ChartData, server: Times) -> Iterator[Section]:
    along: list[Block] = [*run_charts.over_time(summary, traces), request_charts.requests(summary, traces)]
    if server:
        along += run_charts.server(server, summary, traces)
    single: list[Block] = [request_charts.waterfall(traces)] if traces.slowest else []
    gaps = run_charts.growth(traces)
    yield Section("Distributions", run_charts.distributions(summary, traces))
    yield Section("Over time", along)
    yield Section("Inside requests", [*single, *([gaps] if gaps else [])])


def _settings(config: dict[str, Any]) -> Table:
    rows = [[name, _json(value)] for name, value in config.items() if value not in (None, {}, [])]
    return Table("", ["setting", "value"], rows, "Settings that are not listed were not given and have no default.")


def _environment(summary: Summary) -> Iterator[Table]:
    parts = {name: summary.run.get(name) for name in ("host", "versions", "server", "schedule")}
    for name, found in {"client": summary.client, **parts}.items():
        if isinstance(found, dict) and found:
            rows = [[key, _json(value)] for key, value in found.items() if value is not None]
            yield Table(name.capitalize(), ["", ""], rows)


def _json(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return one_line(value if isinstance(value, str) else msgspec.json.encode(value).decode(), 2000)
