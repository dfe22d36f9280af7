"""What a task asks of one model: its rows, how it is answered, and every request, by item and pass.

Reads the data, asks nobody. How a task can be answered here is route.py's, how its items are put asking.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from loadstone.errors import Notice, UsageError
from loadstone.evals.data import rows as library
from loadstone.evals.data import samples
from loadstone.evals.data.rows import Rows
from loadstone.evals.data.samples import SampleSelection
from loadstone.evals.lm_eval.tasks import TaskOptions
from loadstone.evals.requests import build
from loadstone.evals.requests.build import EvalRequest, Item, RequestOptions
from loadstone.evals.requests.mode import AnswerMode
from loadstone.evals.scoring import score as scoring
from loadstone.evals.scoring.aggregate import TaskInfo
from loadstone.evals.settings import Eval
from loadstone.samples import ItemResponses, Score, TaskResult
from loadstone.tasks.spec import HarnessTask, Mode, Task


class TaskRun(Struct, frozen=True, kw_only=True):
    """A task as it is asked. `settings`: of the generation; `original`: rows of its split; `sha256`: of the files read,
    by name."""

    task: Task
    answer_mode: AnswerMode
    shots: int
    repeats: int
    settings: dict[str, Any]
    items: list[Item]
    original: int
    sha256: dict[str, str] = {}

    def requests(self) -> Iterator[EvalRequest]:
        """All requests, item by item."""
        return (one for item in self.items for passes in item.requests for one in passes)

    def setup(self, scored: bool) -> TaskSetup:
        return TaskSetup(
            task=self.task,
            mode=self.answer_mode.mode,
            shots=self.shots,
            repeats=self.repeats,
            settings=self.settings if self.answer_mode.mode == "generation" else {},
            original=self.original,
            sha256=self.sha256,
            chat=self.answer_mode.form == "messages",
            scored=scored,
            **_judges(self.task),
        )


def build_task_run(task: Task, answer_mode: AnswerMode, settings: Eval, notice: Notice = lambda _: None) -> TaskRun:
    """A task with the items that are wanted of it. Raises UsageError."""
    if isinstance(task, HarnessTask):
        return _bridged(task, answer_mode, settings, notice)
    shots = samples.shot_count(task, settings.num_fewshot)
    if settings.num_fewshot is not None and shots != settings.num_fewshot:
        notice(f"{task.name} has {shots} worked examples, not {settings.num_fewshot}")
    rows, examples = _rows(task, settings.data, shots)
    which = SampleSelection(limit=settings.limit, ids=settings.samples.get(task.name), num_fewshot=settings.num_fewshot)
    drawn = samples.select_samples(task, answer_mode.mode, rows.docs, examples.docs, which)
    if answer_mode.mode == "generation" and answer_mode.form == "text" and any(sample.later for sample in drawn):
        raise UsageError(f"{task.name} is conversations, which completions do not hold: say --api chat")
    how = _how(task, answer_mode, settings, notice)
    return TaskRun(
        task=task,
        answer_mode=answer_mode,
        shots=shots,
        repeats=how.repeat,
        settings=_sent(task, answer_mode, how.settings, notice),
        items=[build.build_item(sample, how) for sample in drawn],
        original=len(rows.docs),
        sha256={_name(each): each.sha256 for each in (rows, examples)},
    )


def _bridged(task: HarnessTask, route: AnswerMode, settings: Eval, notice: Notice) -> TaskRun:
    """A task of lm-eval's, which puts its questions itself."""
    ask = TaskOptions(
        limit=settings.limit, ids=settings.samples.get(task.name), num_fewshot=settings.num_fewshot,
        repeat=settings.repeat or 1, system=settings.system, multiturn=settings.multiturn, gen=settings.gen,
    )  # fmt: skip
    foreign, repeats = task.lm_eval_task, max(task.repeats, settings.repeat or 1)
    items = foreign.items(ask, route.form)
    sent = _sent(task, route, foreign.settings(settings.gen), notice)
    return TaskRun(task=task, answer_mode=route, shots=foreign.shots, repeats=repeats, items=items,
                 settings=sent, original=foreign.original)  # fmt: skip


def _judges(task: Task) -> dict[str, Any]:
    """Of a task of lm-eval's, what judges it."""
    if not isinstance(task, HarnessTask):
        return {}
    judging = task.lm_eval_task.scorer
    return {
        "score_item": judging.score_item,
        "add_figures": judging.add_figures,
        "lm_eval_config": task.lm_eval_task.config,
    }


def _rows(task: Task, root: str | None, shots: int) -> tuple[Rows, Rows]:
    """Rows of the questions, and those to take examples from: the same object where they are the same split."""
    rows, data = library.load_rows(task.data, root), task.data
    if not shots or task.draw == "fixed":
        return rows, rows
    examples = library.load_rows(data, root, shots=True)
    return rows, rows if data.shots_split == data.split and examples.sha256 == rows.sha256 else examples


def _how(task: Task, route: AnswerMode, settings: Eval, notice: Notice) -> RequestOptions:
    said = build.generation_settings(task, settings.gen) if route.mode == "generation" else {}
    repeat = task.repeats if settings.repeat is None else settings.repeat
    if repeat > 1 and not said.get("temperature"):
        notice(f"{task.name}: {repeat} passes at temperature 0 will hardly differ; sample with --temperature 0.6")
    return RequestOptions(
        mode=route.mode, form=route.form, system=settings.system, multiturn=settings.multiturn, settings=said,
        repeat=repeat,
    )  # fmt: skip


def _sent(task: Task, route: AnswerMode, settings: dict[str, Any], notice: Notice) -> dict[str, Any]:
    """What goes into the requests of a generation."""
    cut = build.cut_stops(settings, route.stops)
    if cut != settings:
        notice(f"{task.name}: of {len(settings['stop'])} stop texts the first {len(cut['stop'])} are sent, as servers"
               " take no more; answers are cut at the others when they have come")  # fmt: skip
    return cut


def _name(rows: Rows) -> str:
    """The files as they are called, without where they lie on this machine."""
    names = [str(Path(*Path(file).parts[-2:])) for file in rows.files]
    return ", ".join(names) or rows.origin


class TaskSetup(Struct, frozen=True, kw_only=True):
    """How a task was asked. `settings`: of the generation, as sent; `original`: rows of the split; `sha256`: of the
    files read, by name; `chat`: asked as messages; `judged`: False where only predictions are wanted.
    judge, figures, foreign: of a task of lm-eval's: what judges an item, what adds its own figures, its configuration.
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

    @property
    def template(self) -> str:
        spec = self.task.generation if self.mode == "generation" else self.task.likelihood
        return spec.template if spec else ""

    @property
    def info(self) -> TaskInfo:
        task = self.task
        return TaskInfo(task=task.name, title=task.title, mode=self.mode, template=self.template, version=task.version,
                   shots=self.shots, headline=scoring.headline(task, self.mode))  # fmt: skip

    @property
    def filters(self) -> list[str]:
        spec = self.task.generation
        return [each.name for each in spec.filters] if spec and self.mode == "generation" else ["none"]
