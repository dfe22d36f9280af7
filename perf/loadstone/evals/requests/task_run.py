"""A task as it is run on one model: its rows, how it is answered, and every request, by item and pass.

Reads the data and sends nothing. mode.py chooses how the task is answered, build.py builds its requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadstone.errors import ConfigError, Notice
from loadstone.evals.data import samples
from loadstone.evals.data.rows import load_rows
from loadstone.evals.data.samples import SampleSelection
from loadstone.evals.requests import build
from loadstone.evals.requests.build import Item
from loadstone.evals.requests.eval_request import AnswerMode, EvalRequest
from loadstone.evals.settings import Eval
from loadstone.tasks.spec import HarnessTask, Task


class TaskRun(Struct, frozen=True, kw_only=True):
    """A task with its requests.

    answer_mode: how it is answered
    shots: worked examples before each question
    repeats: passes
    settings: of the generation, as sent
    original: rows of the split
    sha256: of the files that were read, by name
    """

    task: Task
    answer_mode: AnswerMode
    shots: int
    repeats: int
    settings: dict[str, Any]
    items: list[Item]
    original: int
    sha256: dict[str, str] = {}

    def requests(self) -> Iterator[EvalRequest]:
        """Return all requests, item by item."""
        return (request for item in self.items for passes in item.requests for request in passes)


def build_task_run(task: Task, answer_mode: AnswerMode, settings: Eval, notice: Notice = lambda _: None) -> TaskRun:
    """Build the requests of a task for the items that the settings select. Raises UsageError."""
    if isinstance(task, HarnessTask):
        return _build_lm_eval_run(task, answer_mode, settings, notice)
    shots = samples.shot_count(task, settings.num_fewshot)
    if settings.num_fewshot is not None and shots != settings.num_fewshot:
        notice(f"{task.name} has {shots} worked examples, not {settings.num_fewshot}")

    # The rows of the questions and those of the worked examples: the same object if they are the same split.
    rows = examples = load_rows(task.data, settings.data)
    if shots and task.draw != "fixed":
        shot_rows = load_rows(task.data, settings.data, shots=True)
        if task.data.shots_split != task.data.split or shot_rows.sha256 != rows.sha256:
            examples = shot_rows
    selection = SampleSelection(
        limit=settings.limit, ids=settings.samples.get(task.name), num_fewshot=settings.num_fewshot
    )
    drawn = samples.select_samples(task, answer_mode.mode, rows.docs, examples.docs, selection)
    if answer_mode.mode == "generation" and answer_mode.form == "text" and any(sample.later for sample in drawn):
        raise ConfigError(f"{task.name} is conversations, which completions do not hold: say --api chat")

    fields = build.generation_settings(task, settings.gen) if answer_mode.mode == "generation" else {}
    repeat = task.repeats if settings.repeat is None else settings.repeat
    if repeat > 1 and not fields.get("temperature"):
        notice(f"{task.name}: {repeat} passes at temperature 0 will hardly differ; sample with --temperature 0.6")
    sha256 = {}
    for each in (rows, examples):
        # Names of files without the folders that hold them on this machine.
        names = [str(Path(*Path(file).parts[-2:])) for file in each.files]
        sha256[", ".join(names) or each.origin] = each.sha256
    return TaskRun(
        task=task,
        answer_mode=answer_mode,
        shots=shots,
        repeats=repeat,
        settings=_cut_stops(task, answer_mode, fields, notice),
        items=[
            build.build_item(
                sample,
                answer_mode,
                settings=fields,
                repeat=repeat,
                system=settings.system,
                multiturn=settings.multiturn,
            )
            for sample in drawn
        ],
        original=len(rows.docs),
        sha256=sha256,
    )


def _build_lm_eval_run(task: HarnessTask, answer_mode: AnswerMode, settings: Eval, notice: Notice) -> TaskRun:
    """Build the requests of a task of lm-eval, which formulates its questions itself."""
    lm_eval_task = task.lm_eval_task
    repeats = max(task.repeats, settings.repeat or 1)
    items = lm_eval_task.items(settings, answer_mode)
    return TaskRun(
        task=task,
        answer_mode=answer_mode,
        shots=lm_eval_task.shots,
        repeats=repeats,
        items=items,
        settings=_cut_stops(task, answer_mode, lm_eval_task.settings(settings.gen), notice),
        original=lm_eval_task.original,
    )


def _cut_stops(task: Task, answer_mode: AnswerMode, settings: dict[str, Any], notice: Notice) -> dict[str, Any]:
    """Return the settings of a generation as sent, and report stop texts that are not."""
    sent = build.cut_stops(settings, answer_mode.stops)
    if sent != settings:
        notice(
            f"{task.name}: of {len(settings['stop'])} stop texts the first {len(sent['stop'])} are sent, as servers"
            " take no more; answers are cut at the others when they have come"
        )
    return sent
