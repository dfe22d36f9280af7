"""The charts of a capacity plan: replicas and cost over demand, over months, and the curves below them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from loadstone.capacity.plan import Plan, PlanStep, Requirements, Stack
from loadstone.capacity.replica import JudgedPoint
from loadstone.metrics.slo import FRACTIONS, Objective, format_value
from loadstone.report.page import Axis, Chart, Mark, Role, Series

_ROLES: dict[str, Role] = {"met": "good", "missed": "bad", "unresolved": "muted"}
_WORDS = {"met": "met", "missed": "missed", "unresolved": "cannot be told"}


def demand(plan: Plan) -> Iterator[Chart]:
    """Replicas over the mean demand: a staircase for each stack."""
    stairs = _series(plan, lambda stair: float(stair.replicas), "step")
    if stairs:
        yield Chart(
            title="Replicas over demand",
            x=_demand_axis(plan.terms),
            y=Axis("replicas", low=0),
            series=[*stairs, *_asked(plan)],
            note="mean demand; peak, headroom and spare replicas are counted in",
        )


def cost(plan: Plan) -> Iterator[Chart]:
    """What a month costs, and a million tokens."""
    months = _series(plan, lambda stair: stair.month, "step")
    tokens = _series(plan, lambda stair: stair.million_output, "line")
    if months:
        axis = Axis("cost of a month", plan.terms.currency, low=0)
        yield Chart(title="Cost over demand", x=_demand_axis(plan.terms), y=axis, series=months)
    if tokens:
        yield Chart(
            title="Cost of a million output tokens over demand",
            x=_demand_axis(plan.terms),
            y=Axis("a million output tokens", plan.terms.currency, log=True),
            series=tokens,
            note="small fleets are dear by the token: spare replicas, and what the last one does not use, weigh more",
        )


def growth(plan: Plan) -> Iterator[Chart]:
    series = [
        Series(
            _join(stack.curve.label if len(plan.stacks) > 1 else "", str(asked)),
            [float(size.month) for size in sizes],
            [float(size.replicas) for size in sizes],
            "step",
        )
        for stack in plan.stacks
        for asked in plan.terms.demands
        if (sizes := [size for size in stack.sizes if size.demand == asked])
    ]
    if series:
        yield Chart(title="Replicas over months", x=Axis("month"), y=Axis("replicas", low=0), series=series)


def curves(stack: Stack, terms: Requirements) -> Iterator[Chart]:
    """A chart for each objective: what was measured, the limit, and where the replicas of the plan work."""
    for objective in terms.objectives:
        spots = [one for one in stack.capacity.spots if objective.name in one.spot.figures]
        if objective.metric == "error_rate" and not any(_value(one, objective) for one in spots):
            continue
        if spots:
            yield _curve(stack, objective, spots)


def _curve(stack: Stack, objective: Objective, spots: Sequence[JudgedPoint]) -> Chart:
    found, scale = stack.capacity, 100.0 if objective.metric in FRACTIONS else 1e3
    ends = [("carried", found.low), ("too much", found.high)]
    loads, values = (
        [one.spot.load_for(objective.name) for one in spots],
        [_value(one, objective) * scale for one in spots],
    )
    far = max(values) > 20 * objective.limit * scale and min(values) > 0
    return Chart(
        title=f"{objective.name} over the load of a replica",
        x=Axis("requests/s of a replica", low=0),
        y=Axis(objective.name, "%" if scale == 100 else "ms", log=far, low=None if far else 0),
        series=[
            Series("measured", loads, values, "line", "muted", *_bounds(spots, objective, scale)),
            *_points(spots, objective, scale),
            *_working(stack, objective, scale),
        ],
        marks=[
            Mark(objective.limit * scale, f"limit {format_value(objective.metric, objective.limit)}", "y"),
            *(Mark(at, f"{word}: {at:.4g}/s") for word, at in ends if at is not None),
        ],
        group="load",
    )


def _points(spots: Sequence[JudgedPoint], objective: Objective, scale: float) -> Iterator[Series]:
    for judgement, role in _ROLES.items():
        chosen = [one for one in spots if one.judgement == judgement]
        if chosen:
            yield Series(
                f"objectives {_WORDS[judgement]}",
                [one.spot.load_for(objective.name) for one in chosen],
                [_value(one, objective) * scale for one in chosen],
                "points",
                role,
                texts=[_told(one) for one in chosen],
            )


def _told(one: JudgedPoint) -> str:
    return "; ".join([one.spot.name, f"{one.spot.requests:,} requests", *one.against])


def _working(stack: Stack, objective: Objective, scale: float) -> Iterator[Series]:
    sizes = [size for size in stack.sizes if size.month == 0 and objective.name in size.figures]
    if sizes:
        yield Series(
            "a replica of the plan, at the peak",
            [size.load for size in sizes],
            [size.figures[objective.name].value * scale for size in sizes],
            "points",
            "new",
            texts=[f"{size.demand}: {size.replicas:,} replicas, {size.basis}" for size in sizes],
        )


def _value(one: JudgedPoint, objective: Objective) -> float:
    return one.spot.figures[objective.name].value


def _bounds(
    spots: Sequence[JudgedPoint], objective: Objective, scale: float
) -> tuple[list[float | None], list[float | None]]:
    found = [one.spot.figures[objective.name] for one in spots]
    lows = [None if one.low is None else one.low * scale for one in found]
    highs = [None if one.high is None else one.high * scale for one in found]
    return lows, highs


# along the demand


def _demand_axis(terms: Requirements) -> Axis:
    unit = "users" if terms.demands[0].rate is None else "requests/s"
    return Axis("mean demand", unit, low=0)


def _series(plan: Plan, pick: Callable[[PlanStep], float | None], kind: Literal["step", "line"]) -> list[Series]:
    """One for each stack that has any of it."""
    picked = {stack.curve.label: [(stair.demand, pick(stair)) for stair in stack.stairs] for stack in plan.stacks}
    return [
        Series(label, [at for at, _ in pairs], [value for _, value in pairs], kind)
        for label, pairs in picked.items()
        if any(value is not None for _, value in pairs)
    ]


def _asked(plan: Plan) -> Iterator[Series]:
    """The demands that were asked for."""
    sizes = [(stack, size) for stack in plan.stacks for size in stack.sizes if size.month == 0]
    texts = [f"{stack.curve.label}: {size.demand}, {size.replicas:,} replicas" for stack, size in sizes]
    at, counts = [size.demand.size for _, size in sizes], [float(size.replicas) for _, size in sizes]
    yield Series("asked for", at, counts, "points", "new", texts=texts)


def _join(*parts: str) -> str:
    return ", ".join(filter(None, parts))
