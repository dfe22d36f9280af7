"""The report of an evaluation as a page: accuracy with its uncertainty, failures that are not the model's, and serving.

tables.py has the tables of accuracy, serving_tables.py those of the runs.
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

# From this fraction on, answers that failed or were cut make a figure doubtful.
WARN_FROM = 0.01
# The same for a single task among several.
WARN_TASK_FROM = 0.1
# Benchmarks and tasks that the lead and a warning name.
MAX_NAMED = 3
_READING = (
    "right: the headline metric is met. wrong: the answer ended properly and is not right, or is empty. unparsed: the "
    "answer ended, but contains nothing that can be compared with the target. truncated: the answer was cut at its "
    "length limit and is not right. failed: no answer arrived, which says nothing about the model.",
    "accuracy: mean over all items; failed items count as 0, as in lm-eval. over answered: over the answers that "
    "arrived and ended properly (right, wrong, unparsed).",
    "95 % interval: Wilson's if each item is right or wrong; Student's t over items if repeats or parts are averaged, "
    "over clusters if items share a passage. It shows how far the choice of items may move the figure by chance, not "
    "whether the items are suitable (docs/accuracy.md).",
)


class ServingDetails(Struct, frozen=True, kw_only=True):
    """How the server performed during an evaluation.

    runs: summaries by the name of the run.
    spent: tokens and their cost, None if unknown.
    latency, finish: accuracy of the answers by latency and by finish reason.
    """

    runs: Mapping[str, Summary] = {}
    spent: EvalCost | None = None
    latency: Sequence[AnswerBin] = ()
    finish: Sequence[AnswerBin] = ()


def page(evaluation: Evaluation, serving: ServingDetails | None = None, remarks: Sequence[Prose] = ()) -> Page:
    """Return the report of an evaluation. `remarks` come before everything else."""
    scored = [task for task in evaluation.tasks if task.figures]
    sections = [Section("Tasks", [*remarks, *_warnings(scored), *tables.task_blocks(evaluation.tasks)])]
    if evaluation.groups:
        sections.append(Section("Groups", [tables.group_table(evaluation)]))
    if evaluation.leaderboard:
        sections.append(Section("Leaderboard", [tables.leaderboard_table(evaluation)]))
    sections += tables.metric_sections(scored)
    if serving is not None:
        sections += _serving_sections(serving)
    sections.append(Section("How to read this", [Prose(text) for text in _READING]))
    sections += tables.data_section(evaluation)
    return Page(f"Evaluation of {one_line(evaluation.model, 100)}", lead(evaluation), sections)


def leaderboard(evaluation: Evaluation) -> Page:
    """Return only the rows of llmuses' leaderboard."""
    title = f"Leaderboard: {one_line(evaluation.model, 100)}"
    if not evaluation.leaderboard:
        text = "No row: only benchmarks whose subjects are sorted into fields have one, such as mmlu and ceval."
        return Page(title, Prose(text, "doubt"), [])
    return Page(title, lead(evaluation), [Section("Leaderboard", [tables.leaderboard_table(evaluation)])])


def lead(evaluation: Evaluation) -> Prose:
    """Return the accuracy of each benchmark, then what makes it doubtful."""
    scored = [task for task in evaluation.tasks if task.figures]
    if not scored:
        count = sum(task.items for task in evaluation.tasks)
        return Prose(f"{count:,} items were answered and saved; none was scored.", "doubt")
    # Of benchmarks with groups the outermost ones, then the tasks in no group.
    in_groups = {name for group in evaluation.groups for name in group.tasks}
    headlines = [
        _headline(group.title, group.micro, group.items, answer_modes(group.tasks, scored))
        for group in evaluation.groups
        if not any(set(group.tasks) < set(other.tasks) for other in evaluation.groups)
    ]
    headlines += [
        _headline(task.title, task.figures[0].all, task.items, task.mode)
        for task in scored
        if task.task not in in_groups
    ]
    left = len(headlines) - MAX_NAMED
    more = f" {left} more {'is' if left == 1 else 'are'} below." if left > 0 else ""
    problems = _problems(scored)
    text = " ".join(headlines[:MAX_NAMED]) + more + "".join(f"\n{sentence}" for sentence in problems)
    return Prose(text, "bad" if problems else "good")


def _headline(title: str, estimate: Estimate, items: int, mode: str) -> str:
    interval = f", 95 % interval {format_interval(estimate)}" if estimate.interval else ""
    return f"{one_line(title)}: {percent(estimate.value)} of {items:,} items by {mode}{interval}."


def _problems(scored: Sequence[TaskResult]) -> list[str]:
    """Return a sentence for each outcome that hides how good the model is, with what to do."""
    total = sum(sum(task.figures[0].outcomes.values()) for task in scored)
    counts = {name: sum(task.figures[0].outcomes[name] for task in scored) for name in OUTCOMES}
    answers = {name: f"{count:,} of {total:,} answers ({percent(count / total)})" for name, count in counts.items()
               if count > WARN_FROM * total}  # fmt: skip
    sentences = []
    if "failed" in answers:
        sentences.append(f"{answers['failed']} failed: no answer arrived, which says nothing about the model. See the "
                         "figures over the answered, and run the same command again to send only those "
                         "requests.")  # fmt: skip
    if "truncated" in answers:
        sentences.append(f"{answers['truncated']} were cut at their length limit: the model may have known the answer. "
                         "Allow more tokens with --output-len.")  # fmt: skip
    if "unparsed" in answers:
        sentences.append(f"{answers['unparsed']} ended without anything that could be read as an answer: their format "
                         "may be the reason, not the model's knowledge. Look at some, and try `loadstone score "
                         "--extractor`, which sends no requests.")  # fmt: skip
    return sentences


def _warnings(scored: Sequence[TaskResult]) -> Iterator[Prose]:
    """Yield the tasks whose answers were often cut, failed or unparsed, and the errors of scorers."""
    named = []
    for task in scored:
        outcomes = task.figures[0].outcomes
        total = sum(outcomes.values())
        often = [f"{percent(outcomes[name] / total)} {name}" for name in ("truncated", "failed", "unparsed")
                 if outcomes[name] > WARN_TASK_FROM * total]  # fmt: skip
        if often:
            named.append(f"{one_line(task.title)}: {', '.join(often)}")
    if named and len(scored) > 1:
        more = f"; and {len(named) - MAX_NAMED} more tasks" if len(named) > MAX_NAMED else ""
        yield Prose("; ".join(named[:MAX_NAMED]) + f"{more}.", "bad")
    for task in scored:
        for note, count in task.notes.items():
            times = "once" if count == 1 else f"{count:,} times"
            yield Prose(
                f"{one_line(task.title)}: a scorer could not score an answer, {times}: {one_line(note, 120)}", "doubt"
            )


def _serving_sections(serving: ServingDetails) -> Iterator[Section]:
    if serving.runs:
        yield Section("Serving", list(serving_tables.serving_blocks(serving.runs)))
    if serving.latency or serving.finish:
        blocks = list(serving_tables.breakdown_blocks(serving.latency, serving.finish))
        yield Section("Accuracy by latency and finish reason", blocks)
    if serving.spent is not None:
        yield Section("Tokens", [serving_tables.token_table(serving.spent)])
