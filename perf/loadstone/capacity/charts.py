"""The charts of a capacity plan: replicas and cost over demand and over months, and the curves behind them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from loadstone.capacity.plan import Plan, PlanStep, Requirements, Stack
from loadstone.capacity.replica import JudgedPoint
from loadstone.config.slo import METRICS, Objective, format_value
from loadstone.report.page import Axis, Chart, Mark, Role, Series

_ROLES: dict[str, Role] = {"met": "good", "missed": "bad", "unresolved": "muted"}
# Ratio of the largest value to the limit above which an axis is logarithmic.
_LOG_RATIO = 20


def demand(plan: Plan) -> Iterator[Chart]:
    """Yield a chart of the replicas over the mean demand, with a line of steps for each stack."""
    steps = _series(plan, lambda step: float(step.replicas), "step")
    if not steps:
        return
    sizes = [(stack, size) for stack in plan.stacks for size in stack.sizes if size.month == 0]
    planned = Series(
        "planned",
        [size.demand.size for _, size in sizes],
        [float(size.replicas) for _, size in sizes],
        "points",
        "new",
        texts=[f"{stack.curve.label}: {size.demand}, {size.replicas:,} replicas" for stack, size in sizes],
    )
    yield Chart(
        title="Replicas over demand",
        x=_demand_axis(plan.terms),
        y=Axis("replicas", low=0),
        series=[*steps, planned],
        note="mean demand; peak, headroom and spare replicas are included",
    )


def cost(plan: Plan) -> Iterator[Chart]:
    """Yield charts of the cost of a month, and of a million tokens."""
    months = _series(plan, lambda step: step.month, "step")
    tokens = _series(plan, lambda step: step.million_output, "line")
    if months:
        axis = Axis("cost of a month", plan.terms.currency, low=0)
        yield Chart(title="Cost over demand", x=_demand_axis(plan.terms), y=axis, series=months)
    if tokens:
        yield Chart(
            title="Cost of a million output tokens over demand",
            x=_demand_axis(plan.terms),
            y=Axis("a million output tokens", plan.terms.currency, log=True),
            series=tokens,
            note="small fleets cost more per token: spare and partly used replicas weigh more",
        )


def growth(plan: Plan) -> Iterator[Chart]:
    """Yield a chart of the replicas over the months ahead."""
    series = []
    for stack in plan.stacks:
        for demand in plan.terms.demands:
            sizes = [size for size in stack.sizes if size.demand == demand]
            if sizes:
                name = f"{stack.curve.label}, {demand}" if len(plan.stacks) > 1 else str(demand)
                months, replicas = [float(size.month) for size in sizes], [float(size.replicas) for size in sizes]
                series.append(Series(name, months, replicas, "step"))
    if series:
        yield Chart(title="Replicas over months", x=Axis("month"), y=Axis("replicas", low=0), series=series)


def curves(stack: Stack, requirements: Requirements) -> Iterator[Chart]:
    """Yield a chart for each objective: what was measured, the limit, and where the replicas of the plan operate."""
    for objective in requirements.objectives:
        points = [point for point in stack.capacity.spots if objective.name in point.spot.figures]
        all_zero = not any(point.spot.figures[objective.name].value for point in points)
        if points and not (objective.metric == "error_rate" and all_zero):
            yield _curve(stack, objective, points)


def _curve(stack: Stack, objective: Objective, points: Sequence[JudgedPoint]) -> Chart:
    scale = 100.0 if METRICS[objective.metric][0] == "share" else 1e3
    figures = [point.spot.figures[objective.name] for point in points]
    loads = [point.spot.load_for(objective.name) for point in points]
    values = [figure.value * scale for figure in figures]
    lows = [None if figure.low is None else figure.low * scale for figure in figures]
    highs = [None if figure.high is None else figure.high * scale for figure in figures]
    series = [Series("measured", loads, values, "line", "muted", lows, highs)]

    # The points by their judgement.
    for judgement, role in _ROLES.items():
        chosen = [index for index, point in enumerate(points) if point.judgement == judgement]
        if chosen:
            texts = []
            for point in (points[index] for index in chosen):
                texts.append("; ".join([point.spot.name, f"{point.spot.requests:,} requests", *point.against]))
            at, heights = [loads[index] for index in chosen], [values[index] for index in chosen]
            series.append(Series(f"objectives {judgement}", at, heights, "points", role, texts=texts))

    # The replicas of the plan.
    sizes = [size for size in stack.sizes if size.month == 0 and objective.name in size.figures]
    if sizes:
        series.append(
            Series(
                "a replica of the plan, at the peak",
                [size.load for size in sizes],
                [size.figures[objective.name].value * scale for size in sizes],
                "points",
                "new",
                texts=[f"{size.demand}: {size.replicas:,} replicas, {size.basis}" for size in sizes],
            )
        )
    log = max(values) > _LOG_RATIO * objective.limit * scale and min(values) > 0
    ends = [("within capacity", stack.capacity.low), ("too much", stack.capacity.high)]
    return Chart(
        title=f"{objective.name} over the load of a replica",
        x=Axis("requests/s of a replica", low=0),
        y=Axis(objective.name, "%" if scale == 100 else "ms", log=log, low=None if log else 0),
        series=series,
        marks=[
            Mark(objective.limit * scale, f"limit {format_value(objective.metric, objective.limit)}", "y"),
            *(Mark(load, f"{text}: {load:.4g}/s") for text, load in ends if load is not None),
        ],
        group="load",
    )


def _demand_axis(requirements: Requirements) -> Axis:
    unit = "users" if requirements.demands[0].rate is None else "requests/s"
    return Axis("mean demand", unit, low=0)


def _series(plan: Plan, value: Callable[[PlanStep], float | None], kind: Literal["step", "line"]) -> list[Series]:
    """Return a value over the demand, for each stack that has it."""
    series = []
    for stack in plan.stacks:
        values = [value(step) for step in stack.stairs]
        if any(one is not None for one in values):
            series.append(Series(stack.curve.label, [step.demand for step in stack.stairs], values, kind))
    return series
