"""What a report shows to people, as tables of ready text: the terminal and Markdown views draw the same ones."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from typing import Any

from loadstone.checks.finding import Finding, one_line
from loadstone.checks.rules import examine, judge
from loadstone.report import server_tables
from loadstone.report.page import Table
from loadstone.summary import Metric, Summary, Window

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
    "cached_tokens": "cached input tokens",
    "wait": "wait before sending",
    "connect": "connecting",
}
RATES = {
    "qps": ("QPS (successes)", "{:.4g} /s"),
    "request_rate": ("request rate sent", "{:.4g} /s"),
    "output_throughput": ("output throughput", "{:,.1f} tokens/s"),
    "total_throughput": ("total throughput", "{:,.1f} tokens/s"),
    "concurrency": ("concurrency, mean", "{:.2f}"),
    "peak_concurrency": ("concurrency, peak", "{:.0f}"),
    "error_rate": ("error rate", "{:.2%}"),
    "cached_share": ("cached input tokens", "{:.1%}"),
}


_GROUPS = {
    "stage": ("By stage", "requests: those that arrived in it; rates: what the server carried meanwhile"),
    "turn": ("By turn of the conversation", ""),
    "model": ("By model", ""),
    "server": ("By server", ""),
    "input": ("By input tokens", "successes alone: of a failure the server does not tell its input"),
}
_GROUP_COLUMNS = {
    "QPS": ("qps", "{:.4g}"),
    "TTFT mean": ("ttft", "mean"),
    "TTFT p50": ("ttft", "p50"),
    "TTFT p99": ("ttft", "p99"),
    "TPOT mean": ("tpot", "mean"),
    "latency p50": ("latency", "p50"),
    "latency p99": ("latency", "p99"),
    "output/s": ("output_throughput", "{:,.1f}"),
    "cached": ("cached_share", "{:.1%}"),
    "errors": ("error_rate", "{:.2%}"),
    "SLOs met": ("attainment", "{:.1%}"),
}


def tables(summary: Summary) -> list[Table]:
    """The whole report, verdict last."""
    first = [_requests(summary), _rates(summary), _objectives(summary), _metrics(summary)]
    parts = [*first, *_groups(summary), *server_tables.tables(summary.server), _failures(summary), _verdict(summary)]
    return [part for part in parts if part is not None]


def _requests(summary: Summary) -> Table:
    c, run, sources = summary.counts, summary.run, summary.sources
    config = run.get("config") or {}
    expected = "-" if c.expected is None else f"{c.expected:,}"
    url = config.get("url") or ("in this process" if config.get("model") else "-")
    models = run.get("models") or [run.get("model") or "-"]
    places = ", ".join(url) if isinstance(url, list) else url
    server = f"{places}, model {' and '.join(models)}, {config.get('api') or '-'}"
    around = [
        f"{count:,} more to {what}" for count, what in ((c.warmup, "warm up"), (c.cooldown, "cool down")) if count
    ]
    rows = [
        ["server", one_line(server)],
        ["load", _load(summary)],
        ["duration", "-" if summary.duration is None else f"{summary.duration:.2f} s, ended: {_ended(run)}"],
        ["requests", f"{c.completed:,} completed of {expected}" + (f" ({', '.join(around)})" if around else "")],
        ["succeeded", f"{c.succeeded:,}"],
        ["failed", f"{c.failed:,}" + (f", {c.stopped:,} cut off at the end" if c.stopped else "")],
        ["held back", _held_back(run)],
        ["made again", f"{c.retried:,} attempts that had failed, in no other figure" if c.retried else ""],
        ["resent", f"{c.resent:,} on a new connection, as the server had closed the idle one" if c.resent else ""],
        ["cancelled", f"{c.cancelled:,} by the client, on purpose" if c.cancelled else ""],
        [
            "abandoned",
            f"{c.abandoned:,} later turns were not sent, as the turn before had no answer" if c.abandoned else "",
        ],
        ["not sent", f"{late:,} later turns, as the run had ended" if (late := run.get("unsent_turns")) else ""],
        ["tokens counted by", f"input: {sources.get('input', '-')}, output: {sources.get('output', '-')}"],
    ]
    return Table("Run", ["", ""], [row for row in rows if row[1]])


def _ended(run: dict[str, Any]) -> str:
    because = run.get("ended_because")
    return (run.get("ended") or "-") + (f" ({one_line(because, 400)})" if because else "")


def _load(summary: Summary) -> str:
    run = summary.run
    config = run.get("config") or {}
    most = _most(config)
    cap = (f", at most {config['concurrency']} in flight" if config.get("concurrency") else "") + most
    if config.get("rate"):
        return f"{config['rate']:g} requests/s, {config.get('arrivals')}{cap}"
    if config.get("stages"):
        return f"stages {config['stages']}{cap}"
    if config.get("arrivals") == "replay":
        return f"recorded times, speed {config.get('speed') or 1:g}{cap}"
    return f"{config['concurrency']} in flight{most}" if config.get("concurrency") else "-"


def _most(config: dict[str, Any]) -> str:
    """The limits a minute."""
    told = (("rpm", "requests"), ("tpm", "tokens"))
    return "".join(f", at most {config[name]:,.6g} {what} a minute" for name, what in told if config.get(name))


def _held_back(run: dict[str, Any]) -> str:
    held = run.get("held_back") or {}
    if not held.get("requests"):
        return ""
    mean = held["seconds"] / held["requests"]
    return f"{held['requests']:,} by the limits a minute, {mean:.3g} s on average before they were wanted"


def _rates(summary: Summary) -> Table:
    steady = summary.steady
    windows = [("whole run", summary.rates), ("steady", steady.rates if steady else {})]
    rows: list[list[str]] = []
    figures: dict[tuple[int, int], tuple[str, float]] = {}
    for name, (label, form) in RATES.items():
        cells = [rates.get(name) for _, rates in windows]
        if any(cell is not None for cell in cells):
            places = [(len(rows), 1), (len(rows), 2)], [f"rates.{name}", f"steady.rates.{name}"]
            figures |= {at: (key, cell) for at, key, cell in zip(*places, cells, strict=True) if cell is not None}
            rows.append([label, *(_form(cell, form) for cell in cells)])
    return Table("Rates", ["", *(title for title, _ in windows)], rows, _span(steady), numeric=True, figures=figures)


def _span(steady: Window | None) -> str:
    if steady is None:
        return ""
    return f"steady: {steady.start:.2f} s to {steady.end:.2f} s, at or above 80 % of the peak number in flight"


def _objectives(summary: Summary) -> Table | None:
    """What was asked of the server, and the share of the judged requests that met it: one by one, and together."""
    slos: dict[str, float] = (summary.run.get("config") or {}).get("goodput") or {}
    if not slos or not summary.metrics:
        return None
    rates = [summary.rates, summary.steady.rates if summary.steady else {}]
    shares = {
        LABELS.get(name, name): (_limit(summary, name, limit), f"attainment.{name}") for name, limit in slos.items()
    }
    shares["all together"] = ("", "attainment")
    rows = [
        [label, limit, *(_form(window.get(key), "{:.1%}") for window in rates)]
        for label, (limit, key) in shares.items()
    ]
    rows.append(["goodput", "", *(_form(window.get("goodput"), "{:.4g} /s") for window in rates)])
    note = f"of {summary.counts.completed:,} requests judged; a failure meets none"
    return Table("Objectives", ["", "limit", "met, whole run", "steady"], rows, note, numeric=True)


def _limit(summary: Summary, name: str, limit: float) -> str:
    unit = summary.metrics[name].unit if name in summary.metrics else "s"
    return f"{limit * 1e3:g} ms" if unit == "s" else f"{limit:g}"


def _form(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _metrics(summary: Summary) -> Table | None:
    shown = [(label, summary.metrics[name]) for name, label in LABELS.items() if name in summary.metrics]
    rows = [
        [label, *(_cell(metric, column) for column in _COLUMNS), f"{metric.n:,}"] for label, metric in shown if metric.n
    ]
    if not rows:
        return None
    notes = [f"{label}: {metric.note}" for label, metric in shown if metric.note] + _refusals(shown)
    columns = ["whole run (ms, or as named)", "mean ± 95 %", *_COLUMNS[1:], "n"]
    return Table("Distributions of successful requests", columns, rows, "; ".join(notes), numeric=True)


def _refusals(shown: list[tuple[str, Metric]]) -> list[str]:
    """Why means have no interval, each kind of reason once, and what would help; the first number in it is how many
    values there are, or as how many they count, and the second how many it takes."""
    reasons: dict[str, dict[str, int]] = {}
    for label, metric in shown:
        if metric.n and (found := re.search(r"\d+", metric.refused.get("mean", ""))):
            kind = found.string.replace(found[0], "{}", 1)
            reasons.setdefault(kind, {})[label] = int(found[0])
    return [f"no ± for {', '.join(told)}: {kind.format(_range(told.values()))}{_longer(kind, told.values())}"
            for kind, told in reasons.items()]  # fmt: skip


def _longer(kind: str, counts: Collection[int]) -> str:
    needed = re.search(r"\d+", kind)
    factor = int(needed[0]) / max(1, min(counts)) if needed else 0.0
    return f" (a run {math.ceil(factor)} times as long would have them all)" if factor > 1 else ""


def _range(counts: Collection[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least}" if least == most else f"{least} to {most}"


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


def _groups(summary: Summary) -> Iterator[Table]:
    for kind, parts in summary.groups.items():
        cells = {label: [_of(part, *place) for part in parts] for label, place in _GROUP_COLUMNS.items()}
        shown = {label: column for label, column in cells.items() if set(column) != {"-"}}
        rows = [[part.name, f"{part.requests:,}", *row] for part, *row in zip(parts, *shown.values(), strict=True)]
        title, note = _GROUPS.get(kind, (f"By {kind}", ""))
        yield Table(title, ["times in ms", "requests", *shown], rows, note, numeric=True)


def _of(part: Window, name: str, what: str) -> str:
    """A figure of a metric or, where `what` is a form, a rate."""
    if "{" in what:
        return _form(part.rates.get(name), what)
    metric = part.metrics.get(name)
    return "-" if metric is None else number(getattr(metric, what), metric.unit)


def _failures(summary: Summary) -> Table | None:
    rows = [[kind, f"{count:,}", one_line(message)] for kind, message, count in summary.failures]
    return Table("Failures", ["kind", "requests", "first words"], rows) if rows else None


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
    shown = [f"{name} " + ("-" if v is None else form.format(v * scale)) for name, v, form, scale in parts]
    return ", ".join([*shown, *_machine(summary.run)])


def _machine(run: dict[str, Any]) -> Iterator[str]:
    """How much of this machine the run took, where that is known."""
    if len(workers := run.get("workers") or ()) > 1:
        yield f"the worst of {len(workers)} processes"
    told = run.get("ceiling") or {}
    if told.get("share") is not None:
        yield f"{'at most ' if told.get('lower_bound') else ''}{told['share']:.0%} of this machine's ceiling"


_HEAD = Finding("in order", None, "measured", "limit")


def check_text(summary: Summary) -> str:
    """Return the text of `loadstone check`: the verdict, its doubts with advice, then every check that passed."""
    found = examine(summary)
    doubts = [f"{doubt.severity}: {doubt.what}: {doubt.measured} (limit {doubt.limit}): {doubt.advice}"
              for doubt in found if doubt.severity is not None]  # fmt: skip
    innocent = [_HEAD, *(finding for finding in found if finding.severity is None)]
    wide = [max(len(getattr(finding, name)) for finding in innocent) for name in ("what", "measured")]
    rows = [f"{row.what:<{wide[0]}}  {row.measured:<{wide[1]}}  {row.limit}" for row in innocent]
    status = (summary.verdict or judge(summary)).status
    return "\n".join([status, *doubts, "", *rows]) + "\n"
