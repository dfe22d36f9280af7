"""The report of a run as a web page: verdict, figures with intervals, charts, groups, failures, configuration.

Each number of the summary on the page carries its name in summary.json and all of its digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from loadstone.checks.finding import one_line
from loadstone.metrics.chart_data import ChartData
from loadstone.report import html, request_charts, run_charts
from loadstone.report.page import Block, Page, Prose, Section, Table, TableKind
from loadstone.report.run_charts import Times
from loadstone.report.run_tables import LABELS, TONES, figures, metadata_line, number, steady_span, tables
from loadstone.summary import Metric, Summary

# First sentence of the page, by verdict.
_VERDICTS = {
    "valid": "Valid: no check found a reason to doubt these numbers.",
    "suspect": "Suspect: some of these numbers may be wrong.",
    "invalid": "Invalid: do not base decisions on these numbers.",
}
# Metrics and percentiles of the cards at the top, then rates with label and format.
_CARDS = [("ttft", "p50"), ("ttft", "p99"), ("tpot", "p50"), ("latency", "p50"), ("latency", "p99")]
_RATES = {
    "qps": ("QPS", "{:.4g}"),
    "output_throughput": ("Output tokens/s", "{:,.1f}"),
    "concurrency": ("Concurrency, mean", "{:.2f}"),
    "goodput": ("Goodput, requests/s", "{:.4g}"),
    "attainment": ("Requests that met all objectives", "{:.1%}"),
}
_NO_CHARTS = "No charts: they need the records. Run loadstone report RUN --as html."
# The percentile that a card shows instead when the sample is too small.
_LOWER = {"p99": "p95", "p95": "p90", "p90": "p50"}


def render(summary: Summary, data: ChartData | None = None, server: Times | None = None) -> str:
    """Return the web page: the view `html`. The charts need `data`, computed from the records."""
    return html.draw(page(summary, data, server))


def page(summary: Summary, data: ChartData | None, server: Times | None = None) -> Page:
    """Return the page.

    server: series of the server's metrics by name, each as seconds since the run began and values.
    """
    # The tables that every report has, by what they are about. This page shows distributions in its own way.
    reported: dict[TableKind, list[Block]] = {}
    for table in tables(summary):
        reported.setdefault(table.kind, []).append(table)
    verdict_notes: list[Block] = [
        Prose(f"{table.note}.") for table in reported.get("verdict", []) if isinstance(table, Table)
    ]

    about = [Prose(line)] if (line := metadata_line(summary)) else []
    names = figures(summary)
    whole_note = "Below each figure: its 95 % interval, if the sample is large enough. Successful requests only."
    whole = _distribution("Distributions, whole run", "metrics", summary.metrics, names, whole_note)
    steady: list[Table] = []
    if window := summary.steady:
        note = f"{steady_span(window)}."
        steady = _distribution("Distributions, steady window", "steady.metrics", window.metrics, names, note)
    settings = Table(
        "",
        ["setting", "value"],
        [[name, _json(value)] for name, value in summary.run.settings.items() if value not in (None, {}, [])],
        "Settings that are not in this table were not set and have no default.",
    )

    sections = [
        Section("Numbers", [*about, _cards(summary), *whole, *reported.get("other", [])]),
        *(_charts(summary, data, server or {}) if data else []),
        Section("Charts", [Prose(_NO_CHARTS)] if data is None and summary.metrics else []),
        Section("Steady window", [*steady], folded=True),
        Section("Server metrics", reported.get("server", [])),
        Section("Groups of requests", reported.get("group", [])),
        Section("Failures", reported.get("failures", [])),
        Section("Run", reported.get("run", [])),
        Section("Configuration", [settings], folded=True),
        Section("Client and environment", [*verdict_notes, *_environment(summary)], folded=True),
    ]

    # The title says what was run, and when.
    run = summary.run
    label = run.config.label or "Load test"
    model = " and ".join(map(str, run.models or [run.model or "requests"]))
    began = str(run.began or "").replace("T", " ")[:16]
    title = one_line(f"{label}: {model}") + (f", {began}" if began else "")

    # A section is shown if a block in it has content.
    shown = [
        section
        for section in sections
        if any(not isinstance(block, Table) or block.rows or block.note for block in section.blocks)
    ]
    return Page(title, _verdict(summary), shown)


def _verdict(summary: Summary) -> Prose:
    if summary.verdict is None:
        return Prose("Not judged.")
    lines = [_VERDICTS[summary.verdict.status]]
    for doubt in summary.verdict.doubts:
        text = f"{doubt.what}: {doubt.measured} (limit {doubt.limit}). {_sentence(doubt.advice)}"
        lines.append(one_line(_sentence(text), 1000))
    return Prose("\n".join(lines), TONES[summary.verdict.status])


def _sentence(text: str) -> str:
    """Return the text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}" if text else ""


