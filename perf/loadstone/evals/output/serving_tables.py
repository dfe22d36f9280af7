"""What stands beside accuracy in the report of an evaluation: serving figures of its runs and whether to believe them,
accuracy by how long an answer took and how it ended, tokens and their cost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from loadstone.checks.finding import one_line
from loadstone.report.page import Axis, Block, Chart, Prose, Series, Table
from loadstone.report.run_tables import number
from loadstone.samples import Estimate, EvalCost
from loadstone.summary import Metric, Summary

_FIGURES = (("ttft", "mean", "TTFT mean"), ("ttft", "p50", "p50"), ("ttft", "p99", "p99"),
            ("tpot", "mean", "TPOT mean"),
            ("latency", "mean", "latency mean"), ("latency", "p50", "p50"), ("latency", "p99", "p99"))  # fmt: skip
# Kinds of failures that are shown.
MOST = 8
_TONES = {"valid": "good", "suspect": "doubt", "invalid": "bad"}


class AnswerBin(Struct, frozen=True, kw_only=True):
    """Answers that are alike in something: how many were right, of those that were judged."""

    name: str
    right: Estimate
    count: int


def serving_blocks(runs: Mapping[str, Summary]) -> Iterator[Block]:
    """A row a run. An evaluation that was taken up again has several."""
    yield from _verdicts(runs)
    columns = ["run", "requests", "failed", "duration, s", *(label for *_, label in _FIGURES), "QPS", "output tokens/s",
               "concurrency", "check"]  # fmt: skip
    rows = [_run(name, summary) for name, summary in runs.items()]
    yield Table("Serving", columns, rows, "times in ms; failed: without an answer", numeric=True)
    if found := [(count, name, kind, said) for name, summary in runs.items()
                 for kind, said, count in summary.failures if kind != "empty"]:  # fmt: skip
        yield _failures(found)


def _failures(found: Sequence[tuple[int, str, str, str]]) -> Table:
    """What was said when no answer came, the most frequent first; an empty answer is one."""
    rows = [
        [name, kind, f"{count:,}", one_line(said)] for count, name, kind, said in sorted(found, reverse=True)[:MOST]
    ]
    left = f"; {len(found) - MOST:,} more kinds stand in the reports of the runs" if len(found) > MOST else ""
    return Table("Failures", ["run", "kind", "requests", "what was said"], rows, f"by run{left}")


def _verdicts(runs: Mapping[str, Summary]) -> Iterator[Prose]:
    for name, summary in runs.items():
        if (verdict := summary.verdict) is None:
            continue
        doubts = "; ".join(f"{doubt.what}: {doubt.measured}" for doubt in verdict.doubts)
        said = f"Run {name}: timings are {verdict.status}" + (f" ({one_line(doubts, 300)})." if doubts else ".")
        tone = _TONES[verdict.status]
        yield Prose(said, "good" if tone == "good" else "doubt" if tone == "doubt" else "bad")


def _run(name: str, summary: Summary) -> list[str]:
    counts, rates = summary.counts, summary.rates
    figures = [_point(summary.metrics.get(metric), point) for metric, point, _ in _FIGURES]
    return [
        name,
        f"{counts.completed:,}",
        f"{counts.failed - counts.empty:,}",
        "-" if summary.duration is None else f"{summary.duration:,.1f}",
        *figures,
        *(_rate(rates.get(rate)) for rate in ("qps", "output_throughput", "concurrency")),
        summary.verdict.status if summary.verdict else "-",
    ]


def _point(metric: Metric | None, point: str) -> str:
    return "-" if metric is None else number(getattr(metric, point), metric.unit)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"


def breakdown_blocks(latency: Sequence[AnswerBin], finish: Sequence[AnswerBin]) -> Iterator[Block]:
    if latency:
        yield _bins("By latency", "latency", latency, "quarters of the answers that came, from quick to slow")
        yield _chart(latency)
    if finish:
        yield _bins("By how it ended", "finish reason", finish, "as the server says")


def _bins(title: str, first: str, bins: Sequence[AnswerBin], note: str) -> Table:
    rows = [
        [one_line(each.name), f"{each.count:,}", f"{100 * each.right.value:.2f}%", _ends(each.right)] for each in bins
    ]
    return Table(title, [first, "answers", "right", "95 % interval"], rows, note, numeric=True)


def _ends(found: Estimate) -> str:
    return "-" if found.interval is None else f"{100 * found.interval[0]:.2f} to {100 * found.interval[1]:.2f}"


def _chart(bins: Sequence[AnswerBin]) -> Chart:
    sure = [each.right.interval for each in bins]
    series = Series(
        "right", [each.name for each in bins], [100 * each.right.value for each in bins], "points",
        low=[100 * each[0] if each else None for each in sure], high=[100 * each[1] if each else None for each in sure],
    )  # fmt: skip
    return Chart(title="Right answers by latency", x=Axis("latency"), y=Axis("right", "%"),
                 series=[series], note="bars: 95 % intervals", height=280)  # fmt: skip


def token_table(found: EvalCost) -> Table:
    rows = [["input tokens", f"{found.input_tokens:,}"], ["of these cached", f"{found.cached_tokens:,}"],
            ["output tokens", f"{found.output_tokens:,}"]]  # fmt: skip
    rows += [["cost", f"{found.cost:,.4f}"]] if found.cost is not None else []
    note = "of all requests, failures and retries too, as far as the server told"
    note += f"; it told nothing of {found.untold:,}" if found.untold else ""
    return Table("Tokens", ["", ""], rows, note, numeric=True)
