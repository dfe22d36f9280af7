"""Scores the responses to an item: one score for each pass and filter.

The task's extractors read the answer from a text, and its scorers compare it with the target; this file decides the
outcome. A scorer that fails on a text does not end the evaluation: the answer counts as unparsed, with a note.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from msgspec import Struct

from loadstone.errors import ConfigError, DataError, UsageError
from loadstone.samples import ItemResponses, Outcome, Question, Sample, Score
from loadstone.scorers import choice
from loadstone.scorers.base import Scorer
from loadstone.tasks.spec import Filter, Generation, Likelihood, Mode, Task

Metrics = Mapping[str, float | list[float]]
Pair = tuple[float, bool]
Spec = TypeVar("Spec", Generation, Likelihood)
# The finish reason of an answer that was cut at its length limit.
CUT = "length"


def score(task: Task, mode: Mode, responses: ItemResponses, run_code: Scorer | None = None) -> list[Score]:
    """Score all passes of an item through all filters.

    run_code: runs a program against the item's tests; without it programs have no score

    Raises UsageError for a row that does not fit the task.
    """
    return score_sample(task, mode, build_sample(task, mode, responses), responses, run_code)


def score_sample(
    task: Task, mode: Mode, sample: Sample, responses: ItemResponses, run_code: Scorer | None = None
) -> list[Score]:
    """Score all passes of an item whose sample is known. See `score`."""
    if mode != "generation":
        return _score_choices(_spec_of(task.likelihood, task, mode), sample, responses)
    generation = _spec_of(task.generation, task, mode)
    if generation.code and run_code is None:
        return []
    return [
        each
        for filter_ in generation.filters
        for each in _score_texts(generation, filter_, sample, responses, run_code)
    ]


def build_sample(task: Task, mode: Mode, responses: ItemResponses) -> Sample:
    """Build the sample of an item from its row, without its question. Raises DataError."""
    doc = responses.doc
    target = task.generation.target if task.generation and mode == "generation" else None
    try:
        return Sample(
            task=task.name,
            doc_id=responses.doc_id,
            doc=doc,
            target=(target or task.target)(doc),
            ask=Question(query=""),
            answers=task.answers(doc) if task.answers else [],
            choices=task.choices(doc) if task.choices else [],
            gold=task.gold(doc) if task.gold else [],
            cluster=task.cluster(doc) if task.cluster else None,
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
        raise DataError(f"item {responses.doc_id} is not a row of {task.name}: {_error_text(exc)}") from exc


def headline(task: Task, mode: Mode) -> tuple[str, str]:
    """Return the metric and the filter of the task's headline figure."""
    if mode != "generation":
        return _spec_of(task.likelihood, task, mode).metrics[0], "none"
    generation = _spec_of(task.generation, task, mode)
    return generation.headline, generation.filters[0].name


def _spec_of(spec: Spec | None, task: Task, mode: Mode) -> Spec:
    if spec is None:
        raise ConfigError(f"{task.name} cannot be answered by {mode}; it can by {' or '.join(task.modes)}")
    return spec


class _Judgement(Struct, frozen=True):
    """What an answer came to.

    outcome: None if the metrics decide it
    extracted: what was compared with the target; of a choice, its number
    metrics: None if there are none
    note: why the answer could not be scored
    """

    outcome: Outcome | None = None
    extracted: Any = None
    metrics: Metrics | None = None
    note: str | None = None


def _score_texts(
    generation: Generation, filter_: Filter, sample: Sample, responses: ItemResponses, run_code: Scorer | None
) -> list[Score]:
    """Score every pass of a generated answer through one filter."""
    scorer = run_code if generation.code and run_code else filter_.score
    zeros: Metrics | None = None
    scores: list[Score] = []
    for attempt, (response, finish, failure) in enumerate(_passes(responses)[0]):
        # A response that ended properly without a text is an empty answer, which is wrong.
        empty = response is None and failure == "empty" and finish is not None
        judgement = _judge_text("" if empty else response, filter_, scorer, sample)
        if not judgement.metrics and zeros is None:
            zeros = {generation.headline: 0.0} if generation.code else _zero_metrics(scorer, generation, sample)
        metrics = judgement.metrics or zeros or {generation.headline: 0.0}
        scores.append(_score(sample, attempt, filter_.name, judgement, metrics, generation.headline, finish))
    return scores


