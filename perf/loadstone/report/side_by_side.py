"""Several runs side by side: a column for each, the settings in which they differ, and a row for each figure.

Only a table: whether a difference is significant is the task of `loadstone compare`, which knows the intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from loadstone.checks.finding import one_line
from loadstone.report import markdown
from loadstone.report.json import to_json
from loadstone.report.page import Block, Page, Prose, Section, Table
from loadstone.report.run_tables import LABELS, RATES, number
from loadstone.stats.describe import PERCENTILES
from loadstone.summary import Metric, Summary
from loadstone.text import write_rows

POINTS = ("mean", "p50", "p99")
# Settings that do not affect the measurement.
LEFT_OUT = ("output", "label", "save_text", "save_bodies", "metadata")
_RATES = {**RATES, "goodput": ("goodput", "{:.4g} /s"), "attainment": ("SLOs met", "{:.1%}")}


class Runs(Struct, frozen=True):
    """The runs to show.

    summaries: by the name of their column.
    unreadable: a sentence for each run that could not be read.
    """

    summaries: dict[str, Summary]
    unreadable: list[str] = []


def page(runs: Runs) -> Page:
    doubtful = [name for name, summary in runs.summaries.items() if _status(summary) != "valid"]
    text = f"{len(runs.summaries)} run{'s' if len(runs.summaries) != 1 else ''} side by side" + (
        f"; not valid: {', '.join(doubtful)}" if doubtful else ", all valid"
    )
    blocks: list[Block] = [
        _table("Settings that differ", runs, _settings(runs)),
        _table("Results", runs, _shown(list(runs.summaries.values()))),
        *(Prose(f"left out: {one_line(sentence, 400)}", "bad") for sentence in runs.unreadable),
    ]
    return Page("Runs side by side", Prose(text, "doubt" if doubtful else "good"), [Section("Runs", blocks)])


def differing_settings(runs: Runs) -> dict[str, list[Any]]:
    """Return settings, model, server and host by name, if runs differ in them; a value for each run."""
    settings = [_settings_of(summary) for summary in runs.summaries.values()]
    names = list(dict.fromkeys(name for run in settings for name in run))
    columns = {name: [run.get(name) for run in settings] for name in names}
    return {name: values for name, values in columns.items() if any(value != values[0] for value in values)}


def as_markdown(runs: Runs) -> str:
    return markdown.draw(page(runs))


def as_csv(runs: Runs) -> str:
    """Return CSV in base units: a row for each setting or figure, a column for each run."""
    settings = [["setting", name, "", *map(_plain, values)] for name, values in differing_settings(runs).items()]
    return write_rows(["kind", "name", "unit", *runs.summaries], [*settings, *_figures(list(runs.summaries.values()))])


def _figures(summaries: Sequence[Summary]) -> Iterator[list[Any]]:
    yield ["verdict", "verdict", "", *map(_status, summaries)]
    for name in ("expected", "completed", "succeeded", "failed", "stopped", "cancelled"):
        yield ["count", name, "", *(getattr(summary.counts, name) for summary in summaries)]
    for name in _names(summary.rates for summary in summaries):
        yield ["rate", name, "", *(summary.rates.get(name) for summary in summaries)]
    for name in _names(summary.metrics for summary in summaries):
        metrics = [summary.metrics.get(name) for summary in summaries]
        unit = next(metric.unit for metric in metrics if metric)
        for point in ("n", "mean", "std", "min", *PERCENTILES, "max"):
            yield ["metric", f"{name}.{point}", unit, *(_point(metric, point) for metric in metrics)]


def as_json(runs: Runs) -> str:
    """Return JSON whose parts have the form of summary.json.

    {"differing": {SETTING: [a value per run]}, "runs": [{"name", "verdict", "counts", "duration", "rates", "metrics"}],
    "unreadable": [a sentence each]}
    """
    fields = ("verdict", "counts", "duration", "rates", "metrics")
    rows = [
        {"name": name} | {field: getattr(summary, field) for field in fields}
        for name, summary in runs.summaries.items()
    ]
    return to_json({"differing": differing_settings(runs), "runs": rows, "unreadable": runs.unreadable})


def _settings_of(summary: Summary) -> dict[str, Any]:
    run = summary.run
    config = {name: value for name, value in run.settings.items() if name not in LEFT_OUT}
    # Each name of the metadata is a row.
    config |= {f"metadata.{name}": value for name, value in run.config.metadata.items()}
    environment = {
        "served model": run.model,
        "server software": run.server and run.server.software,
        "client system": run.host.system or None,
        "client cores": run.host.cores,
        "client clock": run.clock,
        "client processes": len(run.workers) or 1,
        "loadstone": run.versions.get("loadstone"),
    }
    return config | environment


def _settings(runs: Runs) -> Iterator[list[str]]:
    for name, values in differing_settings(runs).items():
        shown = name if name.startswith("metadata.") else name.replace("_", "-")
        yield [shown, *(one_line(_plain(value), 60) or "-" for value in values)]


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _shown(summaries: Sequence[Summary]) -> Iterator[list[str]]:
    yield ["verdict", *map(_status, summaries)]
    yield ["doubts", *(_doubts(summary) for summary in summaries)]
    yield ["requests", *(f"{summary.counts.completed:,}" for summary in summaries)]
    yield ["failed", *(f"{summary.counts.failed:,}" for summary in summaries)]
    for name, (label, form) in _RATES.items():
        values = [summary.rates.get(name) for summary in summaries]
        if any(value is not None for value in values):
            yield [label, *("-" if value is None else form.format(value) for value in values)]
    for name, label in LABELS.items():
        yield from _metric(label, [summary.metrics.get(name) for summary in summaries])


def _metric(label: str, metrics: Sequence[Metric | None]) -> Iterator[list[str]]:
    unit = next((metric.unit for metric in metrics if metric), "")
    for point in POINTS:
        values = [_point(metric, point) for metric in metrics]
        if any(value is not None for value in values):
            yield [f"{label} {point}{' (ms)' if unit == 's' else ''}", *(number(value, unit) for value in values)]


def _point(metric: Metric | None, point: str) -> float | None:
    value: float | None = getattr(metric, point.replace(".", ""), None)
    return value


def _names(tables: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for table in tables for name in table))


def _status(summary: Summary) -> str:
    return summary.verdict.status if summary.verdict else "-"


def _doubts(summary: Summary) -> str:
    return ", ".join(doubt.what for doubt in summary.verdict.doubts) or "-" if summary.verdict else "-"


def _table(title: str, runs: Runs, rows: Iterator[list[str]]) -> Table:
    cells = list(rows)
    return Table(title, ["", *runs.summaries], cells, "" if cells else "none")
