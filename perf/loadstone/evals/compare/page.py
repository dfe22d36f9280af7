"""Two evaluations held against each other, as a page: the difference of each task, flips both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loadstone.checks.finding import one_line
from loadstone.evals.compare.paired_test import MARGIN
from loadstone.report.page import Axis, Chart, Page, Prose, Section, Series, Table, Tone

if TYPE_CHECKING:
    from loadstone.evals.compare.load import TaskComparison

# Tasks told in a sentence.
MOST = 5
_READING = (
    "difference: accuracy of the new side less that of the base, over the items that both answered, in points. Each "
    "item is its own control, so the interval is narrower than that of two figures side by side.",
    "95 % interval: Newcombe's for paired shares; where items are worth parts or share a passage, Student's t of the "
    "differences over items or clusters. p: McNemar's exact test, mid-p, or that t, after Holm over all tasks.",
)
_TONES: dict[str, Tone] = {"better": "good", "same": "good", "worse": "bad", "inconclusive": "doubt"}


def page(
    names: tuple[str, str], models: tuple[str, str], tasks: Sequence[TaskComparison], margin: float = MARGIN
) -> Page:
    """`names`: of base and new."""
    base, new = (one_line(name, 60) for name in names)
    verdicts = [each.difference.verdict(margin) for each in tasks if each.difference]
    sections = [Section("Tasks", [*_unlike(tasks), _table(tasks, margin), *_chart(tasks)]),
                Section("How to read this", [*(Prose(text) for text in _READING), Prose(_margin(margin))])]  # fmt: skip
    tone = _TONES[min(verdicts, key=("worse", "inconclusive", "better", "same").index)] if verdicts else "doubt"
    about = f"base: {one_line(models[0], 60)}; new: {one_line(models[1], 60)}."
    return Page(f"{new} against {base}", Prose(f"{_lead(tasks, margin)}\n{about}", tone), sections)


def _lead(tasks: Sequence[TaskComparison], margin: float) -> str:
    """What has changed first, then in the order of the tasks."""
    changed = [each for each in tasks if each.difference and each.difference.verdict(margin) in ("better", "worse")]
    told = [*changed, *(each for each in tasks if each not in changed)]
    more = f" {len(told) - MOST} more below." if len(told) > MOST else ""
    return " ".join(_said(each, margin) for each in told[:MOST]) + more


def _said(each: TaskComparison, margin: float) -> str:
    found = each.difference
    if found is None:
        return f"{one_line(each.task)}: no item was answered by both."
    words = {"better": "better", "worse": "worse", "same": f"the same within {100 * margin:g} points",
             "inconclusive": "not told apart"}  # fmt: skip
    return (f"{one_line(each.task)}: {words[found.verdict(margin)]}, {100 * found.difference.value:+.2f} points "
            f"(95 % interval {_ends(each)}).")  # fmt: skip


def _unlike(tasks: Sequence[TaskComparison]) -> list[Prose]:
    """What makes a comparison one of different things, each in one sentence however many tasks it holds for."""
    modes = [f"{one_line(each.task)} by {each.modes[0]} and by {each.modes[1]}"
             for each in tasks if each.modes[0] != each.modes[1]]  # fmt: skip
    words = [f"{one_line(each.task)} ({each.reworded:,} items)" for each in tasks if each.reworded]
    metrics = [f"{one_line(each.task)} by {', '.join(each.metrics[0])} and by {', '.join(each.metrics[1])}"
               for each in tasks if each.metrics[0] != each.metrics[1]]  # fmt: skip
    alone = [f"{one_line(each.task)} ({each.alone:,})" for each in tasks if each.alone]
    said = (
        ("Answered in different ways, which may be the difference: {}.", modes),
        ("Asked in other words on either side (prompt, examples or system prompt), which may be the difference: {}.",
         words),
        ("Counted by what is no one measure: {}.", metrics),
        ("Items that stand on one side only are left out: {}.", alone),
    )  # fmt: skip
    return [Prose(text.format(_named(found)), "doubt") for text, found in said if found]


def _named(tasks: Sequence[str]) -> str:
    more = f"; and {len(tasks) - MOST} more tasks" if len(tasks) > MOST else ""
    return "; ".join(tasks[:MOST]) + more


def _table(tasks: Sequence[TaskComparison], margin: float) -> Table:
    columns = ["task", "base", "new", "difference, points", "95 % interval", "p", "verdict", "only new right",
               "only base right", "items", "failed", "same words", "metric"]  # fmt: skip
    note = "failed: left out, as one side has no answer; same words: answers that are the same to the letter"
    return Table("Tasks", columns, [_row(each, margin) for each in tasks], note, numeric=True)


def _row(each: TaskComparison, margin: float) -> list[str]:
    found, same = each.difference, "-" if each.same is None else f"{each.same:.1%}"
    if found is None:
        return [one_line(each.task), *["-"] * 8, "0", f"{each.failed:,}", same, each.metric]
    p = "-" if found.p is None else "below 0.001" if found.p < 0.0005 else f"{found.p:.3f}"
    change = f"{100 * found.difference.value:+.2f}"
    return [one_line(each.task), f"{found.base:.2%}", f"{found.new:.2%}", change, _ends(each),
            p, found.verdict(margin), f"{found.gained:,}", f"{found.lost:,}", f"{found.difference.n:,}",
            f"{each.failed:,}", same, each.metric]  # fmt: skip


def _ends(each: TaskComparison) -> str:
    ends = each.difference.difference.interval if each.difference else None
    return "-" if ends is None else f"{100 * ends[0]:+.2f} to {100 * ends[1]:+.2f}"


def _chart(tasks: Sequence[TaskComparison]) -> list[Chart]:
    told = [
        (each, each.difference.difference) for each in tasks if each.difference and each.difference.difference.interval
    ]
    if len(told) < 2:
        return []
    ends = [found.interval or (0.0, 0.0) for _, found in told]
    series = Series("difference", [one_line(each.task) for each, _ in told], [100 * found.value for _, found in told],
                    "points", low=[100 * low for low, _ in ends], high=[100 * high for _, high in ends])  # fmt: skip
    return [Chart(title="Difference by task", x=Axis("task"), y=Axis("new less base", "points"), series=[series],
                  note="bars: 95 % intervals", height=420)]  # fmt: skip


def _margin(margin: float) -> str:
    return (f"same: the whole interval is within {100 * margin:g} points (--margin). better, worse: p is below 0.05 "
            "and the interval leaves out 0. inconclusive: neither; more items would tell.")  # fmt: skip
