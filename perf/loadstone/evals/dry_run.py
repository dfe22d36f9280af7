"""An evaluation that is looked at and not made: how many requests, how long, at what price, and what they say.

Sends nothing, not even to ask the server what it can do: each task is taken the way it is answered by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate

from msgspec import Struct

from loadstone.dataset import tokenizer
from loadstone.errors import Notice, UsageError
from loadstone.evals.data import selection
from loadstone.evals.output import eval_json
from loadstone.evals.requests import build, task_run
from loadstone.evals.requests.build import EvalRequest
from loadstone.evals.requests.loglikelihood import LogprobMethod
from loadstone.evals.requests.mode import AnswerMode
from loadstone.evals.requests.task_run import TaskRun
from loadstone.evals.settings import Eval
from loadstone.report.page import Page, Prose, Section, Table
from loadstone.tasks.spec import Task

# Of a token of English, roughly (OpenAI's rule of thumb), where no tokenizer counts.
CHARACTERS = 4


class TaskForecast(Struct, frozen=True, kw_only=True):
    """A task as it would be asked. `input_tokens`: of all prompts; `output_tokens`: what the answers may have at the
    most; `cost`: with answers of that length; `first`: its first prompt as it is sent."""

    task: str
    mode: str
    template: str
    version: float
    shots: int
    items: int
    original: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    first: str


class Forecast(Struct, frozen=True):
    """`counted`: by the tokenizer, and not estimated from characters."""

    tasks: list[TaskForecast]
    counted: bool


def forecast(settings: Eval, notice: Notice = lambda _: None) -> Forecast:
    """What would be asked. Raises UsageError as the evaluation itself would, as far as that needs no server."""
    settings = settings.check()
    name = settings.load.tokenizer
    count = tokenizer.load(name).count if name else _estimate
    made = [
        task_run.build_task_run(task, default_mode(task, settings), settings, notice)
        for task in selection.select_tasks(settings, notice).tasks
    ]
    return Forecast([_planned(paper, count, settings) for paper in made], counted=name is not None)


def default_mode(task: Task, settings: Eval) -> AnswerMode:
    """As the task is answered where nothing is known of the server."""
    mode = task.default if settings.mode == "auto" else settings.mode
    if mode not in task.modes:
        raise UsageError(f"{task.name} cannot be answered by {mode}; it can by {' or '.join(task.modes)}")
    if mode == "generation":
        return AnswerMode(mode, settings.api or "chat")
    return AnswerMode(
        mode, "completions", LogprobMethod("echo") if mode == "loglikelihood" else LogprobMethod("letters")
    )


def _planned(paper: TaskRun, count: Callable[[str], int], settings: Eval) -> TaskForecast:
    wanted = list(paper.requests())
    input_tokens = _counted(wanted, count)
    most = paper.settings.get("max_tokens", paper.settings.get("max_completion_tokens", 1))
    output_tokens = sum(1 + len(one.later) for one in wanted) * (most if paper.answer_mode.mode == "generation" else 1)
    setup = paper.setup(True)
    return TaskForecast(
        task=paper.task.name,
        mode=paper.answer_mode.mode,
        template=setup.template,
        version=paper.task.version,
        shots=paper.shots,
        items=len(paper.items),
        original=paper.original,
        requests=sum(1 + len(one.later) for one in wanted),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=eval_json.cost(input_tokens, output_tokens, settings),
        first=_shown(wanted[0]) if wanted else "",
    )


def _counted(wanted: Iterable[EvalRequest], count: Callable[[str], int]) -> int:
    """Contexts are shared by the continuations of an item, and counted once; a later turn has all that the user said
    before it."""
    known: dict[int, int] = {}
    total = 0
    for one in wanted:
        if id(one.prompt) not in known:
            known[id(one.prompt)] = count(build.readable(one.prompt))
        total += known[id(one.prompt)] + (count(one.continuation) if one.continuation else 0)
        total += sum(known[id(one.prompt)] + said for said in accumulate(map(count, one.later)))
    return total


def _shown(wanted: EvalRequest) -> str:
    return build.readable(wanted.prompt) + (f"[{wanted.continuation}]" if wanted.continuation else "")


def _estimate(text: str) -> int:
    return -(-len(text) // CHARACTERS)


COLUMNS = ["task", "mode", "template", "shots", "items", "of", "requests", "input tokens", "output tokens <="]


def page(plan: Forecast) -> Page:
    priced = any(task.cost is not None for task in plan.tasks)
    rows = [_row(task, priced) for task in plan.tasks]
    requests = sum(task.requests for task in plan.tasks)
    lead = Prose(f"{requests:,} requests would be sent; none was, not even to ask the server what it can do.")
    about = "Input tokens by the tokenizer" if plan.counted else "Input tokens about, at 4 characters each"
    note = f"{about}. Output tokens and cost at the most: every answer as long as it may be."
    table = Table("Requests", [*COLUMNS, *(["cost <="] if priced else [])], [*rows, *_sum(plan, priced)], note)
    prompts = [Prose(f"{task.task}, its first prompt:\n\n{task.first}") for task in plan.tasks if task.first]
    return Page("Dry run", lead, [Section("Requests", [table]), Section("Prompts", prompts)])


def _row(task: TaskForecast, priced: bool) -> list[str]:
    counts = (task.shots, task.items, task.original, task.requests, task.input_tokens, task.output_tokens)
    cells = [task.task, task.mode, f"{task.template} {task.version:g}", *(f"{count:,}" for count in counts)]
    return [*cells, *([_cost(task.cost)] if priced else [])]


def _sum(plan: Forecast, priced: bool) -> list[list[str]]:
    if len(plan.tasks) < 2:
        return []
    names = ("items", "original", "requests", "input_tokens", "output_tokens")
    totals = [f"{sum(getattr(task, name) for task in plan.tasks):,}" for name in names]
    cost = sum(task.cost or 0.0 for task in plan.tasks)
    return [["all", "", "", "", *totals, *([_cost(cost)] if priced else [])]]


def _cost(cost: float | None) -> str:
    return "-" if cost is None else f"{cost:,.4g}"
