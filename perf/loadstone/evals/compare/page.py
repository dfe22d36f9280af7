"""The comparison of two evaluations as a page: the difference of each task, and the items that changed either way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loadstone.checks.finding import one_line
from loadstone.compare import gates
from loadstone.compare.gates import GateResult
from loadstone.evals.compare.paired_test import MARGIN
from loadstone.report.page import Axis, Chart, Page, Prose, Section, Series, Table, Tone

if TYPE_CHECKING:
    from loadstone.evals.compare.load import TaskComparison

# Tasks that a sentence names.
MAX_NAMED = 5
_READING = (
    "difference: accuracy of the new side minus that of the base, over the items that both answered, in points. Each "
    "item is its own control, so the interval is narrower than that of two separate figures.",
    "95 % interval: Newcombe's for paired proportions; if items have partial scores or share a passage, Student's t of "
    "the differences over items or clusters. p: McNemar's exact test, mid-p, or that t test, Holm-adjusted.",
)
_TONES: dict[str, Tone] = {"better": "good", "same": "good", "worse": "bad", "inconclusive": "doubt"}


def page(
    names: tuple[str, str],
    models: tuple[str, str],
    tasks: Sequence[TaskComparison],
    margin: float = MARGIN,
    judged: Sequence[GateResult] = (),
) -> Page:
    """Return the page.

    names, models: of base and new
    margin: differences within it are the same, as a fraction
    judged: the gates
    """
    base, new = (one_line(name, 60) for name in names)
    verdicts = [task.difference.verdict(margin) for task in tasks if task.difference]
    margin_text = (
        f"same: the whole interval is within {100 * margin:g} points (--margin). better, worse: p is below 0.05 and "
        "the interval excludes 0. inconclusive: neither; more items would decide."
    )
    sections = [
        *gates.section(judged),
        Section("Tasks", [*_warnings(tasks), _table(tasks, margin), *_chart(tasks)]),
        Section("How to read this", [*(Prose(text) for text in _READING), Prose(margin_text)]),
    ]
    tone = _TONES[min(verdicts, key=("worse", "inconclusive", "better", "same").index)] if verdicts else "doubt"
    # Changed tasks come first, then the others in their order.
    changed = [task for task in tasks if task.difference and task.difference.verdict(margin) in ("better", "worse")]
    ordered = [*changed, *(task for task in tasks if task not in changed)]
    more = f" {len(ordered) - MAX_NAMED} more below." if len(ordered) > MAX_NAMED else ""
    lead = " ".join(_sentence(task, margin) for task in ordered[:MAX_NAMED]) + more
    about = f"base: {one_line(models[0], 60)}; new: {one_line(models[1], 60)}."
    missed = gates.missed_sentence(judged)
    lead = f"{missed} {lead}" if missed else lead
    return Page(f"{new} against {base}", Prose(f"{lead}\n{about}", "bad" if missed else tone), sections)


def _sentence(task: TaskComparison, margin: float) -> str:
    """Return the verdict on a task in one sentence."""
    difference = task.difference
    if difference is None:
        return f"{one_line(task.task)}: no item was answered by both."
    words = {"better": "better", "worse": "worse", "same": f"the same within {100 * margin:g} points",
             "inconclusive": "inconclusive"}  # fmt: skip
    return (f"{one_line(task.task)}: {words[difference.verdict(margin)]}, {100 * difference.difference.value:+.2f} "
            f"points (95 % interval {_interval(task)}).")  # fmt: skip


def _warnings(tasks: Sequence[TaskComparison]) -> list[Prose]:
    """Return what makes the sides incomparable, each in one sentence that names the tasks."""
    modes = [f"{one_line(task.task)} by {task.modes[0]} and by {task.modes[1]}"
             for task in tasks if task.modes[0] != task.modes[1]]  # fmt: skip
    prompts = [f"{one_line(task.task)} ({task.reworded:,} items)" for task in tasks if task.reworded]
    metrics = [f"{one_line(task.task)} by {', '.join(task.metrics[0])} and by {', '.join(task.metrics[1])}"
               for task in tasks if task.metrics[0] != task.metrics[1]]  # fmt: skip
    alone = [f"{one_line(task.task)} ({task.alone:,})" for task in tasks if task.alone]
    warnings = (
        ("Answered in different modes, which may cause the difference: {}.", modes),
        ("The prompts differ (question, examples or system prompt), which may cause the difference: {}.", prompts),
        ("Scored by different metrics: {}.", metrics),
        ("Items that only one side has are left out: {}.", alone),
    )
    found = []
    for text, names in warnings:
        if names:
            more = f"; and {len(names) - MAX_NAMED} more tasks" if len(names) > MAX_NAMED else ""
            found.append(Prose(text.format("; ".join(names[:MAX_NAMED]) + more), "doubt"))
    return found


def _table(tasks: Sequence[TaskComparison], margin: float) -> Table:
    columns = ["task", "base", "new", "difference, points", "95 % interval", "p", "verdict", "only new right",
               "only base right", "items", "failed", "same words", "metric"]  # fmt: skip
    note = "failed: left out, because one side has no answer; same words: fraction of answers that are identical"
    return Table("Tasks", columns, [_row(task, margin) for task in tasks], note, numeric=True)


def _row(task: TaskComparison, margin: float) -> list[str]:
    difference = task.difference
    same = "-" if task.same is None else f"{task.same:.1%}"
    if difference is None:
        return [one_line(task.task), *["-"] * 8, "0", f"{task.failed:,}", same, task.metric]
    p = "-" if difference.p is None else "below 0.001" if difference.p < 0.0005 else f"{difference.p:.3f}"
    change = f"{100 * difference.difference.value:+.2f}"
    return [one_line(task.task), f"{difference.base:.2%}", f"{difference.new:.2%}", change, _interval(task), p,
            difference.verdict(margin), f"{difference.gained:,}", f"{difference.lost:,}",
            f"{difference.difference.n:,}", f"{task.failed:,}", same, task.metric]  # fmt: skip


def _interval(task: TaskComparison) -> str:
    interval = task.difference.difference.interval if task.difference else None
    return "-" if interval is None else f"{100 * interval[0]:+.2f} to {100 * interval[1]:+.2f}"


def _chart(tasks: Sequence[TaskComparison]) -> list[Chart]:
    """Return the chart of the differences, if several have an interval."""
    shown = [
        (one_line(task.task), task.difference.difference)
        for task in tasks
        if task.difference and task.difference.difference.interval
    ]
    if len(shown) < 2:
        return []
    intervals = [estimate.interval or (0.0, 0.0) for _, estimate in shown]
    series = Series("difference", [name for name, _ in shown], [100 * estimate.value for _, estimate in shown],
                    "points", low=[100 * low for low, _ in intervals],
                    high=[100 * high for _, high in intervals])  # fmt: skip
    return [Chart(title="Difference by task", x=Axis("task"), y=Axis("new minus base", "points"), series=[series],
                  note="bars: 95 % intervals", height=420)]  # fmt: skip
