"""A capacity plan as CSV: a row for each demand, stack and month, plain numbers in base units. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from loadstone.capacity.curves import FIGURES
from loadstone.capacity.plan import Plan, Stack
from loadstone.text import write_rows

_SIZE = (
    *("month", "replicas", "optimistic", "spare", "gpus", "mean", "peak", "load"),
    *("utilisation", "degraded", "most", "fewer", "basis"),
)
_COST = ("hour", "month", "thousand_requests", "million_output", "million_total")


def render(plan: Plan) -> str:
    """Return the table. Times are in seconds, money in the named currency.

    A stack without a plan has a row for each demand, with the reason.
    """
    names = list(dict.fromkeys((*(objective.name for objective in plan.terms.objectives), *FIGURES)))
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    columns = ["stack", "rate", "users", "think", *_SIZE, "capacity_low", "capacity_high", "limits", "currency",
               "price", *(f"cost_{name}" for name in _COST), *ends]  # fmt: skip
    return write_rows(columns, (row for stack in plan.stacks for row in _rows(plan, stack, names)))


def _rows(plan: Plan, stack: Stack, names: list[str]) -> Iterator[list[Any]]:
    capacity = stack.capacity
    limits = "; ".join(capacity.limits) if capacity.low is not None else capacity.reason
    interval = [capacity.low, capacity.high, limits, plan.terms.currency, stack.price]
    for size in stack.sizes:
        think = size.demand.think if size.demand.users is not None else None
        cost = [None if size.cost is None else getattr(size.cost, name) for name in _COST]
        figures: list[float | None] = []
        for figure in map(size.figures.get, names):
            figures += [None] * 3 if figure is None else [figure.value, figure.low, figure.high]
        yield [
            stack.curve.label,
            size.demand.rate,
            size.demand.users,
            think,
            *attrgetter(*_SIZE)(size),
            *interval,
            *cost,
            *figures,
        ]
    if not stack.sizes:
        for demand in plan.terms.demands:
            unknown = [None] * (len(_COST) + 3 * len(names))
            head = [stack.curve.label, demand.rate, demand.users, demand.think]
            yield [*head, *[None] * len(_SIZE), *interval, *unknown]
