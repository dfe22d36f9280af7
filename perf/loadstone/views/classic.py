"""The table that llmuses and EvalScope print, with their names, so that old and new results can be laid side by side.

The names are theirs, the formulas ours (measure.py): latencies of successes only, tokens as the server counts them.
"""

from __future__ import annotations

from loadstone.records import Metric, Summary


def render(summary: Summary) -> str:
    rows = _rows(summary) + _percentiles(summary)
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    body = [f"| {key:<{widths[0]}} | {value:>{widths[1]}} |" for key, value in rows]
    return "\n".join([rule, f"| {'Key':<{widths[0]}} | {'Value':>{widths[1]}} |", rule, *body, rule]) + "\n"


def _rows(summary: Summary) -> list[tuple[str, str]]:
    counts, config = summary.counts, summary.run.get("config") or {}
    return [
        ("Time taken for tests (s)", _number(summary.duration)),
        ("Expected number of requests", _count(counts.expected)),
        ("Concurrency", _count(config.get("concurrency"))),
        ("Completed", _count(counts.completed)),
        ("Succeed", _count(counts.succeeded)),
        ("Failed", _count(counts.failed)),
        ("QPS", _number(summary.rates.get("qps"))),
        ("Latency (s)", _mean(summary, "latency")),
        ("Time to first token (s)", _mean(summary, "ttft")),
        ("Throughput (output tokens/s)", _number(summary.rates.get("output_throughput"))),
        ("Time per output token (s)", _mean(summary, "tpot")),
        ("Package per request", _mean(summary, "packets")),
        ("Time per package (s)", _mean(summary, "packet_time")),
        ("Input tokens per request", _mean(summary, "input_tokens")),
        ("Output tokens per request", _mean(summary, "output_tokens")),
    ]


def _percentiles(summary: Summary) -> list[tuple[str, str]]:
    shown = (("latency", "Latency"), ("ttft", "Time to first token"))
    return [
        (f"{label} {name} (s)", _number(getattr(summary.metrics.get(metric, Metric("s", 0)), name)))
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
