"""sweep.csv: a row a run of a sweep, with its settings, counts, rates, distributions with their intervals, and verdict.

Plain numbers in base units, empty where there is none. A point that was not run, or could not be, is a row too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from loadstone.config.schema import flag
from loadstone.summary import Metric, Summary
from loadstone.sweep.pareto import pareto_front, pareto_point, per_user
from loadstone.sweep.points import MeasuredPoint, Sweep
from loadstone.text import write_rows

METRICS = ("ttft", "ttft_scheduled", "ttfat", "latency", "latency_scheduled", "tpot", "gap", "itl",
           "packets", "packet_time", "input_tokens", "output_tokens", "cached_tokens", "wait", "connect")  # fmt: skip
FIGURES = ("mean", "p50", "p90", "p95", "p99")
# Columns, and the rates that stand in them: the concurrency asked for has a column of its own.
RATES = {
    **{name: name for name in ("qps", "request_rate", "output_throughput", "input_throughput", "total_throughput")},
    "in_flight": "concurrency",
    "peak_in_flight": "peak_concurrency",
    **{name: name for name in ("error_rate", "cached_share", "goodput", "attainment")},
}
COUNTS = ("expected", "completed", "succeeded", "failed", "empty", "stopped", "cancelled")


def render(sweep: Sweep) -> str:
    return write_rows(columns(sweep), _rows(sweep))


def columns(sweep: Sweep) -> list[str]:
    """`point`, `run`, the settings by their flags, then what was measured; `ttft_p99_low` and `_high` are 95 % ends."""
    figures = [f"{metric}_{end}" for metric in METRICS for end in ("n", *_ends())]
    settings = [flag(name) for name in sweep.grid.varied]
    judged = ["tokens_per_user", "tokens_per_gpu", "pareto", "verdict", "doubts"]
    return ["point", "run", *settings, "status", *COUNTS, "duration", *RATES, *figures, *judged]


def status(point: MeasuredPoint, summary: Summary | None) -> str:
    """`done`, how else it ended, or why there is none."""
    if summary is not None:
        return str(summary.run.get("ended"))
    return f"failed: {point.failed}" if point.failed else "not run"


def _ends() -> Iterator[str]:
    for figure in FIGURES:
        yield from (figure, f"{figure}_low", f"{figure}_high")


def _rows(sweep: Sweep) -> Iterator[list[Any]]:
    gpus, best = (
        sweep.grid.gpus,
        {one.name for one in pareto_front([pareto_point(p, sweep.grid.gpus) for p in sweep.points])},
    )
    for point in sweep.points:
        settings = [_cell(point.settings.get(name)) for name in sweep.grid.varied]
        for number, summary in enumerate(point.runs or [None], 1):
            head = [point.name, number if summary else None, *settings, status(point, summary)]
            yield head + (_measured(summary, gpus, point.name in best) if summary else _nothing())


def _nothing() -> list[Any]:
    return [None] * (len(COUNTS) + 1 + len(RATES) + len(METRICS) * (1 + 3 * len(FIGURES)) + 5)


def _measured(summary: Summary, gpus: int | None, best: bool) -> list[Any]:
    verdict, total = summary.verdict, summary.rates.get("output_throughput")
    return [
        *(getattr(summary.counts, name) for name in COUNTS),
        summary.duration,
        *(summary.rates.get(name) for name in RATES.values()),
        *(cell for name in METRICS for cell in _figures(summary.metrics.get(name))),
        per_user(summary),
        total / gpus if gpus and total is not None else None,
        int(best),
        verdict.status if verdict else None,
        "; ".join(doubt.what for doubt in verdict.doubts) if verdict else None,
    ]


def _figures(metric: Metric | None) -> Iterator[Any]:
    yield metric.n if metric else None
    for figure in FIGURES:
        yield getattr(metric, figure) if metric else None
        yield from (metric.ci95.get(figure) if metric else None) or (None, None)


def _cell(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list | bool) else value