def _cards(summary: Summary) -> Table:
    """Return the figures that readers look for first, with their 95 % interval."""
    counts = summary.counts
    figures: dict[tuple[int, int], tuple[str, float]] = {(0, 1): ("counts.succeeded", counts.succeeded)}
    failed = f"{counts.failed:,} of {counts.completed:,} failed" if counts.failed else f"of {counts.completed:,}"
    rows = [["Succeeded", f"{counts.succeeded:,}", failed]]
    for name, percentile in _CARDS:
        metric = summary.metrics.get(name)
        # Where the sample is too small for a percentile, the card shows the next lower one that is known.
        point: str | None = percentile
        while metric and point and getattr(metric, point) is None:
            point = _LOWER.get(point)
        if metric and point:
            value = getattr(metric, point)
            figures[len(rows), 1] = (f"metrics.{name}.{point}", value)
            title = LABELS[name][0].upper() + LABELS[name][1:]
            text = f"{number(value, metric.unit)} {'ms' if metric.unit == 's' else metric.unit}"
            rows.append([f"{title} {point}", text, _interval(metric, point, "95 %: ")])
    for name, (title, form) in _RATES.items():
        if (rate := summary.rates.get(name)) is not None:
            steady = summary.steady.rates.get(name) if summary.steady else None
            figures[len(rows), 1] = (f"rates.{name}", rate)
            rows.append([title, form.format(rate), "" if steady is None else f"steady: {form.format(steady)}"])
    return Table("", ["", "whole run", ""], rows, cards=True, figures=figures)


def _interval(metric: Metric, figure: str, prefix: str = "") -> str:
    ends = metric.ci95.get(figure)
    return "" if ends is None else f"{prefix}{number(ends[0], metric.unit)} to {number(ends[1], metric.unit)}"


def _distribution(title: str, path: str, metrics: dict[str, Metric], names: list[str], note: str) -> list[Table]:
    """Return the table of the metrics, or nothing if there are none.

    path: of the metrics in summary.json. names: of the figures to show.
    """
    rows: list[list[str]] = []
    keys: dict[tuple[int, int], tuple[str, float]] = {}
    shown = {name: metrics[name] for name in LABELS if name in metrics and metrics[name].n}
    for name, metric in shown.items():
        for column, figure in enumerate(names, 1):
            if (value := metric.at(figure)) is not None:
                more = "more." if metric.more and figure in metric.more else ""
                keys[len(rows), column] = (f"{path}.{name}.{more}{figure}", value)
        keys[len(rows), len(names) + 1] = (f"{path}.{name}.n", metric.n)
        cells = []
        for figure in names:
            interval = _interval(metric, figure)
            cells.append(number(metric.at(figure), metric.unit) + (f"\n{interval}" if interval else ""))
        rows.append([LABELS[name], *cells, f"{metric.n:,}"])
    notes = [note, *(f"{LABELS[name]}: {metric.note}." for name, metric in shown.items() if metric.note)]
    columns = ["times in ms", *names, "n"]
    return [Table(title, columns, rows, " ".join(notes), numeric=True, figures=keys)] if rows else []


def _charts(summary: Summary, data: ChartData, server: Times) -> Iterator[Section]:
    over_time: list[Block] = [*run_charts.over_time(summary, data), request_charts.requests(summary, data)]
    if server:
        over_time += run_charts.server(server, summary, data)
    inside: list[Block] = [request_charts.waterfall(data)] if data.slowest else []
    if gaps := run_charts.gaps_by_position(data):
        inside.append(gaps)
    yield Section("Distributions", run_charts.distributions(summary, data))
    yield Section("Over time", over_time)
    yield Section("Inside requests", inside)


def _environment(summary: Summary) -> Iterator[Table]:
    run = msgspec.to_builtins(summary.run)
    parts = {name: run.get(name) for name in ("host", "versions", "server", "schedule")}
    for name, content in {"client": summary.client, **parts}.items():
        if isinstance(content, dict) and content:
            rows = [[key, _json(value)] for key, value in content.items() if value is not None]
            yield Table(name.capitalize(), ["", ""], rows)


def _json(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return one_line(value if isinstance(value, str) else msgspec.json.encode(value).decode(), 2000)
