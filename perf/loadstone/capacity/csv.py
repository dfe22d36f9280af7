"""A capacity plan for a spreadsheet: a row for each demand, stack and month, plain numbers in base units. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from loadstone.capacity.curves import FIGURES
from loadstone.capacity.plan import FleetSize, Plan, Stack
from loadstone.text import write_rows

_SIZE = (
    *("month", "replicas", "optimistic", "spare", "gpus", "mean", "peak", "load"),
    *("utilisation", "degraded", "most", "fewer", "basis"),
)
_COST = ("hour", "month", "thousand_requests", "million_output", "million_total")
_NOWHERE = dict.fromkeys(_SIZE)


def render(plan: Plan) -> str:
    """Times in seconds, money in the currency named. A stack without a plan has a row a demand, with the reason."""
    names = list(dict.fromkeys((*(objective.name for objective in plan.terms.objectives), *FIGURES)))
    ends = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    columns = ["stack", "rate", "users", "think", *_SIZE, "capacity_low", "capacity_high", "limits", "currency",
               "price", *(f"cost_{name}" for name in _COST), *ends]  # fmt: skip
    return write_rows(columns, (row for stack in plan.stacks for row in _rows(plan, stack, names)))


def _rows(plan: Plan, stack: Stack, names: list[str]) -> Iterator[list[Any]]:
    found = stack.capacity
    limits = "; ".join(found.limits) if found.low is not None else found.reason
    between = [found.low, found.high, limits, plan.terms.currency, stack.price]
    for size in stack.sizes:
        yield [stack.curve.label, *_demand(size), *attrgetter(*_SIZE)(size), *between, *_cost(size),
               *(end for name in names for end in _figure(size, name))]  # fmt: skip
    if not stack.sizes:
        for demand in plan.terms.demands:
            nothing = [None] * (len(_COST) + 3 * len(names))
            yield [stack.curve.label, demand.rate, demand.users, demand.think, *_NOWHERE.values(), *between, *nothing]


def _demand(size: FleetSize) -> list[float | None]:
    return [size.demand.rate, size.demand.users, size.demand.think if size.demand.users is not None else None]


def _cost(size: FleetSize) -> list[float | None]:
    return [None if size.cost is None else getattr(size.cost, name) for name in _COST]


def _figure(size: FleetSize, name: str) -> list[float | None]:
    found = size.figures.get(name)
    return [None] * 3 if found is None else [found.value, found.low, found.high]
