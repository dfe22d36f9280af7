"""The parts of an evaluation's report that are not about accuracy alone: serving figures of its runs and their checks,
accuracy by latency and by finish reason, tokens and their cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from loadstone.checks.finding import one_line
from loadstone.evals.output.tables import format_interval
from loadstone.records import FailureCause
from loadstone.report.page import Axis, Block, Chart, Prose, Series, Table, Tone
from loadstone.report.run_tables import number
from loadstone.samples import Estimate, EvalCost
from loadstone.summary import Summary

# Columns of the serving table: metric, statistic, heading.
_FIGURES = (("ttft", "mean", "TTFT mean"), ("ttft", "p50", "p50"), ("ttft", "p99", "p99"),
            ("tpot", "mean", "TPOT mean"),
            ("latency", "mean", "latency mean"), ("latency", "p50", "p50"), ("latency", "p99", "p99"))  # fmt: skip
_RATES = ("qps", "output_throughput", "concurrency")
# Kinds of failures that are shown.
MAX_FAILURES = 8
_TONES: dict[str, Tone] = {"valid": "good", "suspect": "doubt", "invalid": "bad"}


class AnswerBin(Struct, frozen=True, kw_only=True):
    """Answers with a common property, such as their finish reason.

    right: estimate of the fraction that is right. count: answers that were scored.
    """

    name: str
    right: Estimate
    count: int


def serving_blocks(runs: Mapping[str, Summary]) -> Iterator[Block]:
    """Yield the verdict and the figures of each run, and its failures. An evaluation that was resumed has several."""
    for name, summary in runs.items():
        if (verdict := summary.verdict) is not None:
            doubts = "; ".join(f"{doubt.what}: {doubt.measured}" for doubt in verdict.doubts)
            sentence = f"Run {name}: timings are {verdict.status}" + (f" ({one_line(doubts, 300)})." if doubts else ".")
            yield Prose(sentence, _TONES[verdict.status])
    columns = ["run", "requests", "failed", "duration, s", *(label for *_, label in _FIGURES), "QPS", "output tokens/s",
               "concurrency", "check"]  # fmt: skip
    rows = [_run_row(name, summary) for name, summary in runs.items()]
    yield Table("Serving", columns, rows, "times in ms; failed: without an answer", numeric=True)
    # Failures by kind and message, the most frequent first; an empty answer is an answer.
    failures = [
        (count, name, kind, message)
        for name, summary in runs.items()
        for kind, message, count in summary.failures
        if kind != FailureCause.EMPTY
    ]
    if failures:
        shown = sorted(failures, reverse=True)[:MAX_FAILURES]
        rows = [[name, kind, f"{count:,}", one_line(message)] for count, name, kind, message in shown]
        left = len(failures) - MAX_FAILURES
        note = f"by run; {left:,} more kinds are in the reports of the runs" if left > 0 else "by run"
        yield Table("Failures", ["run", "kind", "requests", "message"], rows, note)


def _run_row(name: str, summary: Summary) -> list[str]:
    counts = summary.counts
    figures = []
    for metric_name, statistic, _ in _FIGURES:
        metric = summary.metrics.get(metric_name)
        figures.append("-" if metric is None else number(getattr(metric, statistic), metric.unit))
    rates = [summary.rates.get(rate) for rate in _RATES]
    return [
        name,
        f"{counts.completed:,}",
        f"{counts.failed - counts.empty:,}",
        "-" if summary.duration is None else f"{summary.duration:,.1f}",
        *figures,
        *("-" if rate is None else f"{rate:,.4g}" for rate in rates),
        summary.verdict.status if summary.verdict else "-",
    ]


def breakdown_blocks(latency: Sequence[AnswerBin], finish: Sequence[AnswerBin]) -> Iterator[Block]:
    """Yield accuracy by latency, as a table and a chart, and by finish reason."""
    if latency:
        yield _bin_table("By latency", "latency", latency, "quarters of the answers, from fast to slow")
        intervals = [each.right.interval for each in latency]
        series = Series(
            "right",
            [each.name for each in latency],
            [100 * each.right.value for each in latency],
            "points",
            low=[100 * interval[0] if interval else None for interval in intervals],
            high=[100 * interval[1] if interval else None for interval in intervals],
        )
        yield Chart(title="Right answers by latency", x=Axis("latency"), y=Axis("right", "%"), series=[series],
                    note="bars: 95 % intervals", height=280)  # fmt: skip
    if finish:
        yield _bin_table("By finish reason", "finish reason", finish, "as reported by the server")


def _bin_table(title: str, column: str, bins: Sequence[AnswerBin], note: str) -> Table:
    rows = [
        [one_line(each.name), f"{each.count:,}", f"{100 * each.right.value:.2f}%", format_interval(each.right)]
        for each in bins
    ]
    return Table(title, [column, "answers", "right", "95 % interval"], rows, note, numeric=True)


def token_table(cost: EvalCost) -> Table:
    """Return the table of tokens and, with prices, their cost."""
    rows = [["input tokens", f"{cost.input_tokens:,}"], ["of these cached", f"{cost.cached_tokens:,}"],
            ["output tokens", f"{cost.output_tokens:,}"]]  # fmt: skip
    if cost.cost is not None:
        rows.append(["cost", f"{cost.cost:,.4f}"])
    note = "of all requests, with failures and retries, as reported by the server"
    if cost.untold:
        note += f"; it reported no usage for {cost.untold:,} requests"
    return Table("Tokens", ["", ""], rows, note, numeric=True)
