"""Selects the samples of a task from its rows, and the worked examples before each.

The examples of a row depend on the row alone, never on which other rows are selected. If lm-eval 0.4.13 draws them at
random, they are those that it draws for the whole split. Opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any

from msgspec import Struct

from loadstone.errors import ConfigError
from loadstone.samples import Question, Sample
from loadstone.tasks.spec import Doc, Mode, Task

# Seed with which lm-eval draws examples (the fourth number of its `--seed`).
SEED = 1234
Shot = tuple[str, str]


class SampleSelection(Struct, frozen=True, kw_only=True):
    """Which rows are selected: all, unless limited.

    limit: number of rows or, below 1, their fraction
    ids: doc_ids of the rows
    num_fewshot: worked examples; None for the task's own number
    """

    limit: float | None = None
    ids: Collection[int] | None = None
    num_fewshot: int | None = None


def shot_count(task: Task, requested: int | None) -> int:
    """Return the number of worked examples before each question: as requested, up to the task's maximum."""
    maximum = len(task.fixed_shots) if task.draw == "fixed" else task.max_shots
    count = task.shots if requested is None else requested
    return count if maximum is None else min(count, maximum)


def select_samples(
    task: Task, mode: Mode, docs: Sequence[Doc], shot_docs: Sequence[Doc], selection: SampleSelection
) -> list[Sample]:
    """Return the selected samples, by doc_id.

    docs: rows of the questions
    shot_docs: rows to take examples from; the same object as `docs` if they are the same split

    Raises ConfigError.
    """
    # The doc_ids: as requested, or the first of those that the task keeps.
    if selection.ids is not None:
        selected = set(selection.ids)
        if wrong := [number for number in selection.ids if not 0 <= number < len(docs)]:
            raise ConfigError(
                f"--samples asks {task.name} for {wrong[0]}, but its doc_ids are 0 to {len(docs) - 1}", field="samples"
            )
    else:
        kept = [number for number, doc in enumerate(docs) if task.keep is None or task.keep(doc)]
        if selection.limit is not None:
            limit = math.ceil(len(kept) * selection.limit) if selection.limit < 1 else int(selection.limit)
            kept = kept[:limit]
        selected = set(kept)

    # Random draws of examples depend on all rows before, so examples are drawn for these too.
    count = shot_count(task, selection.num_fewshot)
    shots = _draw_shots(task, mode, docs, shot_docs, count) if count else ([] for _ in docs)
    last = max(selected, default=-1)
    pairs = islice(enumerate(zip(docs, shots, strict=False)), last + 1)
    return [_sample(task, mode, number, doc, drawn) for number, (doc, drawn) in pairs if number in selected]


def _draw_shots(task: Task, mode: Mode, docs: Sequence[Doc], pool: Sequence[Doc], count: int) -> Iterator[list[Shot]]:
    """Yield the examples of each row in turn."""
    if task.draw == "fixed":
        yield from (list(task.fixed_shots[:count]) for _ in docs)
        return
    may_hold_row = pool is docs or task.draw == "spare"
    available = len(pool) - may_hold_row
    if count > available:
        raise ConfigError(
            f"{task.name} has {available} rows to take examples from: give --num-fewshot {available} or fewer"
        )
    query, target = _wording(task, mode)
    draw = _DRAWS[task.draw](pool, may_hold_row)
    shots: dict[int, Shot] = {}  # each row as an example, built once
    for doc in docs:
        numbers = draw(doc, count)
        for number in numbers:
            if number not in shots:
                row = pool[number]
                shots[number] = task.shot(row) if task.shot else (query(row), target(row))
        yield [shots[number] for number in numbers]


Draw = Callable[[Doc, int], list[int]]


def _first_rows(pool: Sequence[Doc], may_hold_row: bool) -> Draw:
    """Return a function that draws the first rows of the split other than the row itself."""

    def draw(doc: Doc, count: int) -> list[int]:
        others = (number for number, other in enumerate(pool) if not may_hold_row or other != doc)
        return list(islice(others, count))

    return draw


def _random_rows(pool: Sequence[Doc], may_hold_row: bool) -> Draw:
    """Return a function that draws rows at random, with one generator for all rows.

    If the row itself may be among them, one more is drawn, and all again if it was there several times. Source:
    lm_eval.api.samplers.ContextSampler.sample.
    """
    random, numbers = Random(SEED), range(len(pool))

    def draw(doc: Doc, count: int) -> list[int]:
        if not may_hold_row:
            return random.sample(numbers, count)
        drawn = [number for number in random.sample(numbers, count + 1) if pool[number] != doc][:count]
        if len(drawn) < count:
            drawn = random.sample([number for number in numbers if pool[number] != doc], count)
        return drawn

    return draw


_DRAWS: dict[str, Callable[[Sequence[Doc], bool], Draw]] = {
    "first": _first_rows,
    "random": _random_rows,
    "spare": _random_rows,
}


def _wording(task: Task, mode: Mode) -> tuple[Callable[[Doc], str], Callable[[Doc], str]]:
    """Return the functions for the query and the target of a row in this mode."""
    spec = task.generation if mode == "generation" else None
    return (spec and spec.query) or task.query, (spec and spec.target) or task.target


# Functions of a task that give optional fields of a sample with the same name.
_OPTIONAL = ("answers", "choices", "gold", "cluster", "later")


def _sample(task: Task, mode: Mode, number: int, doc: Doc, shots: list[Shot]) -> Sample:
    query, target = _wording(task, mode)
    spec = task.generation if mode == "generation" else None
    description = task.description if spec is None or spec.description is None else spec.description
    question = Question(
        query=query(doc),
        description=description,
        shots=shots,
        prefix=(spec.prefix if spec is not None else None) or "",
        delimiter=task.target_delimiter,
        between=task.fewshot_delimiter,
    )
    optional: dict[str, Any] = {name: get(doc) for name in _OPTIONAL if (get := getattr(task, name)) is not None}
    return Sample(task=task.name, doc_id=number, doc=doc, target=target(doc), ask=question, **optional)
