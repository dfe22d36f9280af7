"""Several runs of one load, as a page: the figures over the runs, and the runs."""

from __future__ import annotations

from loadstone.compare.repeats import Figure, Repeats
from loadstone.report.page import Axis, Block, Chart, Page, Prose, Section, Series, Table
from loadstone.report.run_tables import LABELS, number

_NOTE = (
    "± 95 %: of the mean over the runs, by Student's t. Between runs: standard deviation of one run. "
    "Within: what it would be if chance within a run were all."
)
_CHARTED = ("ttft.mean", "ttft.p99", "tpot.mean", "output_throughput", "qps")


def page(repeats: Repeats, title: str) -> Page:
    figures = [Section("Figures", [_figures(repeats), *_charts(repeats)])] if repeats.figures else []
    return Page(title, _lead(repeats), [*figures, Section("Runs", [_runs(repeats)])])


def _lead(repeats: Repeats) -> Prose:
    told = sum(once.counts for once in repeats.runs)
    out = [once.name for once in repeats.runs if not once.counts]
    left = f" Run {', '.join(out)} did not end as planned and is left out." if out else ""
    if invalid := [once.name for once in repeats.runs if once.counts and once.verdict == "invalid"]:
        left += f" Run {', '.join(invalid)} is invalid: the figures are the client's as much as the server's."
    doubted = [once.name for once in repeats.runs if once.counts and once.verdict not in (None, "valid")]
    left += f" Not valid: run {', '.join(doubted)}." if doubted and not invalid else ""
    if told < 2:
        whole = "1 whole run" if told else "no whole run"
        return Prose(f"There is {whole}, and no spread between runs to tell.{left}", "doubt")
    wide = [figure for figure in repeats.figures if figure.remark]
    if not any(figure.within for figure in repeats.figures):
        return Prose(f"{told} runs, none of which knows how much of their spread is chance.{left}")
    if not wide:
        unknown = _unknown(repeats)
        of = f", of what is known; no run knows how much of the spread of {', '.join(unknown)} is chance"
        text = f"{told} runs differ by no more than chance within each explains{of if unknown else ''}.{left}"
        return Prose(text, "doubt" if doubted or unknown else "good")
    names = ", ".join(_label(figure.name) for figure in wide)
    text = f"Over {told} runs, intervals of a single run understate what {names} may be: {wide[0].remark}."
    return Prose(f"{text} Go by the intervals here.{left}", "doubt")


def _unknown(repeats: Repeats) -> list[str]:
    """Distributions of which no run has an interval."""
    known = {figure.name.partition(".")[0] for figure in repeats.figures if figure.within is not None}
    found = (figure.name.partition(".")[0] for figure in repeats.figures if "." in figure.name)
    return [_label(metric) for metric in dict.fromkeys(found) if metric not in known]


def _label(name: str) -> str:
    metric, _, point = name.partition(".")
    return f"{LABELS.get(metric, metric.replace('_', ' '))} {point}".strip()


def _figures(repeats: Repeats) -> Table:
    rows = [_row(figure) for figure in repeats.figures]
    columns = ["times in ms", "mean", "± 95 %", "between runs", "within", "remark"]
    return Table("Over the runs", columns, rows, _NOTE, numeric=False)


def _row(figure: Figure) -> list[str]:
    half = None if figure.ci95 is None else (figure.ci95[1] - figure.ci95[0]) / 2
    cells = [number(value, figure.unit) for value in (figure.mean, half, figure.between, figure.within)]
    return [_label(figure.name), *cells, figure.remark or ""]


def _runs(repeats: Repeats) -> Table:
    told = [once.name for once in repeats.runs if once.counts]
    shown = [figure for figure in repeats.figures if figure.name in _CHARTED]
    rows = []
    for once in repeats.runs:
        cells = [number(figure.values[told.index(once.name)], figure.unit) if once.counts else "-" for figure in shown]
        seed = "-" if once.seed is None else str(once.seed)
        rows.append([once.name, seed, once.verdict or "-", once.ended or "-",
                     f"{once.succeeded:,}", f"{once.failed:,}", *cells])  # fmt: skip
    columns = ["run", "seed", "check", "ended", "succeeded", "failed", *(_label(figure.name) for figure in shown)]
    return Table("Runs", columns, rows)


def _charts(repeats: Repeats) -> list[Block]:
    """Each figure run by run, against its mean, where there is more than one run."""
    told = [once.name for once in repeats.runs if once.counts]
    shown = [figure for figure in repeats.figures if figure.name in _CHARTED and figure.mean]
    if len(told) < 2 or not shown:
        return []
    series = [
        Series(_label(figure.name), told, [100 * (value / figure.mean - 1) for value in figure.values], "linepoints")
        for figure in shown
    ]
    return [Chart(title="Run by run", x=Axis("run"), y=Axis("from the mean", "%"), series=series)]
