"""The tables of a run's report, as ready text. The terminal, Markdown and HTML views all draw these.

`tables` builds the report, `check_text` the output of `loadstone check`, `number` formats a value of a metric.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from loadstone.checks.finding import Finding, one_line
from loadstone.checks.rules import examine, judge
from loadstone.config.parse import REPLAY
from loadstone.report import server_tables
from loadstone.report.page import Table, Tone
from loadstone.summary import Metric, Summary, Window

# Percentiles of the tables, unless --percentiles names others.
_PERCENTILES = (50.0, 90.0, 95.0, 99.0)
# Labels of metrics, in the order of reports.
LABELS = {
    "ttft": "TTFT",
    "ttft_scheduled": "TTFT from schedule",
    "ttfat": "time to first answer",
    "latency": "latency",
    "latency_scheduled": "latency from schedule",
    "tpot": "TPOT",
    "gap": "gap between events",
    "itl": "ITL",
    "packet_time": "time per packet",
    "packets": "packets per request",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "cached_tokens": "cached input tokens",
    "wait": "wait before sending",
    "connect": "connection time",
}
# Rates by name in the summary: label and format.
RATES = {
    "qps": ("QPS (successes)", "{:.4g} /s"),
    "request_rate": ("requests sent, over the whole time", "{:.4g} /s"),
    "output_throughput": ("output throughput", "{:,.1f} tokens/s"),
    "total_throughput": ("total throughput", "{:,.1f} tokens/s"),
    "concurrency": ("concurrency, mean", "{:.2f}"),
    "peak_concurrency": ("concurrency, peak", "{:.0f}"),
    "error_rate": ("error rate", "{:.2%}"),
    "cached_share": ("cached input tokens", "{:.1%}"),
}
# APIs that generate no text and do not stream.
NOT_STREAMED = ("embeddings", "rerank", "tei-rerank")
# Colours of verdicts.
TONES: dict[str, Tone] = {"valid": "good", "suspect": "doubt", "invalid": "bad"}
# Titles and notes of the tables of groups, by kind.
_GROUPS = {
    "stage": ("By stage", "requests are those that arrived in the stage; rates are those of the server during it"),
    "turn": ("By turn of the conversation", ""),
    "model": ("By model", ""),
    "server": ("By server", ""),
    "input": (
        "By input tokens",
        "successful requests only: the server does not report the input tokens of a failed one",
    ),
}
# Columns of the tables of groups, after QPS: metric and figure; then rate and format.
_GROUP_METRICS = {
    "TTFT mean": ("ttft", "mean"),
    "TTFT p50": ("ttft", "p50"),
    "TTFT p99": ("ttft", "p99"),
    "TPOT mean": ("tpot", "mean"),
    "latency p50": ("latency", "p50"),
    "latency p99": ("latency", "p99"),
}
_GROUP_RATES = {
    "output tokens/s": ("output_throughput", "{:,.1f}"),
    "cached": ("cached_share", "{:.1%}"),
    "errors": ("error_rate", "{:.2%}"),
    "SLOs met": ("attainment", "{:.1%}"),
}


def figures(summary: Summary) -> list[str]:
    """Return the names of the figures that tables of distributions show: mean, percentiles, maximum."""
    chosen = summary.run.config.percentiles or _PERCENTILES
    return ["mean", *(f"p{percentile:g}" for percentile in chosen), "max"]


def tables(summary: Summary) -> list[Table]:
    """Return all tables of the report; the verdict is the last."""
    overview = [_run(summary), _rates(summary), _objectives(summary), _distributions(summary)]
    groups, server = [*_groups(summary)], [*server_tables.tables(summary.server)]
    found = [*overview, *groups, *server, _failures(summary), _verdict(summary)]
    return [table for table in found if table is not None]


def _run(summary: Summary) -> Table:
    c, run = summary.counts, summary.run
    config = run.config

    # The server: URLs, models, protocol.
    url = config.url or ("in this process" if config.model else "-")
    urls = ", ".join(url) if isinstance(url, list) else url
    models = run.models or [run.model or "-"]
    server = f"{urls}, model {' and '.join(map(str, models))}, {config.api or '-'}"

    # Counts.
    expected = "-" if c.expected is None else f"{c.expected:,}"
    extra = [f"{count:,} more for {phase}" for count, phase in ((c.warmup, "warm-up"), (c.cooldown, "cool-down"))
             if count]  # fmt: skip
    reason = run.ended_because
    ended = (run.ended or "-") + (f" ({one_line(reason, 400)})" if reason else "")
    unsent = run.unsent_turns
    held, held_back = run.held_back, ""
    if held is not None and held.requests:
        mean = held.seconds / held.requests
        held_back = f"{held.requests:,} by the limits per minute, {mean:.3g} s on average before they were scheduled"
    rows = [
        ["server", one_line(server)],
        ["load", _load(summary)],
        ["duration", "-" if summary.duration is None else f"{summary.duration:.2f} s, ended: {ended}"],
        ["requests", f"{c.completed:,} completed of {expected}" + (f" ({', '.join(extra)})" if extra else "")],
        ["succeeded", f"{c.succeeded:,}"],
        ["failed", f"{c.failed:,}" + (f", {c.stopped:,} cut off at the end" if c.stopped else "")],
        ["held back", held_back],
        ["retried", f"{c.retried:,} failed attempts, not counted anywhere else" if c.retried else ""],
        ["resent", f"{c.resent:,} on a new connection: the server had closed the idle one" if c.resent else ""],
        ["cancelled", f"{c.cancelled:,} by the client, as configured" if c.cancelled else ""],
        ["abandoned", f"{c.abandoned:,} later turns: the turn before them failed" if c.abandoned else ""],
        ["not sent", f"{unsent:,} later turns: the run had ended" if unsent else ""],
        ["finish reasons", ", ".join(f"{one_line(name, 60)} {count:,}" for name, count in c.finishes.items())],
        ["no answer", _reasoning_only(summary)],
        ["not streamed", _not_streamed(summary)],
        ["tokens counted by", _counted_by(summary)],
        ["metadata", metadata_line(summary)],
    ]
    return Table("Run", ["", ""], [row for row in rows if row[1]], kind="run")


def metadata_line(summary: Summary) -> str:
    """Return the names and values of --metadata; empty if there are none."""
    return ", ".join(one_line(f"{name}={value}", 200) for name, value in summary.run.config.metadata.items())


def _reasoning_only(summary: Summary) -> str:
    """Return how many responses were nothing but reasoning, and why; empty if there are none."""
    fraction = summary.checks.get("reasoning_only")
    if not fraction:
        return ""
    cut = summary.counts.finishes.get("length", 0)
    advice = "; allow longer responses (--output-len) to time answers" if cut else ""
    return f"{fraction:.0%} of the responses are nothing but reasoning{advice}"


def _not_streamed(summary: Summary) -> str:
    """Return how many responses came in one piece though a stream was asked for; empty if none did."""
    fraction = summary.checks.get("not_streamed")
    config = summary.run.config
    if not fraction or not config.stream or config.api in NOT_STREAMED or not summary.run.settings:
        return ""
    return f"{fraction:.0%} of the responses came in one piece though a stream was asked for: they have no TTFT"


def _counted_by(summary: Summary) -> str:
    """Return who counted the tokens."""
    sources = summary.sources
    counted = f"input: {sources.get('input', '-')}, output: {sources.get('output', '-')}"
    without = "unknown" in sources.get("output", "") and summary.counts.succeeded
    if not without or summary.run.config.api in NOT_STREAMED:
        return counted
    return f"{counted}; the server reports none, --tokenizer NAME counts them"


def _load(summary: Summary) -> str:
    run = summary.run
    config = run.config
    limits = "".join(f", at most {limit:,.6g} {unit} per minute"
                     for limit, unit in ((config.rpm, "requests"), (config.tpm, "tokens")) if limit)  # fmt: skip
    cap = (f", at most {config.concurrency} in flight" if config.concurrency else "") + limits
    if config.rate:
        return f"{config.rate:g} requests/s, {config.arrivals}{cap}"
    if config.stages:
        return f"stages {config.stages}{cap}"
    if config.arrivals == REPLAY:
        return f"recorded times, speed {config.speed or 1:g}{cap}"
    return f"{config.concurrency} in flight{limits}" if config.concurrency else "-"


def _rates(summary: Summary) -> Table:
    steady = summary.steady
    windows = {"rates": summary.rates, "steady.rates": steady.rates if steady else {}}
    rows: list[list[str]] = []
    figures: dict[tuple[int, int], tuple[str, float]] = {}
    for name, (label, form) in RATES.items():
        cells = {window: rates.get(name) for window, rates in windows.items()}
        if any(cell is not None for cell in cells.values()):
            for column, (window, cell) in enumerate(cells.items(), 1):
                if cell is not None:
                    figures[len(rows), column] = (f"{window}.{name}", cell)
            rows.append([label, *(_form(cell, form) for cell in cells.values())])
    note = f"steady: {steady_span(steady)}" if steady else ""
    return Table("Rates", ["", "whole run", "steady"], rows, note, numeric=True, figures=figures)


def steady_span(steady: Window) -> str:
    """Return a phrase that says which part of the run is the steady window."""
    return f"{steady.start:.2f} s to {steady.end:.2f} s, at or above 80 % of the peak concurrency"


def _objectives(summary: Summary) -> Table | None:
    """Return the objectives of --goodput with the fraction of judged requests that met each, and all of them."""
    slos: dict[str, float] = summary.run.config.goodput
    if not slos or not summary.metrics:
        return None
    rates = [summary.rates, summary.steady.rates if summary.steady else {}]
    rows = []
    for name, limit in slos.items():
        unit = summary.metrics[name].unit if name in summary.metrics else "s"
        attained = [_form(window.get(f"attainment.{name}"), "{:.1%}") for window in rates]
        rows.append([LABELS.get(name, name), f"{limit * 1e3:g} ms" if unit == "s" else f"{limit:g}", *attained])
    rows.append(["all objectives", "", *(_form(window.get("attainment"), "{:.1%}") for window in rates)])
    rows.append(["goodput", "", *(_form(window.get("goodput"), "{:.4g} /s") for window in rates)])
    note = f"of {summary.counts.completed:,} judged requests; a failed request meets no objective"
    return Table("Objectives", ["", "limit", "met, whole run", "steady"], rows, note, numeric=True)


def _form(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _distributions(summary: Summary) -> Table | None:
    names = figures(summary)
    shown = [(label, summary.metrics[name]) for name, label in LABELS.items() if name in summary.metrics]
    rows = [
        [label, *(_cell(metric, figure) for figure in names), f"{metric.n:,}"] for label, metric in shown if metric.n
    ]
    if not rows:
        return None
    notes = [f"{label}: {metric.note}" for label, metric in shown if metric.note] + _refusals(shown)
    columns = ["whole run (times in ms)", "mean ± 95 %", *names[1:], "n"]
    return Table("Distributions of successful requests", columns, rows, "; ".join(notes), numeric=True,
                 kind="distributions")  # fmt: skip


def _refusals(shown: list[tuple[str, Metric]]) -> list[str]:
    """Return why means have no interval, once for each kind of reason, and how much longer a run would have to be.

    A reason holds two numbers: the sample size, effective or one_line, and the one that an interval needs.
    """
    reasons: dict[str, dict[str, int]] = {}
    for label, metric in shown:
        if metric.n and (size := re.search(r"\d+", metric.refused.get("mean", ""))):
            kind = size.string.replace(size[0], "{}", 1)
            reasons.setdefault(kind, {})[label] = int(size[0])
    sentences = []
    for kind, sizes in reasons.items():
        least, most = min(sizes.values()), max(sizes.values())
        needed = re.search(r"\d+", kind)
        factor = int(needed[0]) / max(1, least) if needed else 0.0
        sentence = f"no ± for {', '.join(sizes)}: {kind.format(least if least == most else f'{least} to {most}')}"
        longer = f" (a run {math.ceil(factor)} times as long would have intervals for all)" if factor > 1 else ""
        sentences.append(sentence + longer)
    return sentences


def _cell(metric: Metric, figure: str) -> str:
    value = metric.at(figure)
    if figure != "mean":
        return number(value, metric.unit)
    interval = metric.ci95.get("mean")
    half = "" if interval is None else f" ± {number((interval[1] - interval[0]) / 2, metric.unit)}"
    return number(value, metric.unit) + half


def number(value: float | None, unit: str) -> str:
    """Format a value of a metric: seconds as milliseconds, counts as they are, about four digits; `-` for None."""
    if value is None:
        return "-"
    if unit == "s":
        value *= 1e3
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.2f}" if abs(value) < 1_000 else f"{value:.1f}"


def _groups(summary: Summary) -> Iterator[Table]:
    for kind, groups in summary.groups.items():
        columns = {"QPS": [_form(group.rates.get("qps"), "{:.4g}") for group in groups]}
        for label, (name, figure) in _GROUP_METRICS.items():
            metrics = [group.metrics.get(name) for group in groups]
            columns[label] = [number(getattr(m, figure), m.unit) if m else "-" for m in metrics]
        for label, (name, form) in _GROUP_RATES.items():
            columns[label] = [_form(group.rates.get(name), form) for group in groups]
        shown = {label: column for label, column in columns.items() if set(column) != {"-"}}
        rows = [[group.name, f"{group.requests:,}", *row] for group, *row in zip(groups, *shown.values(), strict=True)]
        title, note = _GROUPS.get(kind, (f"By {kind}", ""))
        yield Table(title, ["times in ms", "requests", *shown], rows, note, numeric=True, kind="group")


def _failures(summary: Summary) -> Table | None:
    rows = [[kind, f"{count:,}", one_line(message)] for kind, message, count in summary.failures]
    return Table("Failures", ["kind", "requests", "message"], rows, kind="failures") if rows else None


def _verdict(summary: Summary) -> Table | None:
    verdict = summary.verdict
    if verdict is None:
        return None
    rows = [[doubt.what, doubt.measured, doubt.limit, doubt.advice] for doubt in verdict.doubts]
    return Table(f"Check: {verdict.status}", ["doubt", "measured", "limit", "advice"], rows, _client(summary),
                 kind="verdict", tone=TONES[verdict.status])  # fmt: skip


def _client(summary: Summary) -> str:
    """Return how the client itself performed, in a line."""
    client, run = summary.client, summary.run
    figures = [
        ("loop lag p99", client.get("loop_lag_p99"), "{:.1f} ms", 1e3),
        ("send lag p99", client.get("send_lag_p99"), "{:.1f} ms", 1e3),
        ("client CPU", client.get("cpu_share"), "{:.0f} %", 1e2),
        ("wait for a core", client.get("run_queue_share"), "{:.1f} %", 1e2),
        ("Little's law ratio", summary.checks.get("little"), "{:.3f}", 1.0),
        ("events that share a read", summary.checks.get("shared_reads"), "{:.1f} %", 1e2),
    ]
    phrases = [f"{name} " + ("-" if v is None else form.format(v * scale)) for name, v, form, scale in figures]
    if len(workers := run.workers) > 1:
        phrases.append(f"worst of {len(workers)} processes")
    if run.ceiling is not None and run.ceiling.share is not None:
        at_most = "at most " if run.ceiling.lower_bound else ""
        phrases.append(f"{at_most}{run.ceiling.share:.0%} of this machine's maximum")
    return ", ".join(phrases)


# Headings of the checks that passed.
_HEAD = Finding("passed", None, "measured", "limit")


def check_text(summary: Summary) -> str:
    """Return the text of `loadstone check`: the verdict, its doubts with advice, then every check that passed."""
    found = examine(summary)
    doubts = [f"{doubt.severity}: {doubt.what}: {doubt.measured} (limit {doubt.limit}): {doubt.advice}"
              for doubt in found if doubt.severity is not None]  # fmt: skip
    passed = [_HEAD, *(finding for finding in found if finding.severity is None)]
    name_width, measured_width = (max(len(getattr(row, field)) for row in passed) for field in ("what", "measured"))
    rows = [f"{row.what:<{name_width}}  {row.measured:<{measured_width}}  {row.limit}" for row in passed]
    status = (summary.verdict or judge(summary)).status
    return "\n".join([status, *doubts, "", *rows]) + "\n"
