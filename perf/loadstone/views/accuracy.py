"""The report of an evaluation, as a page: what the model got right and how sure that is, what is no fault of the model,
and how the server did meanwhile.

Pure. Every row names how the answers were had, and by which template. Shares are in per cent of all items asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from loadstone.accuracy import scaled
from loadstone.finding import plain
from loadstone.records import Summary
from loadstone.samples import Estimate, Evaluation, Figure, Grouped, Standing, Tallied
from loadstone.views import accuracy_serving
from loadstone.views.accuracy_serving import Bin, Spent
from loadstone.views.page import Axis, Block, Chart, Page, Prose, Section, Series, Table

LOUD = 0.01
"""From this share on, answers that failed or were cut make a figure doubtful."""
FEW, MOST_CHARTED, MOST_OPEN = 3, 80, 12
"""Benchmarks told in the lead; tasks in a chart; rows of a table of details that is open from the start."""
SHARES = ("right", "wrong", "unparsed", "truncated", "failed")
COLUMNS = ("Humanities", "STEM", "SocialScience", "Other")
"""Of llmuses' leaderboard, in its order; others follow."""
_READING = (
    "right: the headline metric is met. wrong: the answer ended properly and is not right, also when it is empty. "
    "unparsed: it ended, but nothing in it can be held against the target. truncated: cut at its length limit, and "
    "not right. failed: no answer came, which says nothing of the model.",
    "accuracy: mean over all items, those that failed count as 0, as in lm-eval. over answered: over the answers that "
    "came and came whole (right, wrong, unparsed).",
    "95 % interval: Wilson's where each item is right or wrong; Student's t over items where repeats or parts are "
    "averaged; over clusters where items share a passage. It tells how far chance in the choice of items may move the "
    "figure, not whether the items suit (docs/accuracy.md).",
)


class Meanwhile(Struct, frozen=True, kw_only=True):
    """How the server did while it answered. `runs`: by name; `latency`, `finish`: accuracy of the answers by how long
    they took and by how they ended."""

    runs: Mapping[str, Summary] = {}
    spent: Spent | None = None
    latency: Sequence[Bin] = ()
    finish: Sequence[Bin] = ()


def page(evaluation: Evaluation, meanwhile: Meanwhile | None = None, remarks: Sequence[Prose] = ()) -> Page:
    """`remarks`: what is to be said before everything else."""
    title = f"Evaluation of {plain(evaluation.model, 100)}"
    judged = [each for each in evaluation.tasks if each.figures]
    sections = [
        Section("Tasks", [*remarks, *_warnings(judged), *_tasks(evaluation.tasks)]),
        *([Section("Groups", [_groups(evaluation)])] if evaluation.groups else []),
        *([Section("Leaderboard", [_standings(evaluation)])] if evaluation.leaderboard else []),
        *_further(judged),
        *_meanwhile(meanwhile),
        Section("How to read this", [Prose(text) for text in _READING]),
        *_data(evaluation),
    ]
    return Page(title, lead(evaluation), sections)


def leaderboard(evaluation: Evaluation) -> Page:
    """The row of llmuses' report alone."""
    title = f"Leaderboard: {plain(evaluation.model, 100)}"
    if not evaluation.leaderboard:
        text = "No row: only benchmarks whose subjects are sorted into fields have one, such as mmlu and ceval."
        return Page(title, Prose(text, "doubt"), [])
    return Page(title, lead(evaluation), [Section("Leaderboard", [_standings(evaluation)])])


def lead(evaluation: Evaluation) -> Prose:
    """What it comes to: the accuracy of each benchmark, then what stands against it."""
    judged = [each for each in evaluation.tasks if each.figures]
    if not judged:
        count = sum(each.items for each in evaluation.tasks)
        return Prose(f"{count:,} items were asked and their answers kept; nothing was judged.", "doubt")
    told = _headlines(evaluation, judged)
    more = f" {len(told) - FEW} more are below." if len(told) > FEW else ""
    bad = _loud(judged)
    text = " ".join(told[:FEW]) + more + "".join(f"\n{sentence}" for sentence in bad)
    return Prose(text, "bad" if bad else "good")


def _headlines(evaluation: Evaluation, judged: Sequence[Tallied]) -> list[str]:
    """Of benchmarks with groups the outermost, then tasks in none."""
    inner = {name for group in evaluation.groups for name in group.tasks}
    outer = [group for group in evaluation.groups
             if not any(set(group.tasks) < set(other.tasks) for other in evaluation.groups)]  # fmt: skip
    told = [_headline(group.title, group.micro, group.items, _modes(group.tasks, judged)) for group in outer]
    return told + [_headline(each.title, each.figures[0].all, each.items, each.mode)
                   for each in judged if each.task not in inner]  # fmt: skip


