"""The server's side of a report as tables of ready text: its figures, and beside the client's. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.finding import plain
from loadstone.gauges import FIGURES
from loadstone.records import Metric, ServerSide, Source, Stretch, Tally
from loadstone.views.page import Table

_RATES = {
    "prompt_throughput": ("prompt tokens", "{:,.1f} /s"),
    "generation_throughput": ("generated tokens", "{:,.1f} /s"),
    "prefix_hit_rate": ("prefix cache hits", "{:.1%}"),
    "acceptance": ("drafts accepted", "{:.1%}"),
}
_COUNTS = ("finished", "preemptions")
_FORMS = {"requests": "{:,.1f}", "share": "{:.1%}", "bytes": "", "s": "", "W": "{:,.0f} W", "MHz": "{:,.0f} MHz"}
_GIB = 1024.0**3


def tables(side: ServerSide | None) -> Iterator[Table]:
    if side is None:
        return
    alone = len(side.sources) == 1
    for source in side.sources:
        if rows := list(_rows(source)):
            columns = ["", "whole run", "max", "steady", "max"]
            yield Table(
                "Server" if alone else f"Server {plain(source.url)}", columns, rows, _note(source), numeric=True
            )
    if side.beside:
        yield Table(
            "Client and server", ["ms", "client", "server", "difference", "p50", "server", "p99", "server"],
            [_beside(one.name, one.points, one.difference) for one in side.beside],
            "; ".join([*(f"{FIGURES[one.name].label}: {one.explanation}" for one in side.beside)]), numeric=True,
        )  # fmt: skip
    if side.tallies:
        rows = [_tally(tally) for tally in side.tallies]
        note = "from the first request sent to the end of the last, warm-up and all"
        yield Table(
            "Counted", ["", "client", "server"], rows, "; ".join([note, *map(plain, side.remarks)]), numeric=True
        )
    elif side.remarks:
        yield Table("Of the server", [""], [[plain(remark, 300)] for remark in side.remarks])


def _note(source: Source) -> str:
    missed = f", {source.missed:,} without an answer" if source.missed else ""
    return f"{plain(' and '.join(source.kinds) or 'metrics')} at {plain(source.url)}, asked {source.scrapes:,} times{missed}"


def _rows(source: Source) -> Iterator[list[str]]:
    whole, steady = source.whole, source.steady
    for name, metric in whole.metrics.items():
        if metric.n:
            other = steady.metrics.get(name) if steady else None
            yield [_label(name), *_pair(name, metric), *_pair(name, other)]
    for name, (label, form) in _RATES.items():
        if name in whole.rates:
            yield [label, _rate(whole, name, form), "", _rate(steady, name, form), ""]
    for name in _COUNTS:
        if name in whole.counts:
            yield [FIGURES[name].label, _count(whole, name), "", _count(steady, name), ""]


def _label(name: str) -> str:
    figure = FIGURES[name]
    return f"{figure.label}, mean and p99 (ms)" if figure.kind == "times" else figure.label


def _pair(name: str, metric: Metric | None) -> list[str]:
    """Mean and highest; of times, whose highest no histogram knows, p99."""
    if metric is None:
        return ["-", "-"]
    highest = metric.p99 if FIGURES[name].kind == "times" else metric.max
    return [_form(metric.mean, metric.unit), _form(highest, metric.unit)]


def _form(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "s":
        return f"{value * 1e3:,.2f}"
    if unit == "bytes":
        return f"{value / _GIB:,.1f} GiB"
    return _FORMS.get(unit, "{:,.1f}").format(value)


def _rate(stretch: Stretch | None, name: str, form: str) -> str:
    value = stretch.rates.get(name) if stretch else None
    return "-" if value is None else form.format(value)


def _count(stretch: Stretch | None, name: str) -> str:
    return f"{stretch.counts[name]:,.0f}" if stretch and name in stretch.counts else "-"


def _beside(name: str, points: dict[str, tuple[float | None, float | None]], difference: float | None) -> list[str]:
    mean, *tails = (points.get(point, (None, None)) for point in ("mean", "p50", "p99"))
    more = "-" if difference is None else f"{difference * 1e3:+,.2f}"
    return [FIGURES[name].label, *(_form(one, "s") for one in mean), more,
            *(_form(one, "s") for pair in tails for one in pair)]  # fmt: skip


def _tally(tally: Tally) -> list[str]:
    label = "requests, sent and finished" if tally.name == "finished" else FIGURES[tally.name].label
    return [label, "-" if tally.client is None else f"{tally.client:,.0f}", f"{tally.server:,.0f}"]
