"""What a report shows to people, as tables of ready text: the terminal and Markdown views draw the same ones."""

from __future__ import annotations

from msgspec import Struct

from loadstone.records import Metric, Summary, Window

_COLUMNS = ["mean", "p50", "p90", "p95", "p99", "max"]
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
    "wait": "wait before sending",
    "connect": "connecting",
}
_RATES = {
    "qps": ("QPS (successes)", "{:.4g} /s"),
    "request_rate": ("request rate sent", "{:.4g} /s"),
    "output_throughput": ("output throughput", "{:,.1f} tokens/s"),
    "total_throughput": ("total throughput", "{:,.1f} tokens/s"),
    "concurrency": ("concurrency, mean", "{:.2f}"),
    "peak_concurrency": ("concurrency, peak", "{:.0f}"),
    "error_rate": ("error rate", "{:.2%}"),
    "cached_share": ("cached input tokens", "{:.1%}"),
    "goodput": ("goodput", "{:.4g} /s"),
    "attainment": ("SLO attainment", "{:.1%}"),
}


class Table(Struct, frozen=True):
    """A titled table; `rows` are as wide as `columns`, cells are text; `numeric`: all but the first hold numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""
    numeric: bool = False


def tables(summary: Summary) -> list[Table]:
    """The whole report, verdict last."""
    parts = [_requests(summary), _rates(summary), _metrics(summary), _failures(summary), _verdict(summary)]
    return [part for part in parts if part is not None]


def _requests(summary: Summary) -> Table:
    c, run, sources = summary.counts, summary.run, summary.sources
    config = run.get("config") or {}
    expected = "-" if c.expected is None else f"{c.expected:,}"
    server = f"{config.get('url') or '-'}, model {run.get('model') or '-'}, {config.get('api') or '-'}"
    rows = [
        ["server", _line(server)],
        ["load", _load(summary)],
        [
            "duration",
            "-" if summary.duration is None else f"{summary.duration:.2f} s, ended: {run.get('ended') or '-'}",
        ],
        ["requests", f"{c.completed:,} completed of {expected} ({c.warmup:,} more to warm up)"],
        ["succeeded", f"{c.succeeded:,}"],
        ["failed", f"{c.failed:,}" + (f", {c.stopped:,} cut off at the end" if c.stopped else "")],
        ["tokens counted by", f"input: {sources.get('input', '-')}, output: {sources.get('output', '-')}"],
    ]
    return Table("Run", ["", ""], rows)


def _load(summary: Summary) -> str:
    config = summary.run.get("config") or {}
    if config.get("rate"):
        cap = f", at most {config['concurrency']} in flight" if config.get("concurrency") else ""
        return f"{config['rate']:g} requests/s, {config.get('arrivals')}{cap}"
    return f"{config['concurrency']} in flight" if config.get("concurrency") else "-"


def _rates(summary: Summary) -> Table:
    steady = summary.steady
    windows = [("whole run", summary.rates), ("steady", steady.rates if steady else {})]
    rows = []
    for name, (label, form) in _RATES.items():
        cells = [rates.get(name) for _, rates in windows]
        if any(cell is not None for cell in cells):
            rows.append([label, *("-" if cell is None else form.format(cell) for cell in cells)])
    return Table("Rates", ["", *(title for title, _ in windows)], rows, _span(steady), numeric=True)


def _span(steady: Window | None) -> str:
    if steady is None:
        return ""
    return f"steady: {steady.start:.2f} s to {steady.end:.2f} s, at or above 80 % of the peak number in flight"


def _metrics(summary: Summary) -> Table | None:
    shown = [(label, summary.metrics[name]) for name, label in LABELS.items() if name in summary.metrics]
    rows = [
        [label, *(_cell(metric, column) for column in _COLUMNS), f"{metric.n:,}"] for label, metric in shown if metric.n
    ]
    if not rows:
        return None
    notes = [f"{label}: {metric.note}" for label, metric in shown if metric.note]
    columns = ["whole run (ms, or as named)", "mean ± 95 %", *_COLUMNS[1:], "n"]
    return Table("Distributions of successful requests", columns, rows, "; ".join(notes), numeric=True)


def _cell(metric: Metric, column: str) -> str:
    value = getattr(metric, column)
    if column != "mean":
        return number(value, metric.unit)
    interval = metric.ci95.get("mean")
    half = "" if interval is None else f" ± {number((interval[1] - interval[0]) / 2, metric.unit)}"
    return number(value, metric.unit) + half


def number(value: float | None, unit: str) -> str:
    """Times in milliseconds, counts as they are; four figures or so; `-` for what is not known."""
    if value is None:
        return "-"
    if unit == "s":
        value *= 1e3
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.2f}" if abs(value) < 1_000 else f"{value:.1f}"


def _failures(summary: Summary) -> Table | None:
    rows = [[kind, f"{count:,}", _line(message)] for kind, message, count in summary.failures]
    return Table("Failures", ["kind", "requests", "first words"], rows) if rows else None


def _line(text: str) -> str:
    """One printable line: servers put all kinds of things into error messages."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= 160 else text[:157] + "..."


def _verdict(summary: Summary) -> Table | None:
    verdict = summary.verdict
    if verdict is None:
        return None
    rows = [[doubt.what, doubt.measured, doubt.limit, doubt.advice] for doubt in verdict.doubts]
    return Table(f"Check: {verdict.status}", ["doubt", "measured", "limit", "advice"], rows, _client(summary))


def _client(summary: Summary) -> str:
    client, little = summary.client, summary.checks.get("little")
    parts = [
        ("loop lag p99", client.get("loop_lag_p99"), "{:.1f} ms", 1e3),
        ("send lag p99", client.get("send_lag_p99"), "{:.1f} ms", 1e3),
        ("client CPU", client.get("cpu_share"), "{:.0f} %", 1e2),
        ("wait for a core", client.get("run_queue_share"), "{:.1f} %", 1e2),
        ("Little's law ratio", little, "{:.3f}", 1.0),
        ("events sharing a read", summary.checks.get("shared_reads"), "{:.1f} %", 1e2),
    ]
    return ", ".join(f"{name} " + ("-" if v is None else form.format(v * scale)) for name, v, form, scale in parts)
