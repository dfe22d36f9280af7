"""Two evaluations item by item, ours or lm-eval's: which items both answered, and what each was worth to either.

By doc_id and doc_hash. An item that failed on either side says nothing of the models and is left out, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from loadstone.compare import difference as contrast
from loadstone.errors import UsageError
from loadstone.evals.compare import paired_test
from loadstone.evals.compare.paired_test import Difference
from loadstone.evals.output import results
from loadstone.evals.output.lm_eval_samples import digest, doc_hash
from loadstone.evals.rescore import inputs
from loadstone.evals.rescore.sample_lines import SavedSample
from loadstone.evals.rescore.samples_file import SamplesFile
from loadstone.evals.scoring import score

# Filter and metric.
Name = tuple[str, str]


class EvaluationSide(Struct, frozen=True, kw_only=True):
    """One evaluation. `heads`: by task, what it is counted by."""

    name: str
    model: str
    files: dict[str, list[Path]]
    heads: dict[str, Name]


class TaskComparison(Struct, frozen=True, kw_only=True):
    """One task. `alone`: items that only one side has; `failed`: left out, as no answer came on one of them; `same`:
    the share of the answers in words that are the same to the letter, None of choices; `modes`, `metrics`: of base and
    new; `reworded`: items of which both sides tell the prompt, and it is another."""

    task: str
    metric: str
    modes: tuple[str, str]
    metrics: tuple[Name, Name]
    reworded: int
    difference: Difference | None
    alone: int
    failed: int
    same: float | None


class _Worth(Struct, frozen=True):
    value: float | None
    text: int | None
    prompt: int | None
    cluster: str | None


def read(path: Path) -> EvaluationSide:
    """Raises UsageError where there are no samples."""
    latest = results.latest(path) if path.is_dir() else None
    heads: dict[str, Name] = {}
    model = path.name
    if latest is not None:
        try:
            told = results.read(latest)
        except UsageError:
            told = None
        if told is not None:
            model = told.model
            heads = {each.task: (each.figures[0].filter, each.figures[0].metric) for each in told.tasks if each.figures}
    return EvaluationSide(name=str(path), model=model, files=inputs.group_by_task([path], None), heads=heads)


def compare(base: EvaluationSide, new: EvaluationSide) -> list[TaskComparison]:
    """Tasks that both have, in the order of the base. Raises UsageError without any."""
    common = [task for task in base.files if task in new.files]
    if not common:
        raise UsageError(f"{base.name} and {new.name} have no task in common: {', '.join(base.files)} against "
                         f"{', '.join(new.files)}")  # fmt: skip
    return adjust_p_values([_task(task, base, new) for task in common])


def adjust_p_values(tasks: Sequence[TaskComparison]) -> list[TaskComparison]:
    """The same with p-values after Holm: of many tasks that are alike, one in twenty would else be told apart."""
    tested = [(number, each.difference) for number, each in enumerate(tasks) if each.difference]
    known = [(number, found, found.p) for number, found in tested if found.p is not None]
    told = list(tasks)
    for (number, found, _), p in zip(known, contrast.holm([p for *_, p in known]), strict=True):
        told[number] = replace(tasks[number], difference=replace(found, p=p))
    return told


def _task(task: str, base: EvaluationSide, new: EvaluationSide) -> TaskComparison:
    head, old_mode, before = _worths(task, base, base.heads.get(task))
    other, new_mode, after = _worths(task, new, head, new.heads.get(task))
    keys = [key for key in before if key in after]
    pairs = [(before[key], after[key]) for key in keys]
    told = [(a.value, b.value, a.cluster) for a, b in pairs if a.value is not None and b.value is not None]
    words = [a.text == b.text for a, b in pairs if a.text is not None and b.text is not None]
    return TaskComparison(
        task=task,
        metric=head[1],
        modes=(old_mode, new_mode),
        metrics=(head, other),
        reworded=sum(None not in (a.prompt, b.prompt) and a.prompt != b.prompt for a, b in pairs),
        difference=paired_test.difference([a for a, _, _ in told], [b for _, b, _ in told], [c for *_, c in told]),
        alone=len(before) + len(after) - 2 * len(keys),
        failed=len(pairs) - len(told),
        same=sum(words) / len(words) if words else None,
    )


def _worths(task: str, side: EvaluationSide, *heads: Name | None) -> tuple[Name, str, dict[tuple[int, str], _Worth]]:
    """What each item was worth: by the first of the metrics `heads` that it has, else by its first."""
    worths: dict[tuple[int, str], _Worth] = {}
    name, mode = None, ""
    for logged in SamplesFile(task, side.files[task]):
        if name not in logged.metrics:
            name = next((head for head in (*heads, *logged.metrics) if head in logged.metrics), name)
        mode = mode or logged.mode
        worths[logged.responses.doc_id, doc_hash(logged.responses.doc)] = _worth(logged, name)
    return name or ("none", "?"), mode, worths


def _worth(logged: SavedSample, name: Name | None) -> _Worth:
    lanes = logged.responses.responses
    failed = any(response is None for lane in lanes for response in lane)
    value = logged.metrics.get(name) if name else None
    words = lanes[0][0] if lanes and lanes[0] and isinstance(lanes[0][0], str) else None
    return _Worth(
        None if failed or value is None or isinstance(value, str) else score.mean_value({"it": value}, "it"),
        None if words is None else int(digest(words)[:15], 16),
        int(digest(asked[0][0])[:15], 16) if (asked := logged.responses.arguments) and asked[0][0] else None,
        logged.cluster,
    )
