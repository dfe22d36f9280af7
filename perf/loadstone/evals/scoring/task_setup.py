"""How a task was answered and is scored: what the results, their files and reports need of a task run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.scoring.aggregate import TaskInfo
from loadstone.evals.scoring.score import headline
from loadstone.samples import ItemResponses, Score, TaskResult
from loadstone.tasks.spec import HarnessTask, Mode, Task


class TaskSetup(Struct, frozen=True, kw_only=True):
    """How a task was answered.

    mode: generation, loglikelihood or letters
    shots: worked examples before each question
    repeats: passes
    settings: of the generation, as sent
    original: rows of the split; None if unknown
    sha256: of the files that were read, by name
    chat: the prompts were messages
    scored: False if only predictions are saved
    score_item, add_figures, lm_eval_config: for a task of lm-eval, what scores an item, what adds lm-eval's own
        figures, and the task's configuration
    """

    task: Task
    mode: Mode
    shots: int = 0
    repeats: int = 1
    settings: dict[str, Any] = {}
    original: int | None = None
    sha256: dict[str, str] = {}
    chat: bool = False
    scored: bool = True
    score_item: Callable[[ItemResponses], list[Score]] | None = None
    add_figures: Callable[[TaskResult], TaskResult] | None = None
    lm_eval_config: dict[str, Any] | None = None

    @classmethod
    def of(cls, task_run: TaskRun, scored: bool = True) -> TaskSetup:
        """Return the setup of a task run."""
        task, answer_mode = task_run.task, task_run.answer_mode
        harness: dict[str, Any] = {}
        if isinstance(task, HarnessTask):
            scorer = task.lm_eval_task.scorer
            harness = {
                "score_item": scorer.score_item,
                "add_figures": scorer.add_figures,
                "lm_eval_config": task.lm_eval_task.config,
            }
        return cls(
            task=task,
            mode=answer_mode.mode,
            shots=task_run.shots,
            repeats=task_run.repeats,
            settings=task_run.settings if answer_mode.mode == "generation" else {},
            original=task_run.original,
            sha256=task_run.sha256,
            chat=answer_mode.form == "messages",
            scored=scored,
            **harness,
        )

    @property
    def template(self) -> str:
        """Return the name of the prompt template."""
        spec = self.task.generation if self.mode == "generation" else self.task.likelihood
        return spec.template if spec else ""

    @property
    def info(self) -> TaskInfo:
        """Return the description of the task in the results."""
        task = self.task
        return TaskInfo(
            task=task.name,
            title=task.title,
            mode=self.mode,
            template=self.template,
            version=task.version,
            shots=self.shots,
            headline=headline(task, self.mode),
        )

    @property
    def filters(self) -> list[str]:
        """Return the names of the filters that answers go through."""
        spec = self.task.generation
        return [each.name for each in spec.filters] if spec and self.mode == "generation" else ["none"]