def _headline(title: str, found: Estimate, items: int, mode: str) -> str:
    sure = f", 95 % interval {ends(found)}" if found.interval else ""
    return f"{plain(title)}: {percent(found.value)} of {items:,} items by {mode}{sure}."


def _modes(names: Sequence[str], judged: Sequence[Tallied]) -> str:
    return " and ".join(dict.fromkeys(each.mode for each in judged if each.task in names))


def _loud(judged: Sequence[Tallied]) -> list[str]:
    """What hides how good the model is."""
    total = sum(sum(each.figures[0].outcomes.values()) for each in judged)
    counts = {name: sum(each.figures[0].outcomes[name] for each in judged) for name in SHARES}
    said = []
    if counts["failed"] > LOUD * total:
        said.append(f"{_of(counts['failed'], total)} failed: no answer came, which says nothing of the model. See the "
                    "figures over the answered, and run the same command again to ask only those.")  # fmt: skip
    if counts["truncated"] > LOUD * total:
        said.append(f"{_of(counts['truncated'], total)} were cut at their length limit: the model may have known. Give "
                    "more tokens with --output-len.")  # fmt: skip
    if counts["unparsed"] > LOUD * total:
        said.append(f"{_of(counts['unparsed'], total)} ended without anything that could be read as an answer: the "
                    "form may be at fault, not what the model knows. Look at some, and try `loadstone score "
                    "--extractor`, which asks nothing again.")  # fmt: skip
    return said


def _of(count: int, total: int) -> str:
    return f"{count:,} of {total:,} answers ({percent(count / total)})"


def _warnings(judged: Sequence[Tallied]) -> Iterator[Prose]:
    """Of single tasks, where there are several; and what the scorers choked on."""
    for each in judged:
        outcomes = each.figures[0].outcomes
        total = sum(outcomes.values())
        loud = [f"{percent(outcomes[name] / total)} {name}" for name in ("truncated", "failed", "unparsed")
                if outcomes[name] > 10 * LOUD * total]  # fmt: skip
        if loud and len(judged) > 1:
            yield Prose(f"{plain(each.title)}: {', '.join(loud)}.", "bad")
        for note, count in each.notes.items():
            times = "once" if count == 1 else f"{count:,} times"
            yield Prose(
                f"{plain(each.title)}: a scorer could not judge an answer, {times}: {plain(note, 120)}", "doubt"
            )


def _tasks(tasks: Sequence[Tallied]) -> Iterator[Block]:
    columns = ["task", "accuracy", "95 % interval", "std. error", "over answered", *SHARES, "items", "passes", "mode",
               "template", "shots", "metric"]  # fmt: skip
    note = "accuracy: over all items; right to failed: shares of all answers"
    figures = {(row, 1): (f"{each.task}.{each.figures[0].metric}", each.figures[0].all.value)
               for row, each in enumerate(tasks) if each.figures}  # fmt: skip
    yield Table("Tasks", columns, [_task(each) for each in tasks], note, numeric=True, figures=figures)
    charted = [each for each in tasks if each.figures]
    if 1 < len(charted) <= MOST_CHARTED:
        yield _chart(charted)


def _task(each: Tallied) -> list[str]:
    figure = each.figures[0] if each.figures else None
    told = [*_with_error(figure), *_shares(figure.outcomes)] if figure else ["-"] * (4 + len(SHARES))
    about = [f"{each.items:,}", str(each.passes), each.mode, _template(each), str(each.shots)]
    return [plain(each.task), *told, *about, figure.metric if figure else "-"]


def _with_error(figure: Figure) -> list[str]:
    value, interval, answered = _figure(figure)
    return [value, interval, _error(figure), answered]


def _error(figure: Figure) -> str:
    times = 1 if scaled(figure.metric) else 100
    return "-" if figure.all.stderr is None else f"{times * figure.all.stderr:.2f}"


def _template(each: Tallied) -> str:
    return f"{plain(each.template, 40)} v{each.version:g}"


def _figure(figure: Figure) -> list[str]:
    if scaled(figure.metric):
        answered = f"{figure.answered.value:.2f}" if figure.answered else "-"
        return [f"{figure.all.value:.2f}", ends(figure.all, 1), answered]
    return [percent(figure.all.value), ends(figure.all), percent(figure.answered.value) if figure.answered else "-"]


def _shares(outcomes: Mapping[str, int]) -> list[str]:
    total = sum(outcomes.values())
    return [percent(outcomes[name] / total) if total else "-" for name in SHARES]


def _chart(tasks: Sequence[Tallied]) -> Chart:
    """With the figure over the answered beside it, where there is any that differs."""
    names = [plain(each.task) for each in tasks]
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


