"""The tables and the chart of an evaluation's report: tasks, groups, leaderboard, metrics, what they stand on. Pure.

Shares are in per cent of all items asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from loadstone.checks.finding import one_line
from loadstone.evals.scoring.intervals import has_own_scale
from loadstone.report.page import Axis, Block, Chart, Section, Series, Table
from loadstone.samples import Estimate, Evaluation, GroupResult, LeaderboardRow, MetricResult, TaskResult

# Tasks in a chart; rows of a table of details that is open from the start.
MOST_CHARTED, MOST_OPEN = 80, 12
OUTCOMES = ("right", "wrong", "unparsed", "truncated", "failed")
# Of llmuses' leaderboard, in its order; others follow.
COLUMNS = ("Humanities", "STEM", "SocialScience", "Other")


def task_blocks(tasks: Sequence[TaskResult]) -> Iterator[Block]:
    columns = ["task", "accuracy", "95 % interval", "std. error", "over answered", *OUTCOMES, "items", "passes", "mode",
               "template", "shots", "metric"]  # fmt: skip
    note = "accuracy: over all items; right to failed: shares of all answers"
    figures = {(row, 1): (f"{each.task}.{each.figures[0].metric}", each.figures[0].all.value)
               for row, each in enumerate(tasks) if each.figures}  # fmt: skip
    yield Table("Tasks", columns, [_task(each) for each in tasks], note, numeric=True, figures=figures)
    charted = [each for each in tasks if each.figures]
    if 1 < len(charted) <= MOST_CHARTED:
        yield _chart(charted)


def _task(each: TaskResult) -> list[str]:
    figure = each.figures[0] if each.figures else None
    told = [*_with_error(figure), *_shares(figure.outcomes)] if figure else ["-"] * (4 + len(OUTCOMES))
    about = [f"{each.items:,}", str(each.passes), each.mode, _template(each), str(each.shots)]
    return [one_line(each.task), *told, *about, figure.metric if figure else "-"]


def _with_error(figure: MetricResult) -> list[str]:
    value, interval, answered = _figure(figure)
    return [value, interval, _error(figure), answered]


def _error(figure: MetricResult) -> str:
    times = 1 if has_own_scale(figure.metric) else 100
    return "-" if figure.all.stderr is None else f"{times * figure.all.stderr:.2f}"


def _template(each: TaskResult) -> str:
    return f"{one_line(each.template, 40)} v{each.version:g}"


def _figure(figure: MetricResult) -> list[str]:
    if has_own_scale(figure.metric):
        answered = f"{figure.answered.value:.2f}" if figure.answered else "-"
        return [f"{figure.all.value:.2f}", format_interval(figure.all, 1), answered]
    return [
        percent(figure.all.value),
        format_interval(figure.all),
        percent(figure.answered.value) if figure.answered else "-",
    ]


def _shares(outcomes: Mapping[str, int]) -> list[str]:
    total = sum(outcomes.values())
    return [percent(outcomes[name] / total) if total else "-" for name in OUTCOMES]


def _chart(tasks: Sequence[TaskResult]) -> Chart:
    """With the figure over the answered beside it, where there is any that differs."""
    names = [one_line(each.task) for each in tasks]
    found, answered = [each.figures[0].all for each in tasks], [each.figures[0].answered for each in tasks]
    sure = [each.interval for each in found]
    series = [Series(
        "over all items", names, [100 * each.value for each in found], "points",
        low=[100 * each[0] if each else None for each in sure], high=[100 * each[1] if each else None for each in sure],
    )]  # fmt: skip
    if any(one is None or one.n < all_.n for one, all_ in zip(answered, found, strict=True)):
        values = [100 * each.value if each else None for each in answered]
        series.append(Series("over the answered", names, values, "points", role="muted"))
    return Chart(title="Accuracy by task", x=Axis("task"), y=Axis("accuracy", "%"), series=series,
                 note="bars: 95 % intervals", height=420)  # fmt: skip


def group_table(evaluation: Evaluation) -> Table:
    columns = ["group", "tasks", "items", "micro", "95 % interval", "macro", "95 % interval", "over answered",
               *OUTCOMES, "mode"]  # fmt: skip
    note = "micro: over all items of its tasks; macro: mean of the tasks, each counting as one"
    rows = [_group(group, answer_modes(group.tasks, evaluation.tasks)) for group in evaluation.groups]
    return Table("Groups", columns, rows, note, numeric=True)


def _group(group: GroupResult, mode: str) -> list[str]:
    means = [
        percent(group.micro.value),
        format_interval(group.micro),
        percent(group.macro.value),
        format_interval(group.macro),
    ]
    answered = percent(group.answered.value) if group.answered else "-"
    counts = [str(len(group.tasks)), f"{group.items:,}"]
    return [one_line(group.name), *counts, *means, answered, *_shares(group.outcomes), mode]


def leaderboard_table(evaluation: Evaluation) -> Table:
    found = {column for row in evaluation.leaderboard for column in row.columns}
    names = [*(column for column in COLUMNS if column in found), *sorted(found - set(COLUMNS))]
    by_group = {group.name: answer_modes(group.tasks, evaluation.tasks) for group in evaluation.groups}
    rows = [[*_standing(evaluation.model, row, names), by_group.get(row.name, "-")] for row in evaluation.leaderboard]
    columns = ["model", "benchmark", *names, "WeightedAvg", "Avg", "Target", "Delta", "mode"]
    note = "WeightedAvg: over all items; Avg: of the subjects; Target: the official score; Delta: WeightedAvg to it"
    return Table("Leaderboard", columns, rows, note, numeric=True)


def _standing(model: str, row: LeaderboardRow, names: Sequence[str]) -> list[str]:
    cells = [percent(row.columns[name]) if name in row.columns else "-" for name in names]
    delta = "-" if row.delta is None else f"{100 * row.delta:+.2f} points"
    target = "-" if row.target is None else percent(row.target)
    return [one_line(model, 60), row.name, *cells, percent(row.weighted), percent(row.mean), target, delta]


def metric_sections(tasks: Sequence[TaskResult]) -> Iterator[Section]:
    """All metrics and filters, where a task has more than one; and what several passes come to."""
    columns = [
        "task",
        "metric",
        "filter",
        "value",
        "standard error",
        "95 % interval",
        "by",
        "over answered",
        "unparsed",
    ]
    rows = [_one(each, figure) for each in tasks if len(each.figures) > 1 for figure in each.figures]
    if rows:
        table = Table("Metrics and filters", columns, rows)
        yield Section("Metrics and filters", [table], folded=len(rows) > MOST_OPEN)
    rows = [[one_line(each.task), name, percent(found.value), format_interval(found), found.method]
            for each in tasks for name, found in each.at.items()]  # fmt: skip
    if rows:
        note = "avg@k: mean; pass@k: one of k is right; maj@k: what most say is right"
        table = Table("Several passes", ["task", "", "value", "95 % interval", "by"], rows, note)
        yield Section("Several passes", [table])


def _one(each: TaskResult, figure: MetricResult) -> list[str]:
    value, interval, answered = _figure(figure)
    unparsed = figure.outcomes["unparsed"]
    return [one_line(each.task), figure.metric, one_line(figure.filter, 60), value, _error(figure), interval,
            figure.all.method, answered, f"{unparsed:,}"]  # fmt: skip


def data_section(evaluation: Evaluation) -> Iterator[Section]:
    """What the figures stand on, to the byte."""
    rows = [[one_line(task), one_line(name, 100), digest] for task, files in evaluation.data.items()
            for name, digest in files.items()]  # fmt: skip
    asked = [[one_line(each.task), one_line(each.title, 200), one_line(each.template, 200), f"{each.version:g}"]
             for each in evaluation.tasks]  # fmt: skip
    sent = [[one_line(task), ", ".join(f"{name}={value!r}" for name, value in settings.items())]
            for task, settings in evaluation.settings.items() if settings]  # fmt: skip
    tables = [Table("Templates", ["task", "title", "template", "version"], asked)]
    tables += [Table("Data", ["task", "file", "sha256"], rows)] if rows else []
    tables += (
        [Table("Sent with each request", ["task", ""], [[task, one_line(text, 300)] for task, text in sent])]
        if sent
        else []
    )
    if found := evaluation.confined:
        rows = [["confined by", ", ".join(found["by"])], ["still possible", ", ".join(found["open"]) or "-"]]
        tables.append(Table("Programs that the model wrote", ["", ""], rows, "docs/code-answers.md"))
    yield Section("Data and settings", tables, folded=True)


def answer_modes(names: Sequence[str], judged: Sequence[TaskResult]) -> str:
    """How the tasks of a group were answered."""
    return " and ".join(dict.fromkeys(each.mode for each in judged if each.task in names))


def percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def format_interval(found: Estimate, times: float = 100) -> str:
    """`67.45 to 72.39`, in per cent."""
    return "-" if found.interval is None else f"{times * found.interval[0]:.2f} to {times * found.interval[1]:.2f}"
