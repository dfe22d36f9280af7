"""Pair two evaluations item by item, ours or lm-eval's, by doc_id and doc_hash.

An item that failed on either side says nothing about the models; it is left out and counted.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from loadstone.compare.difference import holm
from loadstone.errors import DataError, UsageError
from loadstone.evals.compare import paired_test
from loadstone.evals.compare.paired_test import Difference
from loadstone.evals.output import results
from loadstone.evals.output.lm_eval_samples import digest, doc_hash
from loadstone.evals.rescore import inputs
from loadstone.evals.rescore.sample_lines import SavedSample
from loadstone.evals.rescore.samples_file import SamplesFile
from loadstone.evals.scoring import intervals, score
from loadstone.samples import Estimate

# A figure: its filter and metric.
Name = tuple[str, str]


class EvaluationSide(Struct, frozen=True, kw_only=True):
    """One evaluation.

    files: samples files by task. heads: headline figure by task.
    scores: reported scores by task and metric, and by task or group for the headline, with an empty metric.
    groups: tasks by group.
    """

    name: str
    model: str
    files: dict[str, list[Path]]
    heads: dict[str, Name]
    scores: dict[Name, Estimate] = {}
    groups: dict[str, list[str]] = {}


class TaskComparison(Struct, frozen=True, kw_only=True):
    """The comparison of one task.

    modes, metrics: of base and new.
    reworded: items whose prompts are known and differ.
    difference: None if no item was answered by both.
    alone: items that only one side has. failed: items left out, because one side has no answer.
    same: fraction of generated texts that are identical, None for choices.
    """

    task: str
    metric: str
    modes: tuple[str, str]
    metrics: tuple[Name, Name]
    reworded: int
    difference: Difference | None
    alone: int
    failed: int
    same: float | None


class _ItemResult(Struct, frozen=True):
    """One item on one side.

    value: its score, None if it failed. text, prompt: hashes, None if not known. cluster: as in Sample.
    """

    value: float | None
    text: int | None
    prompt: int | None
    cluster: str | None


# By doc_id and doc_hash.
_Items = dict[tuple[int, str], _ItemResult]


def read(path: Path) -> EvaluationSide:
    """Return an evaluation, a folder or a samples file. Raises DataError if there are no samples."""
    latest = results.latest(path) if path.is_dir() else None
    heads: dict[str, Name] = {}
    scores: dict[Name, Estimate] = {}
    groups: dict[str, list[str]] = {}
    model = path.name
    if latest is not None:
        try:
            evaluation = results.read(latest)
        except UsageError:
            evaluation = None  # by lm-eval: it has no headline figures
        if evaluation is not None:
            model = evaluation.model
            groups = {group.name: group.tasks for group in evaluation.groups}
            scores = {(group.name, ""): group.micro for group in evaluation.groups}
            for each in evaluation.tasks:
                for number, figure in enumerate(each.figures):
                    scores.setdefault((each.task, figure.metric), figure.all)
                    if not number:
                        heads[each.task] = (figure.filter, figure.metric)
                        scores[each.task, ""] = figure.all
    files = inputs.group_by_task([path], None)
    return EvaluationSide(name=str(path), model=model, files=files, heads=heads, scores=scores, groups=groups)


def compare(base: EvaluationSide, new: EvaluationSide) -> list[TaskComparison]:
    """Return the comparisons of the tasks that both have, in the order of the base. Raises DataError without any."""
    common = [task for task in base.files if task in new.files]
    if not common:
        raise DataError(f"{base.name} and {new.name} have no task in common: {', '.join(base.files)} against "
                         f"{', '.join(new.files)}")  # fmt: skip
    return adjust_p_values([_task(task, base, new) for task in common])


def metric_names(side: EvaluationSide, name: str) -> list[str]:
    """Return the metrics of the items of a task, or of the first task of a group, the headline first."""
    for task in side.groups.get(name, [name]):
        for logged in SamplesFile(task, side.files[task]) if task in side.files else ():
            head = side.heads.get(task)
            return list(dict.fromkeys(metric for _, metric in sorted(logged.metrics, key=lambda each: each != head)))
    return []


def score_of(name: str, metric: str, side: EvaluationSide) -> Estimate | None:
    """Return the score of a task or group as the evaluation reports it, else from its items; None without items.

    metric: of the score; empty for the headline
    """
    if (name, metric) in side.scores:
        return side.scores[name, metric]
    values, clusters = list[float](), list[Hashable | None]()
    for task in side.groups.get(name, [name]):
        if task in side.files:
            items = _item_results(task, side, side.heads.get(task), metric=metric)[2].values()
            values += [item.value or 0.0 for item in items]
            clusters += [item.cluster and (task, item.cluster) for item in items]
    return intervals.estimate(values, clusters)


def paired(name: str, metric: str, base: EvaluationSide, new: EvaluationSide) -> Difference | None:
    """Return the difference of a task or group over the items that both answered; None without any.

    metric: of the scores; empty for the headline of the base
    """
    scored = list[tuple[float, float, Hashable | None]]()
    for task in new.groups.get(name) or base.groups.get(name) or [name]:
        if task in base.files and task in new.files:
            head, _, before = _item_results(task, base, base.heads.get(task), metric=metric)
            _, _, after = _item_results(task, new, head, new.heads.get(task), metric=metric)
            pairs = _scored_pairs(before, after)
            scored += [(a, b, cluster and (task, cluster)) for a, b, cluster in pairs]
    return paired_test.difference([a for a, _, _ in scored], [b for _, b, _ in scored], [c for *_, c in scored])


def adjust_p_values(tasks: Sequence[TaskComparison]) -> list[TaskComparison]:
    """Return the comparisons with Holm-adjusted p-values: unadjusted, one in twenty equal tasks would differ."""
    tested = [(number, each.difference) for number, each in enumerate(tasks) if each.difference]
    known = [(number, found, found.p) for number, found in tested if found.p is not None]
    adjusted = list(tasks)
    for (number, found, _), p in zip(known, holm([p for *_, p in known]), strict=True):
        adjusted[number] = replace(tasks[number], difference=replace(found, p=p))
    return adjusted


def _task(task: str, base: EvaluationSide, new: EvaluationSide) -> TaskComparison:
    head, old_mode, before = _item_results(task, base, base.heads.get(task))
    other, new_mode, after = _item_results(task, new, head, new.heads.get(task))
    keys = [key for key in before if key in after]
    pairs = [(before[key], after[key]) for key in keys]
    scored = _scored_pairs(before, after)
    words = [a.text == b.text for a, b in pairs if a.text is not None and b.text is not None]
    return TaskComparison(
        task=task,
        metric=head[1],
        modes=(old_mode, new_mode),
        metrics=(head, other),
        reworded=sum(None not in (a.prompt, b.prompt) and a.prompt != b.prompt for a, b in pairs),
        difference=paired_test.difference(
            [a for a, _, _ in scored], [b for _, b, _ in scored], [c for *_, c in scored]
        ),
        alone=len(before) + len(after) - 2 * len(keys),
        failed=len(pairs) - len(scored),
        same=sum(words) / len(words) if words else None,
    )


def _scored_pairs(before: _Items, after: _Items) -> list[tuple[float, float, str | None]]:
    """Return the scores of the items that both sides answered, with the cluster of each."""
    pairs = [(before[key], after[key]) for key in before if key in after]
    return [(a.value, b.value, a.cluster) for a, b in pairs if a.value is not None and b.value is not None]


def _item_results(task: str, side: EvaluationSide, *heads: Name | None, metric: str = "") -> tuple[Name, str, _Items]:
    """Return the figure, the answer mode and the items. The figure is the first of `heads` that exists, else any.

    metric: the figure is the first of this metric, through any filter
    """
    items: _Items = {}
    name, mode = None, ""
    for logged in SamplesFile(task, side.files[task]):
        if metric and (name is None or name not in logged.metrics):
            name = next((each for each in logged.metrics if each[1] == metric), name)
        elif name not in logged.metrics:
            name = next((head for head in (*heads, *logged.metrics) if head in logged.metrics), name)
        mode = mode or logged.mode
        items[logged.responses.doc_id, doc_hash(logged.responses.doc)] = _item_result(logged, name)
    return name or ("none", "?"), mode, items


def _item_result(logged: SavedSample, name: Name | None) -> _ItemResult:
    requests = logged.responses.responses
    failed = any(response is None for passes in requests for response in passes)
    value = logged.metrics.get(name) if name else None
    words = requests[0][0] if requests and requests[0] and isinstance(requests[0][0], str) else None
    return _ItemResult(
        None if failed or value is None or isinstance(value, str) else score.mean_value({"it": value}, "it"),
        None if words is None else int(digest(words)[:15], 16),
        int(digest(asked[0][0])[:15], 16) if (asked := logged.responses.arguments) and asked[0][0] else None,
        logged.cluster,
    )