def _groups(evaluation: Evaluation) -> Table:
    columns = ["group", "tasks", "items", "micro", "95 % interval", "macro", "95 % interval", "over answered", *SHARES,
               "mode"]  # fmt: skip
    note = "micro: over all items of its tasks; macro: mean of the tasks, each counting as one"
    rows = [_group(group, _modes(group.tasks, evaluation.tasks)) for group in evaluation.groups]
    return Table("Groups", columns, rows, note, numeric=True)


def _group(group: Grouped, modes: str) -> list[str]:
    means = [percent(group.micro.value), ends(group.micro), percent(group.macro.value), ends(group.macro)]
    answered = percent(group.answered.value) if group.answered else "-"
    counts = [str(len(group.tasks)), f"{group.items:,}"]
    return [plain(group.name), *counts, *means, answered, *_shares(group.outcomes), modes]


def _standings(evaluation: Evaluation) -> Table:
    found = {column for row in evaluation.leaderboard for column in row.columns}
    names = [*(column for column in COLUMNS if column in found), *sorted(found - set(COLUMNS))]
    modes = {group.name: _modes(group.tasks, evaluation.tasks) for group in evaluation.groups}
    rows = [[*_standing(evaluation.model, row, names), modes.get(row.name, "-")] for row in evaluation.leaderboard]
    columns = ["model", "benchmark", *names, "WeightedAvg", "Avg", "Target", "Delta", "mode"]
    note = "WeightedAvg: over all items; Avg: of the subjects; Target: the official score; Delta: WeightedAvg to it"
    return Table("Leaderboard", columns, rows, note, numeric=True)


def _standing(model: str, row: Standing, names: Sequence[str]) -> list[str]:
    cells = [percent(row.columns[name]) if name in row.columns else "-" for name in names]
    delta = "-" if row.delta is None else f"{100 * row.delta:+.2f} points"
    target = "-" if row.target is None else percent(row.target)
    return [plain(model, 60), row.name, *cells, percent(row.weighted), percent(row.mean), target, delta]


def _further(tasks: Sequence[Tallied]) -> Iterator[Section]:
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
    rows = [[plain(each.task), name, percent(found.value), ends(found), found.method]
            for each in tasks for name, found in each.at.items()]  # fmt: skip
    if rows:
        note = "avg@k: mean; pass@k: one of k is right; maj@k: what most say is right"
        table = Table("Several passes", ["task", "", "value", "95 % interval", "by"], rows, note)
        yield Section("Several passes", [table])


def _one(each: Tallied, figure: Figure) -> list[str]:
    value, interval, answered = _figure(figure)
    unparsed = figure.outcomes["unparsed"]
    return [plain(each.task), figure.metric, plain(figure.filter, 60), value, _error(figure), interval,
            figure.all.method, answered, f"{unparsed:,}"]  # fmt: skip


def _meanwhile(found: Meanwhile | None) -> Iterator[Section]:
    if found is None:
        return
    if found.runs:
        yield Section("Serving", list(accuracy_serving.served(found.runs)))
    if found.latency or found.finish:
        yield Section("Accuracy by how it was answered", list(accuracy_serving.by(found.latency, found.finish)))
    if found.spent is not None:
        yield Section("Tokens", [accuracy_serving.spent(found.spent)])


def _data(evaluation: Evaluation) -> Iterator[Section]:
    """What the figures stand on, to the byte."""
    rows = [[plain(task), plain(name, 100), digest] for task, files in evaluation.data.items()
            for name, digest in files.items()]  # fmt: skip
    asked = [[plain(each.task), plain(each.title, 200), plain(each.template, 200), f"{each.version:g}"]
             for each in evaluation.tasks]  # fmt: skip
    sent = [[plain(task), ", ".join(f"{name}={value!r}" for name, value in settings.items())]
            for task, settings in evaluation.settings.items() if settings]  # fmt: skip
    tables = [Table("Templates", ["task", "title", "template", "version"], asked)]
    tables += [Table("Data", ["task", "file", "sha256"], rows)] if rows else []
    tables += (
        [Table("Sent with each request", ["task", ""], [[task, plain(text, 300)] for task, text in sent])]
        if sent
        else []
    )
    if found := evaluation.confined:
        rows = [["confined by", ", ".join(found["by"])], ["still possible", ", ".join(found["open"]) or "-"]]
        tables.append(Table("Programs that the model wrote", ["", ""], rows, "docs/code-answers.md"))
    yield Section("Data and settings", tables, folded=True)


def percent(value: float) -> str:
    return f"{100 * value:.2f}%"


def ends(found: Estimate, times: float = 100) -> str:
    """`67.45 to 72.39`, in per cent."""
    return "-" if found.interval is None else f"{times * found.interval[0]:.2f} to {times * found.interval[1]:.2f}"
