"""From what came back for an item to what it is worth: one score per pass and filter.

What a text says is for the task's extractors, whether that is right for its scorers; here is which outcome it has. A
scorer that chokes on a text does not end the evaluation: the answer counts as unparsed, with a note.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.samples import ItemResponses, Outcome, Question, Sample, Score
from loadstone.scorers import choice
from loadstone.scorers.base import Scorer
from loadstone.tasks.spec import Filter, Generation, Likelihood, Mode, Task

Metrics = Mapping[str, float | list[float]]
Pair = tuple[float, bool]
Part = TypeVar("Part")
# The finish reason of an answer that was cut at its limit.
CUT = "length"


def score(task: Task, mode: Mode, responses: ItemResponses, run_code: Scorer | None = None) -> list[Score]:
    """All passes of an item through all filters. `run_code`: what runs a program against the item's tests; without it
    code is not judged, and there is no score. Raises UsageError for a row that is not one of the task's."""
    return score_sample(task, mode, build_sample(task, mode, responses), responses, run_code)


def score_sample(
    task: Task, mode: Mode, sample: Sample, responses: ItemResponses, run_code: Scorer | None = None
) -> list[Score]:
    """The same with the item at hand."""
    if mode != "generation":
        return _choices(_given(task.likelihood, task, mode), sample, responses)
    generation = _given(task.generation, task, mode)
    if generation.code and run_code is None:
        return []
    return [found for each in generation.filters for found in _words(generation, each, sample, responses, run_code)]


