"""sweep.csv: a row for each run of a sweep: settings, counts, rates, metrics with their intervals, and verdict.

Plain numbers in base units, empty where unknown. A point that was not run, or could not be, is a row too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from loadstone.config.schema import flag
from loadstone.summary import Summary
from loadstone.sweep.pareto import pareto_front, pareto_point, per_user
from loadstone.sweep.points import MeasuredPoint, Sweep
from loadstone.text import write_rows

METRICS = ("ttft", "ttft_scheduled", "ttfat", "latency", "latency_scheduled", "tpot", "gap", "itl",
           "packets", "packet_time", "input_tokens", "output_tokens", "cached_tokens", "wait", "connect")  # fmt: skip
STATS = ("mean", "p50", "p90", "p95", "p99")
# Columns with the rates in them. The requested concurrency has a column of its own, among the settings.
RATES = {
    **{name: name for name in ("qps", "request_rate", "output_throughput", "input_throughput", "total_throughput")},
    "in_flight": "concurrency",
    "peak_in_flight": "peak_concurrency",
    **{name: name for name in ("error_rate", "cached_share", "goodput", "attainment")},
}
COUNTS = ("expected", "completed", "succeeded", "failed", "empty", "stopped", "cancelled")


def render(sweep: Sweep) -> str:
    """Return the table as CSV."""
    return write_rows(columns(sweep), _rows(sweep))


def columns(sweep: Sweep) -> list[str]:
    """Return the heads: `point`, `run`, the settings by their flags, --metadata, then what was measured.

    `ttft_p99_low` and `ttft_p99_high` are the ends of the 95 % interval.
    """
    ends = [f"{stat}{end}" for stat in STATS for end in ("", "_low", "_high")]
    figures = [f"{metric}_{end}" for metric in METRICS for end in ("n", *ends)]
    settings = [flag(name) for name in sweep.grid.varied]
    settings += [f"metadata.{name}" for name in _metadata(sweep)]
    judged = ["tokens_per_user", "tokens_per_gpu", "pareto", "verdict", "doubts"]
    return ["point", "run", *settings, "status", *COUNTS, "duration", *RATES, *figures, *judged]


def status(point: MeasuredPoint, summary: Summary | None) -> str:
    """Return how a run ended, or why there is none."""
    if summary is not None:
        return str(summary.run.ended)
    return f"failed: {point.failed}" if point.failed else "not run"


def _metadata(sweep: Sweep) -> dict[str, str]:
    """Return what --metadata says of all points."""
    metadata: dict[str, str] = sweep.grid.config.get("metadata") or {}
    return metadata


def _rows(sweep: Sweep) -> Iterator[list[Any]]:
    gpus = sweep.grid.gpus
    best = {one.name for one in pareto_front([pareto_point(point, gpus) for point in sweep.points])}
    for point in sweep.points:
        settings = [point.settings.get(name) for name in sweep.grid.varied]
        cells = [
            msgspec.json.encode(value).decode() if isinstance(value, dict | list | bool) else value
            for value in settings
        ]
        cells += _metadata(sweep).values()
        for number, summary in enumerate(point.runs or [None], 1):
            head = [point.name, number if summary else None, *cells, status(point, summary)]
            tail = _measured(summary, gpus, point.name in best) if summary else []
            yield head + (tail or [None] * (len(columns(sweep)) - len(head)))


def _measured(summary: Summary, gpus: int | None, best: bool) -> list[Any]:
    verdict, total = summary.verdict, summary.rates.get("output_throughput")
    figures: list[Any] = []
    for metric in map(summary.metrics.get, METRICS):
        figures.append(metric.n if metric else None)
        for stat in STATS:
            figures.append(getattr(metric, stat) if metric else None)
            figures.extend((metric.ci95.get(stat) if metric else None) or (None, None))
    return [
        *(getattr(summary.counts, name) for name in COUNTS),
        summary.duration,
        *(summary.rates.get(name) for name in RATES.values()),
        *figures,
        per_user(summary),
        total / gpus if gpus and total is not None else None,
        int(best),
        verdict.status if verdict else None,
        "; ".join(doubt.what for doubt in verdict.doubts) if verdict else None,
    ]
