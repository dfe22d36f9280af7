"""The server's side of a report as tables of ready text: its figures, and beside the client's. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from loadstone.checks.finding import one_line
from loadstone.report.page import Table
from loadstone.server_metrics.names import SERVER_METRICS, server_metric
from loadstone.summary import ClientServerCount, ClientServerMetric, Metric, ServerSide, ServerWindow, Source

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
                "Server" if alone else f"Server {one_line(source.url)}", columns, rows, _note(source), numeric=True
            )
    if side.beside:
        columns = ["ms", "client mean", "server", "difference", "client p50", "server", "client p99", "server"]
        told = [f"{server_metric(one.name).label}: {one.explanation}" for one in side.beside]
        limits = "the client's are of its successes, the server's of all it finished, with percentiles as good as the"
        limits += " bounds of its histogram, in brackets"
        rows = [_beside(one) for one in side.beside]
        yield Table("Client and server", columns, rows, "; ".join([*told, limits]), numeric=True)
    if side.tallies:
        rows = [_tally(tally) for tally in side.tallies]
        note = "from the first request sent to the end of the last, warm-up and all"
        yield Table("Counted by both", ["", "client", "server"], rows, note, numeric=True)
    if side.remarks:
        yield Table("Of the server", [""], [[one_line(remark, 300)] for remark in side.remarks])


def _note(source: Source) -> str:
    kinds, missed = " and ".join(source.kinds) or "metrics", f", {source.missed:,} times in vain"
    return f"{kinds} at {one_line(source.url)}, asked {source.scrapes:,} times" + (missed if source.missed else "")


def _rows(source: Source) -> Iterator[list[str]]:
    whole, steady = source.whole, source.steady
    for name, metric in whole.metrics.items():
        if metric.n:
            other = steady.metrics.get(name) if steady else None
            yield [_label(name), *_pair(name, metric), *_pair(name, other)]
    for name, (label, form) in _RATES.items():
        if name in whole.rates:
            yield [label, _rate(whole, name, form), "", _rate(steady, name, form), ""]
    for name in whole.counts:
        if name in _COUNTS or name not in SERVER_METRICS:
            yield [server_metric(name).label, _count(whole, name), "", _count(steady, name), ""]


def _label(name: str) -> str:
    label = one_line(server_metric(name).label)
    return f"{label}, mean and p99 (ms)" if server_metric(name).kind == "times" else label


def _pair(name: str, metric: Metric | None) -> list[str]:
    """Mean and highest; of times, whose highest no histogram knows, p99."""
    if metric is None:
        return ["-", "-"]
    highest = metric.p99 if server_metric(name).kind == "times" else metric.max
    return [_form(metric.mean, metric.unit), _form(highest, metric.unit)]


def _form(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "s":
        return f"{value * 1e3:,.2f}"
    if unit == "bytes":
        return f"{value / _GIB:,.1f} GiB"
    return _FORMS.get(unit, "{:,.1f}").format(value)


def _rate(stretch: ServerWindow | None, name: str, form: str) -> str:
    value = stretch.rates.get(name) if stretch else None
    return "-" if value is None else form.format(value)


def _count(stretch: ServerWindow | None, name: str) -> str:
    return f"{stretch.counts[name]:,.0f}" if stretch and name in stretch.counts else "-"


def _beside(one: ClientServerMetric) -> list[str]:
    more = "-" if one.difference is None else _signed(one.difference * 1e3)
    client, server = one.points["mean"]
    tails = [cell for point in ("p50", "p99") for cell in _tail(one, point)]
    return [server_metric(one.name).label, _form(client, "s"), _form(server, "s"), more, *tails]


def _signed(value: float) -> str:
    """Without a sign where it rounds to nothing."""
    return f"{value:+,.2f}" if abs(value) >= 0.005 else "0.00"


def _tail(one: ClientServerMetric, point: str) -> list[str]:
    client, server = one.points.get(point, (None, None))
    bounds = one.bounds.get(point, "-").removesuffix(" ms")
    return [_form(client, "s"), bounds if server is None else f"{_form(server, 's')} ({bounds})"]


def _tally(tally: ClientServerCount) -> list[str]:
    label = "requests with output" if tally.name == "finished" else server_metric(tally.name).label
    client = "-" if tally.client is None else f"{tally.client:,.0f}"
    more = f" ({tally.most:,.0f} sent)" if tally.most is not None and tally.most != tally.client else ""
    return [label, client + more, f"{tally.server:,.0f}"]
