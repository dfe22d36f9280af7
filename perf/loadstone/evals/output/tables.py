"""The tables of an evaluation's report: tasks (with a chart), groups, leaderboard, metrics, data and settings.

Fractions are shown in per cent of all items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from loadstone.checks.finding import one_line
from loadstone.evals.scoring.intervals import has_own_scale
from loadstone.report.page import Axis, Block, Chart, Section, Series, Table
from loadstone.samples import Estimate, Evaluation, GroupResult, LeaderboardRow, MetricResult, TaskResult

# A chart with more tasks is not readable; a longer table of details is folded.
MOST_CHARTED, MOST_OPEN = 80, 12
OUTCOMES = ("right", "wrong", "unparsed", "truncated", "failed")
# Columns of llmuses' leaderboard, in its order; others follow.
COLUMNS = ("Humanities", "STEM", "SocialScience", "Other")


def task_blocks(tasks: Sequence[TaskResult]) -> Iterator[Block]:
    """Yield the table of all tasks, and a chart of several."""
    columns = ["task", "accuracy", "95 % interval", "std. error", "over answered", *OUTCOMES, "items", "passes", "mode",
               "template", "shots", "metric"]  # fmt: skip
    note = "accuracy: over all items; right to failed: fractions of all answers"
    figures = {(row, 1): (f"{task.task}.{task.figures[0].metric}", task.figures[0].all.value)
               for row, task in enumerate(tasks) if task.figures}  # fmt: skip
    yield Table("Tasks", columns, [_task_row(task) for task in tasks], note, numeric=True, figures=figures)
    scored = [task for task in tasks if task.figures]
    if 1 < len(scored) <= MOST_CHARTED:
        yield _accuracy_chart(scored)


def _task_row(task: TaskResult) -> list[str]:
    figure = task.figures[0] if task.figures else None
    cells = ["-"] * (4 + len(OUTCOMES))
    if figure:
        value, interval, answered = _figure_cells(figure)
        cells = [value, interval, _error_cell(figure), answered, *_outcome_cells(figure.outcomes)]
    template = f"{one_line(task.template, 40)} v{task.version:g}"
    about = [f"{task.items:,}", str(task.passes), task.mode, template, str(task.shots)]
    return [one_line(task.task), *cells, *about, figure.metric if figure else "-"]


def _error_cell(figure: MetricResult) -> str:
    factor = 1 if has_own_scale(figure.metric) else 100
    return "-" if figure.all.stderr is None else f"{factor * figure.all.stderr:.2f}"


def _figure_cells(figure: MetricResult) -> list[str]:
    """Return value, interval and value over the answered."""
    if has_own_scale(figure.metric):
        answered = f"{figure.answered.value:.2f}" if figure.answered else "-"
        return [f"{figure.all.value:.2f}", format_interval(figure.all, 1), answered]
    answered = percent(figure.answered.value) if figure.answered else "-"
    return [percent(figure.all.value), format_interval(figure.all), answered]


def _outcome_cells(outcomes: Mapping[str, int]) -> list[str]:
    total = sum(outcomes.values())
    return [percent(outcomes[name] / total) if total else "-" for name in OUTCOMES]


def _accuracy_chart(tasks: Sequence[TaskResult]) -> Chart:
    """Return the chart of the tasks' accuracy, with that over the answered beside it if any differs."""
    names = [one_line(task.task) for task in tasks]
    over_all = [task.figures[0].all for task in tasks]
    over_answered = [task.figures[0].answered for task in tasks]
    intervals = [estimate.interval for estimate in over_all]
    series = [Series(
        "over all items", names, [100 * estimate.value for estimate in over_all], "points",
        low=[100 * interval[0] if interval else None for interval in intervals],
        high=[100 * interval[1] if interval else None for interval in intervals],
    )]  # fmt: skip
    if any(one is None or one.n < all_.n for one, all_ in zip(over_answered, over_all, strict=True)):
        values = [100 * estimate.value if estimate else None for estimate in over_answered]
        series.append(Series("over the answered", names, values, "points", role="muted"))
    return Chart(title="Accuracy by task", x=Axis("task"), y=Axis("accuracy", "%"), series=series,
                 note="bars: 95 % intervals", height=420)  # fmt: skip


def group_table(evaluation: Evaluation) -> Table:
    """Return the table of groups."""
    columns = ["group", "tasks", "items", "micro", "95 % interval", "macro", "95 % interval", "over answered",
               *OUTCOMES, "mode"]  # fmt: skip
    note = "micro: mean over all items of its tasks; macro: mean over the tasks, with equal weights"
    rows = [_group_row(group, answer_modes(group.tasks, evaluation.tasks)) for group in evaluation.groups]
    return Table("Groups", columns, rows, note, numeric=True)


