"""What an evaluation would ask, as a page: a row a task, and the first prompt of each in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone.report.page import Page, Prose, Section, Table

if TYPE_CHECKING:
    from loadstone.evals.dry_run import Plan, Planned

COLUMNS = ["task", "mode", "template", "shots", "items", "of", "requests", "input tokens", "output tokens <="]


def page(plan: Plan) -> Page:
    priced = any(task.cost is not None for task in plan.tasks)
    rows = [_row(task, priced) for task in plan.tasks]
    requests = sum(task.requests for task in plan.tasks)
    lead = Prose(f"{requests:,} requests would be sent; none was, not even to ask the server what it can do.")
    about = "Input tokens by the tokenizer" if plan.counted else "Input tokens about, at 4 characters each"
    note = f"{about}. Output tokens and cost at the most: every answer as long as it may be."
    table = Table("Requests", [*COLUMNS, *(["cost <="] if priced else [])], [*rows, *_sum(plan, priced)], note)
    prompts = [Prose(f"{task.task}, its first prompt:\n\n{task.first}") for task in plan.tasks if task.first]
    return Page("Dry run", lead, [Section("Requests", [table]), Section("Prompts", prompts)])


def _row(task: Planned, priced: bool) -> list[str]:
    counts = (task.shots, task.items, task.original, task.requests, task.input_tokens, task.output_tokens)
    cells = [task.task, task.mode, f"{task.template} {task.version:g}", *(f"{count:,}" for count in counts)]
    return [*cells, *([_cost(task.cost)] if priced else [])]


def _sum(plan: Plan, priced: bool) -> list[list[str]]:
    if len(plan.tasks) < 2:
        return []
    names = ("items", "original", "requests", "input_tokens", "output_tokens")
    totals = [f"{sum(getattr(task, name) for task in plan.tasks):,}" for name in names]
    cost = sum(task.cost or 0.0 for task in plan.tasks)
    return [["all", "", "", "", *totals, *([_cost(cost)] if priced else [])]]


def _cost(cost: float | None) -> str:
    return "-" if cost is None else f"{cost:,.4g}"
