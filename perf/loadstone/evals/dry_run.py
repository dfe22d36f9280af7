"""`--dry-run`: estimates the requests, tokens and price of an evaluation, and shows its first prompts.

Sends nothing, not even to ask the server what it can do: each task is taken in its default mode.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from msgspec import Struct

from loadstone.dataset import tokenizer
from loadstone.errors import ConfigError, Notice
from loadstone.evals.output import eval_json
from loadstone.evals.prepare import select_tasks
from loadstone.evals.requests import build
from loadstone.evals.requests.eval_request import AnswerMode, LogprobMethod
from loadstone.evals.requests.task_run import TaskRun, build_task_run
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.evals.settings import Eval
from loadstone.report.page import Page, Prose, Section, Table
from loadstone.tasks.spec import Task

# Characters of a token of English, roughly (OpenAI's rule of thumb), if there is no tokenizer.
CHARACTERS = 4


class TaskForecast(Struct, frozen=True, kw_only=True):
    """A task as it would be run.

    input_tokens: of all prompts
    output_tokens: of the answers, at most
    cost: with answers of that length; None without prices
    first: its first prompt
    """

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
    """All tasks.

    counted: tokens were counted by a tokenizer, not estimated from characters
    """

    tasks: list[TaskForecast]
    counted: bool


def forecast(settings: Eval, notice: Notice = lambda _: None) -> Forecast:
    """Return what would be sent. Raises the same UsageErrors as the evaluation, as far as these need no server."""
    settings = settings.check()
    name = settings.load.tokenizer
    count = tokenizer.load(name).count if name else lambda text: -(-len(text) // CHARACTERS)
    tasks = select_tasks(settings, notice).tasks
    task_runs = [build_task_run(task, default_mode(task, settings), settings, notice) for task in tasks]
    return Forecast([_forecast_task(task_run, count, settings) for task_run in task_runs], counted=name is not None)


def default_mode(task: Task, settings: Eval) -> AnswerMode:
    """Return how the task is answered if nothing is known of the server."""
    mode = task.default if settings.mode == "auto" else settings.mode
    if mode not in task.modes:
        raise ConfigError(f"{task.name} cannot be answered by {mode}; it can by {' or '.join(task.modes)}")
    if mode == "generation":
        return AnswerMode(mode, settings.api or "chat")
    method = LogprobMethod("echo") if mode == "loglikelihood" else LogprobMethod("letters")
    return AnswerMode(mode, "completions", method)


def _forecast_task(task_run: TaskRun, count: Callable[[str], int], settings: Eval) -> TaskForecast:
    """Count the requests and tokens of a task.

    count: returns the tokens of a text
    """
    requests = list(task_run.requests())
    turns = sum(1 + len(request.later) for request in requests)

    # Tokens of all prompts. The continuations of an item share its context, which is counted once; a later turn of a
    # conversation holds all earlier turns of the user.
    context_tokens: dict[int, int] = {}
    input_tokens = 0
    for request in requests:
        key = id(request.prompt)
        if key not in context_tokens:
            context_tokens[key] = count(build.readable(request.prompt))
        input_tokens += context_tokens[key] + (count(request.continuation) if request.continuation else 0)
        input_tokens += sum(context_tokens[key] + tokens for tokens in accumulate(map(count, request.later)))

    # Tokens of all answers, at most.
    limit = 1
    if task_run.answer_mode.mode == "generation":
        limit = task_run.settings.get("max_tokens", task_run.settings.get("max_completion_tokens", 1))
    output_tokens = turns * limit
    first = ""
    if requests:
        continuation = requests[0].continuation
        first = build.readable(requests[0].prompt) + (f"[{continuation}]" if continuation else "")
    return TaskForecast(
        task=task_run.task.name,
        mode=task_run.answer_mode.mode,
        template=TaskSetup.of(task_run).template,
        version=task_run.task.version,
        shots=task_run.shots,
        items=len(task_run.items),
        original=task_run.original,
        requests=turns,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=eval_json.cost(input_tokens, output_tokens, settings),
        first=first,
    )


# Heads of the table; the cost is added if there are prices.
COLUMNS = ["task", "mode", "template", "shots", "items", "of", "requests", "input tokens", "output tokens <="]


def page(plan: Forecast) -> Page:
    """Return the forecast as a page."""
    priced = any(task.cost is not None for task in plan.tasks)
    rows: list[list[str]] = []
    for task in plan.tasks:
        counts = (task.shots, task.items, task.original, task.requests, task.input_tokens, task.output_tokens)
        cells = [task.task, task.mode, f"{task.template} {task.version:g}", *(f"{count:,}" for count in counts)]
        rows.append([*cells, *([_cost(task.cost)] if priced else [])])
    if len(plan.tasks) >= 2:
        names = ("items", "original", "requests", "input_tokens", "output_tokens")
        totals = [f"{sum(getattr(task, name) for task in plan.tasks):,}" for name in names]
        cost = sum(task.cost or 0.0 for task in plan.tasks)
        rows.append(["all", "", "", "", *totals, *([_cost(cost)] if priced else [])])

    requests = sum(task.requests for task in plan.tasks)
    lead = Prose(f"{requests:,} requests would be sent; none was, not even to ask the server what it can do.")
    about = "Input tokens by the tokenizer" if plan.counted else "Input tokens about, at 4 characters each"
    note = f"{about}. Output tokens and cost at the most: every answer as long as it may be."
    table = Table("Requests", [*COLUMNS, *(["cost <="] if priced else [])], rows, note)
    prompts = [Prose(f"{task.task}, its first prompt:\n\n{task.first}") for task in plan.tasks if task.first]
    return Page("Dry run", lead, [Section("Requests", [table]), Section("Prompts", prompts)])


def _cost(cost: float | None) -> str:
    return "-" if cost is None else f"{cost:,.4g}"
