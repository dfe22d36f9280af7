"""The report of an evaluation, as a page: what the model got right and how sure that is, what is no fault of the model,
and how the server did meanwhile.

Pure. Its tables are accuracy_tables.py's, and what its runs tell accuracy_serving.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from loadstone.checks.finding import one_line
from loadstone.evals.output import serving_tables, tables
from loadstone.evals.output.serving_tables import AnswerBin
from loadstone.evals.output.tables import OUTCOMES, answer_modes, format_interval, percent
from loadstone.report.page import Page, Prose, Section
from loadstone.samples import Estimate, EvalCost, Evaluation, TaskResult
from loadstone.summary import Summary

# From this share on, answers that failed or were cut make a figure doubtful.
LOUD = 0.01
# Benchmarks told in the lead.
FEW = 3
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


class ServingDetails(Struct, frozen=True, kw_only=True):
    """How the server did while it answered. `runs`: by name; `latency`, `finish`: accuracy of the answers by how long
    they took and by how they ended."""

    runs: Mapping[str, Summary] = {}
    spent: EvalCost | None = None
    latency: Sequence[AnswerBin] = ()
    finish: Sequence[AnswerBin] = ()


def page(evaluation: Evaluation, meanwhile: ServingDetails | None = None, remarks: Sequence[Prose] = ()) -> Page:
    """`remarks`: what is to be said before everything else."""
    title = f"Evaluation of {one_line(evaluation.model, 100)}"
    judged = [each for each in evaluation.tasks if each.figures]
    sections = [
        Section("Tasks", [*remarks, *_warnings(judged), *tables.task_blocks(evaluation.tasks)]),
        *([Section("Groups", [tables.group_table(evaluation)])] if evaluation.groups else []),
        *([Section("Leaderboard", [tables.leaderboard_table(evaluation)])] if evaluation.leaderboard else []),
        *tables.metric_sections(judged),
        *_meanwhile(meanwhile),
        Section("How to read this", [Prose(text) for text in _READING]),
        *tables.data_section(evaluation),
    ]
    return Page(title, lead(evaluation), sections)


def leaderboard(evaluation: Evaluation) -> Page:
    """The row of llmuses' report alone."""
    title = f"Leaderboard: {one_line(evaluation.model, 100)}"
    if not evaluation.leaderboard:
        text = "No row: only benchmarks whose subjects are sorted into fields have one, such as mmlu and ceval."
        return Page(title, Prose(text, "doubt"), [])
    return Page(title, lead(evaluation), [Section("Leaderboard", [tables.leaderboard_table(evaluation)])])


def lead(evaluation: Evaluation) -> Prose:
    """What it comes to: the accuracy of each benchmark, then what stands against it."""
    judged = [each for each in evaluation.tasks if each.figures]
    if not judged:
        count = sum(each.items for each in evaluation.tasks)
        return Prose(f"{count:,} items were asked and their answers kept; nothing was judged.", "doubt")
    told = _headlines(evaluation, judged)
    left = len(told) - FEW
    more = f" {left} more {'is' if left == 1 else 'are'} below." if left > 0 else ""
    bad = _loud(judged)
    text = " ".join(told[:FEW]) + more + "".join(f"\n{sentence}" for sentence in bad)
    return Prose(text, "bad" if bad else "good")


def _headlines(evaluation: Evaluation, judged: Sequence[TaskResult]) -> list[str]:
    """Of benchmarks with groups the outermost, then tasks in none."""
    inner = {name for group in evaluation.groups for name in group.tasks}
    outer = [group for group in evaluation.groups
             if not any(set(group.tasks) < set(other.tasks) for other in evaluation.groups)]  # fmt: skip
    told = [_headline(group.title, group.micro, group.items, answer_modes(group.tasks, judged)) for group in outer]
    return told + [_headline(each.title, each.figures[0].all, each.items, each.mode)
                   for each in judged if each.task not in inner]  # fmt: skip


def _headline(title: str, found: Estimate, items: int, mode: str) -> str:
    sure = f", 95 % interval {format_interval(found)}" if found.interval else ""
    return f"{one_line(title)}: {percent(found.value)} of {items:,} items by {mode}{sure}."


def _loud(judged: Sequence[TaskResult]) -> list[str]:
    """What hides how good the model is."""
    total = sum(sum(each.figures[0].outcomes.values()) for each in judged)
    counts = {name: sum(each.figures[0].outcomes[name] for each in judged) for name in OUTCOMES}
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


def _warnings(judged: Sequence[TaskResult]) -> Iterator[Prose]:
    """Of single tasks, where there are several; and what the scorers choked on."""
    loud = [f"{one_line(each.title)}: {', '.join(shares)}" for each in judged if (shares := _much(each))]
    if loud and len(judged) > 1:
        more = f"; and {len(loud) - FEW} more tasks" if len(loud) > FEW else ""
        yield Prose("; ".join(loud[:FEW]) + f"{more}.", "bad")
    for each in judged:
        for note, count in each.notes.items():
            times = "once" if count == 1 else f"{count:,} times"
            yield Prose(
                f"{one_line(each.title)}: a scorer could not judge an answer, {times}: {one_line(note, 120)}", "doubt"
            )


def _much(task: TaskResult) -> list[str]:
    """What befell so many answers of a task that its accuracy tells little."""
    outcomes = task.figures[0].outcomes
    total = sum(outcomes.values())
    return [f"{percent(outcomes[name] / total)} {name}" for name in ("truncated", "failed", "unparsed")
            if outcomes[name] > 10 * LOUD * total]  # fmt: skip


def _meanwhile(found: ServingDetails | None) -> Iterator[Section]:
    if found is None:
        return
    if found.runs:
        yield Section("Serving", list(serving_tables.serving_blocks(found.runs)))
    if found.latency or found.finish:
        yield Section(
            "Accuracy by how it was answered", list(serving_tables.breakdown_blocks(found.latency, found.finish))
        )
    if found.spent is not None:
        yield Section("Tokens", [serving_tables.token_table(found.spent)])
