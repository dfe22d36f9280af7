"""From a task and its rows to the samples that are asked: which rows, with which worked examples before them.

Which examples a row gets depends on the row alone, never on which others are asked; where lm-eval 0.4.13 draws them
at random, they are those that it draws for a whole split. Opens no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from random import Random
from typing import Any

from msgspec import Struct

from loadstone.errors import UsageError
from loadstone.samples import Question, Sample
from loadstone.tasks.spec import Doc, Mode, Task

# Of lm-eval's draw of examples (`--seed`, the fourth).
SEED = 1234
Shot = tuple[str, str]


class SampleSelection(Struct, frozen=True, kw_only=True):
    """Which rows are asked: so many of the task's, below 1 that share, or those of these doc_ids; all without either.
    `num_fewshot`: worked examples, where not as many as the task has by itself."""

    limit: float | None = None
    ids: Collection[int] | None = None
    num_fewshot: int | None = None


def shot_count(task: Task, requested: int | None) -> int:
    """How many worked examples the questions get: those wanted, as far as the task allows."""
    most = len(task.fixed_shots) if task.draw == "fixed" else task.max_shots
    count = task.shots if requested is None else requested
    return count if most is None else min(count, most)


def select_samples(
    task: Task, mode: Mode, docs: Sequence[Doc], shot_docs: Sequence[Doc], selection: SampleSelection
) -> list[Sample]:
    """The samples that are asked, by doc_id. `shot_docs`: rows to take examples from, the same object as `docs` where
    they are the same split. Raises UsageError."""
    chosen = set(_chosen(task, docs, selection))
    count = shot_count(task, selection.num_fewshot)
    shots = _drawn(task, mode, docs, shot_docs, count) if count else ([] for _ in docs)
    last = max(chosen, default=-1)
    pairs = islice(enumerate(zip(docs, shots, strict=False)), last + 1)
    return [_sample(task, mode, number, doc, taken) for number, (doc, taken) in pairs if number in chosen]


def _chosen(task: Task, docs: Sequence[Doc], which: SampleSelection) -> list[int]:
    if which.ids is not None:
        if wrong := [number for number in which.ids if not 0 <= number < len(docs)]:
            raise UsageError(f"--samples asks {task.name} for {wrong[0]}, but its doc_ids are 0 to {len(docs) - 1}")
        return sorted(set(which.ids))
    kept = [number for number, doc in enumerate(docs) if task.keep is None or task.keep(doc)]
    if which.limit is None:
        return kept
    return kept[: math.ceil(len(kept) * which.limit) if which.limit < 1 else int(which.limit)]


def _drawn(task: Task, mode: Mode, docs: Sequence[Doc], pool: Sequence[Doc], count: int) -> Iterator[list[Shot]]:
    """The examples of each row in turn."""
    if task.draw == "fixed":
        yield from (list(task.fixed_shots[:count]) for _ in docs)
        return
    own = pool is docs or task.draw == "spare"
    if count > (most := len(pool) - own):
        raise UsageError(f"{task.name} has {most} rows to take examples from: give --num-fewshot {most} or fewer")
    take, made = _DRAWS[task.draw](pool, own), _Shots(task, mode, pool)
    for doc in docs:
        yield [made[number] for number in take(doc, count)]


class _Shots(dict[int, Shot]):
    """Each row as an example, put together once."""

    def __init__(self, task: Task, mode: Mode, pool: Sequence[Doc]) -> None:
        super().__init__()
        self._pool, self._shot = pool, task.shot or _pair(task, mode)

    def __missing__(self, number: int) -> Shot:
        self[number] = made = self._shot(self._pool[number])
        return made


Take = Callable[[Doc, int], list[int]]


def _first(pool: Sequence[Doc], own: bool) -> Take:
    """The first of the split but for the row itself."""

    def take(doc: Doc, count: int) -> list[int]:
        others = (number for number, other in enumerate(pool) if not own or other != doc)
        return list(islice(others, count))

    return take


def _random(pool: Sequence[Doc], own: bool) -> Take:
    """lm_eval.api.samplers.ContextSampler.sample: one generator for all rows; one more is drawn where the row itself
    may be among them, and all again where it was there several times."""
    random, numbers = Random(SEED), range(len(pool))

    def take(doc: Doc, count: int) -> list[int]:
        if not own:
            return random.sample(numbers, count)
        drawn = [number for number in random.sample(numbers, count + 1) if pool[number] != doc][:count]
        if len(drawn) < count:
            drawn = random.sample([number for number in numbers if pool[number] != doc], count)
        return drawn

    return take


_DRAWS: dict[str, Callable[[Sequence[Doc], bool], Take]] = {"first": _first, "random": _random, "spare": _random}


def _pair(task: Task, mode: Mode) -> Callable[[Doc], Shot]:
    query, target = _wording(task, mode)
    return lambda doc: (query(doc), target(doc))


def _wording(task: Task, mode: Mode) -> tuple[Callable[[Doc], str], Callable[[Doc], str]]:
    spec = task.generation if mode == "generation" else None
    return (spec and spec.query) or task.query, (spec and spec.target) or task.target


def _sample(task: Task, mode: Mode, number: int, doc: Doc, shots: list[Shot]) -> Sample:
    query, target = _wording(task, mode)
    spec = task.generation if mode == "generation" else None
    description = task.description if spec is None or spec.description is None else spec.description
    prefix = (spec.prefix if spec is not None else None) or ""
    asked = Question(query=query(doc), description=description, shots=shots, prefix=prefix,
                  delimiter=task.target_delimiter, between=task.fewshot_delimiter)  # fmt: skip
    more: dict[str, Any] = {name: made(doc) for name in _MORE if (made := getattr(task, name)) is not None}
    return Sample(task=task.name, doc_id=number, doc=doc, target=target(doc), ask=asked, **more)


_MORE = ("answers", "choices", "gold", "cluster", "later")