def build_sample(task: Task, mode: Mode, responses: ItemResponses) -> Sample:
    """The item that was answered, as the task makes it from its row; what was asked before it is not in it."""
    doc, told = responses.doc, task.generation.target if task.generation and mode == "generation" else None
    try:
        return Sample(
            task=task.name,
            doc_id=responses.doc_id,
            doc=doc,
            target=(told or task.target)(doc),
            ask=Question(query=""),
            answers=task.answers(doc) if task.answers else [],
            choices=task.choices(doc) if task.choices else [],
            gold=task.gold(doc) if task.gold else [],
            cluster=task.cluster(doc) if task.cluster else None,
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
        raise UsageError(f"item {responses.doc_id} is not a row of {task.name}: {_said(exc)}") from exc


def headline(task: Task, mode: Mode) -> tuple[str, str]:
    """Metric and filter that the task's headline counts by."""
    if mode != "generation":
        return _given(task.likelihood, task, mode).metrics[0], "none"
    generation = _given(task.generation, task, mode)
    return generation.headline, generation.filters[0].name


def _given(part: Part | None, task: Task, mode: Mode) -> Part:
    if part is None:
        raise UsageError(f"{task.name} cannot be answered by {mode}; it can by {' or '.join(task.modes)}")
    return part


def _words(
    generation: Generation, each: Filter, sample: Sample, answered: ItemResponses, run_code: Scorer | None
) -> Iterator[Score]:
    """Every pass of an answer in words through one filter."""
    judges = run_code if generation.code and run_code else each.score
    blank: Metrics | None = None
    for attempt, (text, finish, failure) in enumerate(_passes(answered)[0]):
        ended = text is None and failure == "empty" and finish is not None
        told = _told("" if ended else text, each, judges, sample)
        if not told.metrics:
            blank = blank or (_blank(judges, generation.headline, sample) if not generation.code else None)
        yield _score(
            sample,
            attempt,
            each.name,
            told,
            told.metrics or blank or {generation.headline: 0.0},
            generation.headline,
            finish,
        )


class _Told(Struct, frozen=True):
    """What was found out of an answer. `outcome`: where it does not depend on the metrics."""

    outcome: Outcome | None = None
    extracted: Any = None
    metrics: Metrics | None = None
    note: str | None = None


def _told(text: str | Pair | None, each: Filter, judges: Scorer, sample: Sample) -> _Told:
    """Of an answer in words. An empty one is held against nothing, as it could be right by accident."""
    if not isinstance(text, str):
        return _Told("failed")
    if not text.strip():
        return _Told("wrong", text)
    try:
        extracted = each.extract(text, sample)
        if extracted is None:
            return _Told("unparsed")
        return _Told(None, extracted, _finite(judges(extracted, sample)))
    except UsageError:
        raise
    except Exception as exc:  # a text that breaks a scorer must not cost the others their scores
        return _Told("unparsed", note=_said(exc))


def _finite(metrics: Metrics) -> Metrics:
    """Raises ValueError for a figure that is none."""
    for name, found in metrics.items():
        if not all(map(math.isfinite, found if isinstance(found, list) else [found])):
            raise ValueError(f"{name} is {found}")
    return metrics


def _blank(judges: Scorer, headline: str, sample: Sample) -> Metrics:
    """All metrics of a scorer, at 0: those it has for an answer of nothing."""
    try:
        found = judges("", sample)
    except Exception:  # as above
        return {headline: 0.0}
    return {name: [0.0] * len(each) if isinstance(each, list) else 0.0 for name, each in found.items()}


def _score(
    sample: Sample, attempt: int, name: str, told: _Told, metrics: Metrics, headline: str, finish: str | None
) -> Score:
    outcome: Outcome = told.outcome or ("right" if mean_value(metrics, headline) >= 0.5 else "wrong")
    return Score(
        task=sample.task,
        doc_id=sample.doc_id,
        attempt=attempt,
        filter=name,
        extracted=told.extracted,
        metrics=dict(metrics),
        outcome="truncated" if finish == CUT and outcome in ("wrong", "unparsed") else outcome,
        cluster=sample.cluster,
        note=told.note,
    )


def _choices(likelihood: Likelihood, sample: Sample, answered: ItemResponses) -> list[Score]:
    """Every pass of a choice. Where one of its requests failed, all that can be said is that the choice failed."""
    lanes, found = _passes(answered), []
    blank = dict.fromkeys(likelihood.metrics, 0.0) | ({"acc": 0.0} if "mc2" in likelihood.metrics else {})
    for attempt, lane in enumerate(zip(*lanes, strict=True)):
        pairs = [pair for pair, _, _ in lane]
        told = _Told("failed")
        if any(isinstance(pair, tuple) and math.isnan(pair[0]) for pair in pairs):
            told = _Told("failed", note="a log-likelihood is not a number")
        elif all(isinstance(pair, tuple) for pair in pairs):
            told = _taken(likelihood, cast(Sequence[Pair], pairs), sample)
        metrics = told.metrics or blank
        found.append(_score(sample, attempt, "none", told, metrics, likelihood.metrics[0], None))
    return found


def _taken(likelihood: Likelihood, pairs: Sequence[Pair], sample: Sample) -> _Told:
    """Raises UsageError where there are not as many log-likelihoods as the item has choices."""
    try:
        taken, metrics = choice.score_choice(likelihood.metrics, pairs, sample)
    except ValueError as exc:
        raise UsageError(f"item {sample.doc_id} of {sample.task}: {exc}") from exc
    return _Told(None, taken, metrics)


_Pass = tuple[str | Pair | None, str | None, str | None]


def _passes(answered: ItemResponses) -> list[list[_Pass]]:
    """Of each request, each pass: response, finish reason and failure, as far as they are known."""
    lanes = []
    for number, responses in enumerate(answered.responses):
        known = [
            table[number] if table else [None] * len(responses) for table in (answered.finishes, answered.failures)
        ]
        lanes.append(list(zip(responses, *known, strict=True)))
    return cast(list[list[_Pass]], lanes)


def _said(exc: Exception) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]


def mean_value(metrics: Metrics, name: str) -> float:
    """A metric as one figure; without that name the first."""
    found = metrics.get(name, next(iter(metrics.values()), 0.0))
    return sum(found) / len(found) if isinstance(found, list) and found else 0.0 if isinstance(found, list) else found
