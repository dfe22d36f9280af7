"""Scores saved answers of an unknown task by their targets alone, as far as a samples file allows.

A text is right if it equals the target, as lm-eval's filters extracted it; a choice, if it is the target's number or
text.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from loadstone.errors import ConfigError, UsageError
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
# The name of the task with which `--task` requests this.
BY_TARGET = "target"


def find_task(name: str, asked: bool) -> Task | None:
    """Return the task of a name; None if the answers are to be scored by their targets.

    asked: the operator named the task, so that it must exist

    Raises UsageError.
    """
    if name == BY_TARGET:
        return None
    try:
        tasks = catalogue.find([name]).tasks
    except UsageError:
        if asked:
            raise
        return None
    exact = [task for task in tasks if task.name == name] or (tasks if asked and len(tasks) == 1 else [])
    if asked and not exact:
        names = ", ".join(task.name for task in tasks)
        raise ConfigError(f"--task takes one task, and {name} is {len(tasks)}: {names}", field="task")
    return exact[0] if exact else None


def build_task(source: SamplesFile | RunSource, first: SavedSample, version: float) -> Task:
    """Build the task from its samples.

    first: the first sample, which shows how all were answered
    """
    filters = tuple(Filter(name, extract, exact_match) for name in source.filters)
    is_choice = first.mode != "generation"
    # Metrics of the file that follow from log-likelihoods and targets.
    metrics = tuple(dict.fromkeys(metric for _, metric in first.metrics if metric in choice.METRICS))
    likelihood = Likelihood(template=TEMPLATE, metrics=metrics or ("acc", "acc_norm"), letters=True)
    return Task(
        name=source.task,
        title=source.task,
        version=version,
        source=str(source.paths[0]),
        data=Data(path=""),
        query=lambda _: "",
        target=lambda _: "",
        generation=None if is_choice else Generation(template=TEMPLATE, filters=filters),
        likelihood=likelihood if is_choice else None,
    )


def build_sample(name: str, saved: SavedSample) -> Sample:
    """Build the sample of an item from its arguments and target. Raises ValueError if the target is no choice."""
    responses = saved.responses
    continuations = [argument for _, argument in responses.arguments if isinstance(argument, str)]
    # Each choice counts once if it was requested both with and without the question.
    half = len(continuations) // 2
    if half and continuations[:half] == continuations[half:]:
        continuations = continuations[:half]
    # The delimiter before a continuation is no part of the choice.
    spaced = all(each.startswith(" ") for each in continuations)
    choices = [each[1:] if spaced else each for each in continuations]
    return Sample(
        task=name,
        doc_id=responses.doc_id,
        doc=responses.doc,
        target=responses.target,
        ask=Question(query=""),
        choices=choices,
        gold=_gold(responses.target, choices) if choices else [],
    )


def _gold(target: str, choices: Sequence[str]) -> list[int]:
    """Return the numbers of the right choices. Raises ValueError."""
    if target in choices and not target.isdigit():
        return [number for number, each in enumerate(choices) if each == target]
    try:
        value = ast.literal_eval(target)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = target
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int) and 0 <= number < len(choices) for number in numbers):
        raise ValueError(f"its target {target[:60]!r} is none of its {len(choices)} choices")
    return [int(number) for number in numbers]


def score_filtered(spec: Task, sample: Sample, saved: SavedSample) -> list[Score]:
    """Score what each filter of the file extracted from the answer."""
    generation = spec.generation
    if generation is None:
        return []
    scores: list[Score] = []
    for each in generation.filters:
        if each.name not in saved.filtered:
            continue
        # What the filter extracted from each pass; None if there was no response.
        filtered = saved.filtered[each.name]
        if isinstance(filtered, list) and filtered:
            filtered = filtered[0]
        pairs = zip(filtered if isinstance(filtered, list) else [filtered], saved.responses.responses[0], strict=False)
        values = [None if response is None else str(value) for value, response in pairs]
        count = len(values)
        responses = replace(
            saved.responses,
            responses=[values],
            finishes=[passes[:count] for passes in saved.responses.finishes[:1]],
            failures=[passes[:count] for passes in saved.responses.failures[:1]],
        )
        alone = replace(spec, generation=replace(generation, filters=(each,)))
        scores += score.score_sample(alone, "generation", sample, responses)
    return scores


def extract(text: str, _: Sample) -> str | None:
    """Return what a filter of lm-eval extracted; None if it extracted nothing."""
    return None if text == INVALID else text


def exact_match(extracted: str, sample: Sample) -> dict[str, float]:
    """Score by equality, as lm-eval's exact_match without further settings."""
    return {"exact_match": float(extracted == sample.target)}