def _judge_text(response: str | Pair | None, filter_: Filter, scorer: Scorer, sample: Sample) -> _Judgement:
    """Judge a generated answer. An empty one is not passed to the scorer: it could be right by accident."""
    if not isinstance(response, str):
        return _Judgement("failed")
    if not response.strip():
        return _Judgement("wrong", response)
    try:
        extracted = filter_.extract(response, sample)
        if extracted is None:
            return _Judgement("unparsed")
        metrics = scorer(extracted, sample)
        for name, figure in metrics.items():
            if not all(map(math.isfinite, figure if isinstance(figure, list) else [figure])):
                raise ValueError(f"{name} is {figure}")
        return _Judgement(None, extracted, metrics)
    except UsageError:
        raise
    except Exception as exc:  # a text that breaks a scorer must not cost the others their scores
        return _Judgement("unparsed", note=_error_text(exc))


def _zero_metrics(scorer: Scorer, generation: Generation, sample: Sample) -> Metrics:
    """Return the metrics that a scorer has for an empty answer, all at 0."""
    try:
        metrics = scorer("", sample)
    except Exception:  # as above
        return {generation.headline: 0.0}
    return {name: [0.0] * len(figure) if isinstance(figure, list) else 0.0 for name, figure in metrics.items()}


def _score(
    sample: Sample,
    attempt: int,
    name: str,
    judgement: _Judgement,
    metrics: Metrics,
    headline: str,
    finish: str | None,
) -> Score:
    """Return the score of one pass.

    name: of the filter
    headline: metric that decides between right and wrong
    """
    outcome: Outcome = judgement.outcome or ("right" if mean_value(metrics, headline) >= 0.5 else "wrong")
    return Score(
        task=sample.task,
        doc_id=sample.doc_id,
        attempt=attempt,
        filter=name,
        extracted=judgement.extracted,
        metrics=dict(metrics),
        outcome="truncated" if finish == CUT and outcome in ("wrong", "unparsed") else outcome,
        cluster=sample.cluster,
        note=judgement.note,
    )


def _score_choices(likelihood: Likelihood, sample: Sample, responses: ItemResponses) -> list[Score]:
    """Score every pass of a choice. If one of its requests failed, the choice has failed.

    Raises DataError if there are not as many log-likelihoods as the item has choices.
    """
    zeros = dict.fromkeys(likelihood.metrics, 0.0) | ({"acc": 0.0} if "mc2" in likelihood.metrics else {})
    scores: list[Score] = []
    for attempt, choices in enumerate(zip(*_passes(responses), strict=True)):
        pairs = [response for response, _, _ in choices]
        if any(isinstance(pair, tuple) and math.isnan(pair[0]) for pair in pairs):
            judgement = _Judgement("failed", note="a log-likelihood is not a number")
        elif all(isinstance(pair, tuple) for pair in pairs):
            try:
                chosen, metrics = choice.score_choice(likelihood.metrics, cast(Sequence[Pair], pairs), sample)
            except ValueError as exc:
                raise DataError(f"item {sample.doc_id} of {sample.task}: {exc}") from exc
            judgement = _Judgement(None, chosen, metrics)
        else:
            judgement = _Judgement("failed")
        headline = likelihood.metrics[0]
        scores.append(_score(sample, attempt, "none", judgement, judgement.metrics or zeros, headline, None))
    return scores


# Response, finish reason and failure of one pass.
_Pass = tuple[str | Pair | None, str | None, str | None]


def _passes(responses: ItemResponses) -> list[list[_Pass]]:
    """Return all passes of each request of an item. Unknown finish reasons and failures are None."""
    requests = []
    for number, values in enumerate(responses.responses):
        tables = (responses.finishes, responses.failures)
        columns = [table[number] if table else [None] * len(values) for table in tables]
        requests.append(list(zip(values, *columns, strict=True)))
    return cast(list[list[_Pass]], requests)


def _error_text(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]


def mean_value(metrics: Metrics, name: str) -> float:
    """Return a metric as one number: the mean if it is a list. Without that name, the first metric."""
    value = metrics.get(name, next(iter(metrics.values()), 0.0))
    if not isinstance(value, list):
        return value
    return sum(value) / len(value) if value else 0.0