def _group_row(group: GroupResult, mode: str) -> list[str]:
    means = [percent(group.micro.value), format_interval(group.micro), percent(group.macro.value),
             format_interval(group.macro)]  # fmt: skip
    answered = percent(group.answered.value) if group.answered else "-"
    counts = [str(len(group.tasks)), f"{group.items:,}"]
    return [one_line(group.name), *counts, *means, answered, *_outcome_cells(group.outcomes), mode]


def leaderboard_table(evaluation: Evaluation) -> Table:
    """Return the rows of llmuses' leaderboard."""
    used = {column for row in evaluation.leaderboard for column in row.columns}
    names = [*(column for column in COLUMNS if column in used), *sorted(used - set(COLUMNS))]
    modes = {group.name: answer_modes(group.tasks, evaluation.tasks) for group in evaluation.groups}
    rows = [
        [*_leaderboard_row(evaluation.model, row, names), modes.get(row.name, "-")] for row in evaluation.leaderboard
    ]
    columns = ["model", "benchmark", *names, "WeightedAvg", "Avg", "Target", "Delta", "mode"]
    note = "WeightedAvg: mean over all items; Avg: mean over the subjects; Target: official score; Delta: WeightedAvg "
    return Table("Leaderboard", columns, rows, note + "less Target", numeric=True)


def _leaderboard_row(model: str, row: LeaderboardRow, names: Sequence[str]) -> list[str]:
    cells = [percent(row.columns[name]) if name in row.columns else "-" for name in names]
    delta = "-" if row.delta is None else f"{100 * row.delta:+.2f} points"
    target = "-" if row.target is None else percent(row.target)
    return [one_line(model, 60), row.name, *cells, percent(row.weighted), percent(row.mean), target, delta]


def metric_sections(tasks: Sequence[TaskResult]) -> Iterator[Section]:
    """Yield all metrics and filters of tasks with more than one, and the results of several passes."""
    columns = [
        "task",
        "metric",
        "filter",
        "value",
        "standard error",
        "95 % interval",
        "method",
        "over answered",
        "unparsed",
    ]
    rows = [_metric_row(task, figure) for task in tasks if len(task.figures) > 1 for figure in task.figures]
    if rows:
        table = Table("Metrics and filters", columns, rows)
        yield Section("Metrics and filters", [table], folded=len(rows) > MOST_OPEN)
    rows = [[one_line(task.task), name, percent(estimate.value), format_interval(estimate), estimate.method]
            for task in tasks for name, estimate in task.at.items()]  # fmt: skip
    if rows:
        note = "avg@k: mean; pass@k: at least one of k is right; maj@k: the majority answer is right"
        table = Table("Several passes", ["task", "", "value", "95 % interval", "method"], rows, note)
        yield Section("Several passes", [table])


def _metric_row(task: TaskResult, figure: MetricResult) -> list[str]:
    value, interval, answered = _figure_cells(figure)
    unparsed = figure.outcomes["unparsed"]
    return [one_line(task.task), figure.metric, one_line(figure.filter, 60), value, _error_cell(figure), interval,
            figure.all.method, answered, f"{unparsed:,}"]  # fmt: skip


def data_section(evaluation: Evaluation) -> Iterator[Section]:
    """Yield what the figures were computed from: templates, data files with hashes, request settings, the sandbox."""
    templates = [[one_line(task.task), one_line(task.title, 200), one_line(task.template, 200), f"{task.version:g}"]
                 for task in evaluation.tasks]  # fmt: skip
    tables = [Table("Templates", ["task", "title", "template", "version"], templates)]
    files = [[one_line(task), one_line(name, 100), digest] for task, digests in evaluation.data.items()
             for name, digest in digests.items()]  # fmt: skip
    if files:
        tables.append(Table("Data", ["task", "file", "sha256"], files))
    settings = []
    for task, values in evaluation.settings.items():
        if values:
            settings.append(
                [one_line(task), one_line(", ".join(f"{name}={value!r}" for name, value in values.items()), 300)]
            )
    if settings:
        tables.append(Table("Sent with each request", ["task", ""], settings))
    if sandbox := evaluation.confined:
        rows = [["confined by", ", ".join(sandbox["by"])], ["still possible", ", ".join(sandbox["open"]) or "-"]]
        tables.append(Table("Programs that the model wrote", ["", ""], rows, "docs/code-answers.md"))
    yield Section("Data and settings", tables, folded=True)


def answer_modes(names: Sequence[str], tasks: Sequence[TaskResult]) -> str:
    """Return the answer modes of the named tasks."""
    return " and ".join(dict.fromkeys(task.mode for task in tasks if task.task in names))


def percent(value: float) -> str:
    """Format a fraction, as `67.45%`."""
    return f"{100 * value:.2f}%"


def format_interval(estimate: Estimate, factor: float = 100) -> str:
    """Format an interval, as `67.45 to 72.39`; in per cent unless another factor is given."""
    if estimate.interval is None:
        return "-"
    return f"{factor * estimate.interval[0]:.2f} to {factor * estimate.interval[1]:.2f}"
