"""The report of several runs of one load: the figures over the runs, and the runs."""

from __future__ import annotations

from loadstone.compare.repeats import Repeats
from loadstone.report.page import Axis, Block, Chart, Page, Prose, Section, Series, Table
from loadstone.report.run_tables import LABELS, number

_NOTE = (
    "± 95 %: of the mean over the runs, by Student's t. Between runs: standard deviation of one run. "
    "Within: the standard deviation expected from chance within a run alone."
)
_CHARTED = ("ttft.mean", "ttft.p99", "tpot.mean", "output_throughput", "qps")


def page(repeats: Repeats, title: str) -> Page:
    """Return the table of repeats as a page."""
    figures = [Section("Figures", [_figures(repeats), *_charts(repeats)])] if repeats.figures else []
    return Page(title, _lead(repeats), [*figures, Section("Runs", [_runs(repeats)])])


def _lead(repeats: Repeats) -> Prose:
    counted = [run for run in repeats.runs if run.counts]
    count = len(counted)

    # Remarks on single runs.
    left_out = [run.name for run in repeats.runs if not run.counts]
    invalid = [run.name for run in counted if run.verdict == "invalid"]
    doubted = [run.name for run in counted if run.verdict not in (None, "valid")]
    remarks = f" Run {', '.join(left_out)} did not end as planned and is left out." if left_out else ""
    if invalid:
        remarks += f" Run {', '.join(invalid)} is invalid: the figures are the client's as much as the server's."
    elif doubted:
        remarks += f" Not valid: run {', '.join(doubted)}."

    # Whether the runs differ by more than chance within each.
    if count < 2:
        whole = "1 complete run" if count else "no complete run"
        return Prose(f"There is {whole}, so the spread between runs is unknown.{remarks}", "doubt")
    if not any(figure.within for figure in repeats.figures):
        return Prose(f"{count} runs; how much of their spread is chance is unknown.{remarks}")
    wide = [figure for figure in repeats.figures if figure.remark]
    if wide:
        names = ", ".join(_label(figure.name) for figure in wide)
        text = f"Over {count} runs, the intervals of a single run are too narrow for {names}: {wide[0].remark}."
        return Prose(f"{text} Use the intervals here.{remarks}", "doubt")
    metrics = dict.fromkeys(figure.name.partition(".")[0] for figure in repeats.figures if "." in figure.name)
    known = {figure.name.partition(".")[0] for figure in repeats.figures if figure.within is not None}
    unknown = [_label(metric) for metric in metrics if metric not in known]
    text = f"{count} runs differ by no more than chance within each explains"
    if unknown:
        text += f", where that is known; for the spread of {', '.join(unknown)} it is unknown"
    return Prose(f"{text}.{remarks}", "doubt" if doubted or unknown else "good")


def _label(name: str) -> str:
    metric, _, stat = name.partition(".")
    return f"{LABELS.get(metric, metric.replace('_', ' '))} {stat}".strip()


def _figures(repeats: Repeats) -> Table:
    rows = []
    for figure in repeats.figures:
        half = None if figure.ci95 is None else (figure.ci95[1] - figure.ci95[0]) / 2
        cells = [number(value, figure.unit) for value in (figure.mean, half, figure.between, figure.within)]
        rows.append([_label(figure.name), *cells, figure.remark or ""])
    columns = ["times in ms", "mean", "± 95 %", "between runs", "within", "remark"]
    return Table("Over the runs", columns, rows, _NOTE, numeric=False)


def _runs(repeats: Repeats) -> Table:
    counted = [run.name for run in repeats.runs if run.counts]
    shown = [figure for figure in repeats.figures if figure.name in _CHARTED]
    rows = []
    for run in repeats.runs:
        cells = [number(figure.values[counted.index(run.name)], figure.unit) if run.counts else "-" for figure in shown]
        seed = "-" if run.seed is None else str(run.seed)
        rows.append([run.name, seed, run.verdict or "-", run.ended or "-",
                     f"{run.succeeded:,}", f"{run.failed:,}", *cells])  # fmt: skip
    columns = ["run", "seed", "check", "ended", "succeeded", "failed", *(_label(figure.name) for figure in shown)]
    return Table("Runs", columns, rows)


def _charts(repeats: Repeats) -> list[Block]:
    """Return a chart of the figures run by run, relative to their mean, for two runs or more."""
    counted = [run.name for run in repeats.runs if run.counts]
    shown = [figure for figure in repeats.figures if figure.name in _CHARTED and figure.mean]
    if len(counted) < 2 or not shown:
        return []
    series = [
        Series(_label(figure.name), counted, [100 * (value / figure.mean - 1) for value in figure.values], "linepoints")
        for figure in shown
    ]
    return [Chart(title="Run by run", x=Axis("run"), y=Axis("from the mean", "%"), series=series)]
