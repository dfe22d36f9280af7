"""The table of llmuses and EvalScope, with their names, to compare new results with old ones.

The names are theirs, the formulas ours (metrics/measure.py): latencies of successes only, tokens as the server counts.
"""

from __future__ import annotations

from loadstone.summary import Metric, Summary

Row = tuple[str, str, str]


def render(summary: Summary) -> str:
    rows = [("Key", "Value", "Unit"), *_rows(summary), *_percentiles(summary)]
    key, value, unit = (max(len(row[i]) for row in rows) for i in range(3))
    rule = "+" + "+".join("-" * (width + 2) for width in (key, value, unit)) + "+"
    head, *body = (f"| {row[0]:<{key}} | {row[1]:>{value}} | {row[2]:<{unit}} |" for row in rows)
    return "\n".join([rule, head, rule, *body, rule]) + "\n"


def _rows(summary: Summary) -> list[Row]:
    counts = summary.counts
    return [
        ("Time taken", _number(summary.duration), "s"),
        ("Expected number of requests", _count(counts.expected), ""),
        ("Concurrency", _count(summary.run.config.concurrency), ""),
        ("Completed", _count(counts.completed), ""),
        ("Succeed", _count(counts.succeeded), ""),
        ("Failed", _count(counts.failed), ""),
        ("QPS", _number(summary.rates.get("qps")), "1/s"),
        ("Latency", _mean(summary, "latency"), "s"),
        ("Time to first token", _mean(summary, "ttft"), "s"),
        ("Throughput", _number(summary.rates.get("output_throughput")), "output tokens/s"),
        ("Time per output token", _mean(summary, "tpot"), "s"),
        ("Package per request", _mean(summary, "packets"), ""),
        ("Time per package", _mean(summary, "packet_time"), "s"),
        ("Input tokens per request", _mean(summary, "input_tokens"), ""),
        ("Output tokens per request", _mean(summary, "output_tokens"), ""),
    ]


def _percentiles(summary: Summary) -> list[Row]:
    shown = (("latency", "Latency"), ("ttft", "Time to first token"))
    return [
        (f"{label} {name}", _number(getattr(summary.metrics.get(metric, Metric("s", 0)), name)), "s")
        for metric, label in shown
        for name in ("p50", "p90", "p95", "p99")
    ]


def _mean(summary: Summary, name: str) -> str:
    metric = summary.metrics.get(name)
    return _number(metric.mean if metric else None)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value < 100 else f"{value:.2f}"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)
