"""Saved answers of a task that is not known here, held against their targets alone, as far as a samples file tells.

A text is right where it is the target, as lm-eval's filters read it; a choice where it is the target's number or words.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from loadstone.errors import UsageError
from loadstone.evals.output.lm_eval_samples import INVALID
from loadstone.evals.scoring import score
from loadstone.samples import Question, Sample, Score
from loadstone.scorers import choice
from loadstone.tasks import catalogue
from loadstone.tasks.spec import Data, Filter, Generation, Likelihood, Task

if TYPE_CHECKING:
    from loadstone.evals.rescore.from_run import RunSource
    from loadstone.evals.rescore.sample_lines import SavedSample
    from loadstone.evals.rescore.samples_file import SamplesFile

TEMPLATE = "by target"
# As a task: none, an answer is right where it is the target.
BY_TARGET = "target"


def find_task(name: str, asked: bool) -> Task | None:
    """The task of that name; None where it is to be judged by its targets. One asked for must be there."""
    if name == BY_TARGET:
        return None
    try:
        tasks = catalogue.find([name]).tasks
    except UsageError:
        if asked:
            raise
        return None
    exact = [one for one in tasks if one.name == name] or (tasks if asked and len(tasks) == 1 else [])
    if asked and not exact:
        raise UsageError(f"--task takes one task, and {name} is {len(tasks)}: {', '.join(one.name for one in tasks)}")
    return exact[0] if exact else None


def build_task(log: SamplesFile | RunSource, first: SavedSample, version: float) -> Task:
    """What is told of the task by its samples."""
    filters = tuple(Filter(name, said, same) for name in log.filters)
    chosen = first.mode != "generation"
    return Task(
        name=log.task,
        title=log.task,
        version=version,
        source=str(log.paths[0]),
        data=Data(path=""),
        query=lambda _: "",
        target=lambda _: "",
        generation=None if chosen else Generation(template=TEMPLATE, filters=filters),
        likelihood=Likelihood(template=TEMPLATE, metrics=_metrics(first), letters=True) if chosen else None,
    )


def _metrics(first: SavedSample) -> tuple[str, ...]:
    """Those that the file has and that can be had from log-likelihoods and target."""
    named = tuple(dict.fromkeys(metric for _, metric in first.metrics if metric in choice.METRICS))
    return named or ("acc", "acc_norm")


def build_sample(name: str, logged: SavedSample) -> Sample:
    """The item, from what was asked and what is said to be right. Raises ValueError where the target is none of the
    choices."""
    answered = logged.responses
    choices = _choices([what for _, what in answered.arguments if isinstance(what, str)])
    return Sample(
        task=name,
        doc_id=answered.doc_id,
        doc=answered.doc,
        target=answered.target,
        ask=Question(query=""),
        choices=choices,
        gold=_gold(answered.target, choices) if choices else [],
    )


def _choices(continuations: Sequence[str]) -> list[str]:
    """Without the delimiter before them; once, where each was asked with and without the question."""
    half = len(continuations) // 2
    once = continuations[:half] if half and continuations[:half] == continuations[half:] else continuations
    spaced = all(each.startswith(" ") for each in once)
    return [each[1:] if spaced else each for each in once]


def _gold(target: str, choices: Sequence[str]) -> list[int]:
    if target in choices and not target.isdigit():
        return [number for number, each in enumerate(choices) if each == target]
    try:
        told = ast.literal_eval(target)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        told = target
    numbers = told if isinstance(told, list) else [told]
    if not all(isinstance(number, int) and 0 <= number < len(choices) for number in numbers):
        raise ValueError(f"its target {target[:60]!r} is none of its {len(choices)} choices")
    return [int(number) for number in numbers]


def score_filtered(spec: Task, item: Sample, logged: SavedSample) -> list[Score]:
    """What each filter of the file made of the answer against the target."""
    generation = spec.generation
    found: list[Score] = []
    for each in generation.filters if generation else ():
        if generation is None or each.name not in logged.filtered:
            continue
        lane = logged.responses.responses[0]
        values = _values(logged.filtered[each.name], lane)
        seen = replace(logged.responses, responses=[values], finishes=_first(logged.responses.finishes, len(values)),
                       failures=_first(logged.responses.failures, len(values)))  # fmt: skip
        alone = replace(spec, generation=replace(generation, filters=(each,)))
        found += score.score_sample(alone, "generation", item, seen)
    return found


def _values(filtered: Any, responses: Sequence[Any]) -> list[Any]:
    """Of each pass what the filter made of it; None where nothing came."""
    told = filtered[0] if isinstance(filtered, list) and filtered else filtered
    values = told if isinstance(told, list) else [told]
    return [None if response is None else str(value) for value, response in zip(values, responses, strict=False)]


def _first(table: list[list[str | None]], count: int) -> list[list[str | None]]:
    return [lane[:count] for lane in table[:1]]


def said(text: str, _: Sample) -> str | None:
    """What a filter found."""
    return None if text == INVALID else text


def same(extracted: str, item: Sample) -> dict[str, float]:
    """As lm-eval's exact_match without further settings."""
    return {"exact_match": float(extracted == item.target)}
