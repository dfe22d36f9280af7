"""The tables about the server in a run's report: its own metrics, and the client's figures beside them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loadstone.checks.finding import one_line
from loadstone.report.page import Table
from loadstone.server_metrics.names import SERVER_METRICS, server_metric
from loadstone.summary import ClientServerMetric, Metric, ServerSide, Source

# Rates by name: label and format.
_RATES = {
    "prompt_throughput": ("prompt tokens", "{:,.1f} /s"),
    "generation_throughput": ("generated tokens", "{:,.1f} /s"),
    "prefix_hit_rate": ("prefix cache hits", "{:.1%}"),
    "acceptance": ("draft tokens accepted", "{:.1%}"),
}
# Counters that are shown; others only if the user named them (--scrape-name).
_COUNTS = ("finished", "preemptions")
# Formats by unit; seconds and bytes are converted first.
_FORMS = {"requests": "{:,.1f}", "share": "{:.1%}", "bytes": "", "s": "", "W": "{:,.0f} W", "MHz": "{:,.0f} MHz"}
_GIB = 1024.0**3


def tables(side: ServerSide | None) -> Iterator[Table]:
    """Yield a table for each metrics page, then the comparison with the client, counts and remarks."""
    if side is None:
        return
    for source in side.sources:
        if rows := list(_rows(source)):
            title = "Server" if len(side.sources) == 1 else f"Server {one_line(source.url)}"
            kinds = " and ".join(source.kinds) or "metrics"
            failed = f", {source.missed:,} times without an answer" if source.missed else ""
            note = f"{kinds} at {one_line(source.url)}, read {source.scrapes:,} times{failed}"
            note += "" if source.ended is None else f", until {max(0.0, source.ended):.1f} s"
            columns = ["", "whole run", "max", "steady", "max"]
            yield Table(title, columns, rows, note, numeric=True, kind="server")
    if side.beside:
        columns = ["ms", "client mean", "server", "difference", "client p50", "server", "client p99", "server"]
        explanations = [f"{server_metric(one.name).label}: {one.explanation}" for one in side.beside]
        scope = "the client measures its successful requests, the server all that it finished; the server's percentiles"
        scope += " are as exact as the buckets of its histogram, whose bounds are in brackets"
        rows = [_beside(one) for one in side.beside]
        note = "; ".join([*explanations, scope])
        yield Table("Client and server", columns, rows, note, numeric=True, kind="server")
    if side.tallies:
        rows = []
        for tally in side.tallies:
            label = "requests with output" if tally.name == "finished" else server_metric(tally.name).label
            client = "-" if tally.client is None else f"{tally.client:,.0f}"
            sent = f" ({tally.most:,.0f} sent)" if tally.most is not None and tally.most != tally.client else ""
            rows.append([label, client + sent, f"{tally.server:,.0f}"])
        note = "from the first request sent to the end of the last, warm-up included"
        yield Table("Counts of client and server", ["", "client", "server"], rows, note, numeric=True, kind="server")
    if side.remarks:
        rows = [[one_line(remark, 300)] for remark in side.remarks]
        yield Table("Remarks on the server", [""], rows, kind="server")


def _rows(source: Source) -> Iterator[list[str]]:
    whole, steady = source.whole, source.steady
    for name, metric in whole.metrics.items():
        if metric.n:
            label = one_line(server_metric(name).label) + (
                ", mean and p99 (ms)" if server_metric(name).kind == "times" else ""
            )
            yield [
                label,
                *_mean_and_max(name, metric),
                *_mean_and_max(name, steady.metrics.get(name) if steady else None),
            ]
    for name, (label, form) in _RATES.items():
        if name in whole.rates:
            yield [label, _value(whole.rates, name, form), "", _value(steady.rates if steady else {}, name, form), ""]
    for name in whole.counts:
        if name in _COUNTS or name not in SERVER_METRICS:
            counts = [_value(span.counts if span else {}, name, "{:,.0f}") for span in (whole, steady)]
            yield [server_metric(name).label, counts[0], "", counts[1], ""]


def _mean_and_max(name: str, metric: Metric | None) -> list[str]:
    """Return the mean and the maximum; p99 for times, as a histogram does not know their maximum."""
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


def _value(values: Mapping[str, float | None], name: str, form: str) -> str:
    value = values.get(name)
    return "-" if value is None else form.format(value)


def _beside(one: ClientServerMetric) -> list[str]:
    difference = "-"
    if one.difference is not None:
        ms = one.difference * 1e3
        difference = f"{ms:+,.2f}" if abs(ms) >= 0.005 else "0.00"  # no sign if it rounds to zero
    row = [server_metric(one.name).label, *(_form(value, "s") for value in one.points["mean"]), difference]
    for point in ("p50", "p99"):
        client, server = one.points.get(point, (None, None))
        bounds = one.bounds.get(point, "-").removesuffix(" ms")
        row += [_form(client, "s"), bounds if server is None else f"{_form(server, 's')} ({bounds})"]
    return row
