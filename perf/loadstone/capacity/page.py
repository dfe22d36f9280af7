"""The report of `loadstone plan`: the answer in a sentence, the tables behind it, and the assumptions.

Pure. Its charts are in charts.py, the CSV is in csv.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from loadstone.capacity import charts
from loadstone.capacity.curves import FIGURES
from loadstone.capacity.demand import Demand
from loadstone.capacity.plan import FleetSize, Plan, Requirements, Stack
from loadstone.config.slo import METRICS
from loadstone.metrics.slo import Estimate
from loadstone.report.page import Block, Page, Prose, Section, Table

_WITH_ONE_LESS = {"met": "met", "unresolved": "unknown", "missed": "missed"}
# Months shown of a longer plan.
MILESTONES = 5
_EXPECTED = "of a replica at the peak, in ms"
_INTERVAL = f"{_EXPECTED}; in brackets the 95 % interval of what was measured"
_BASIS = {
    "derived": "derived from concurrency",
    "measured": "measured",
    "interpolated": "interpolated",
    "extrapolated": "extrapolated: below the lowest load measured",
}
_LOOPS = {
    "open": (
        "Loads are those of a sweep over rates: requests were sent at their own times ({arrivals}), whatever the server"
        " did."
    ),
    "closed": (
        "Loads come from a sweep over concurrency, in which a client sends its next request when it has its response:"
        " the server is never offered more than it can serve. At random arrivals the number in flight varies. A"
        " percentile is met at the rate at which the fraction of arrivals above it meets as many in flight as there"
        " were when it was met; the throughput measured at each number in flight gives the variation."
    ),
}


def page(plan: Plan) -> Page:
    """Return a plan as a page."""
    sections = [
        Section("Plan", [_sizes(plan), *charts.demand(plan)]),
        Section("Costs", [*_costs(plan)]),
        Section("Growth", [*_growth(plan)]),
        Section("Expected figures", [*_expected(plan)]),
        *(Section(f"Capacity of a replica: {stack.curve.label}", [*_stack(stack, plan.terms)])
          for stack in plan.stacks),
        Section("Assumptions", [Prose(text) for text in _assumptions(plan)]),
    ]  # fmt: skip
    return Page("Capacity plan", _lead(plan), [section for section in sections if section.blocks])


def _lead(plan: Plan) -> Prose:
    """Return the answer for the largest demand, today and at the end of the months ahead, on the cheapest stack."""
    able = [stack for stack in plan.stacks if stack.sizes]
    if not able:
        reasons = "; ".join(f"{stack.curve.label}: {stack.capacity.reason}" for stack in plan.stacks)
        return Prose(f"No stack meets the objectives: {reasons}", "bad")
    index, largest = max(enumerate(plan.terms.demands), key=lambda pair: pair[1].size)
    cheapest = next((stack for stack in able if stack.curve.label == plan.cheapest[index]), None)
    best = cheapest or able[0]
    months = [size for size in best.sizes if size.demand == largest]
    today, last = months[0], months[-1]
    stack = ""
    if len(plan.stacks) > 1:
        stack = f" of {best.curve.label}"
        stack += f", the {'cheapest' if plan.by == 'cost' else 'fewest'}" if cheapest else ""
    peak = f" (peak {today.peak:,.4g} requests/s)" if plan.terms.peak > 1 else ""
    text = f"{largest}{peak} take {_replicas(today)}{stack}{_month_cost(today, plan.terms)}."
    if plan.terms.months:
        text += f" In {plan.terms.months} months: {_replicas(last)}{_month_cost(last, plan.terms)}."
    return Prose(f"{text} {_capacity(best)}", "doubt" if best.remarks else "good")


def _replicas(size: FleetSize) -> str:
    spare = f" ({size.spare} of them spare)" if size.spare else ""
    return f"{size.replicas:,} replica{'' if size.replicas == 1 else 's'}{spare}"


def _month_cost(size: FleetSize, requirements: Requirements) -> str:
    return "" if size.cost is None else f", {money(size.cost.month, requirements)} a month"


def _capacity(stack: Stack) -> str:
    capacity = stack.capacity
    if capacity.high is None:
        return f"A replica serves at least {capacity.low:.4g} requests/s within the objectives."
    return (
        f"A replica serves {capacity.low:.4g} requests/s within the objectives, and not {capacity.high:.4g}"
        f" ({'; '.join(capacity.limits)})."
    )


def money(value: float | None, requirements: Requirements) -> str:
    """Return an amount with its currency."""
    if value is None:
        return "-"
    return f"{value:,.0f} {requirements.currency}" if value >= 1000 else f"{value:,.4g} {requirements.currency}"


def current_sizes(plan: Plan) -> Iterator[tuple[Demand, list[str], Stack, FleetSize | None]]:
    """Yield for each demand and stack the size of today, None where there is none.

    The second value is a cell with the stack's name, and a mark at the best; empty for a plan of one stack.
    """
    mark = " (cheapest)" if plan.by == "cost" else " (fewest)"
    for demand, cheapest in zip(plan.terms.demands, plan.cheapest, strict=True):
        for stack in plan.stacks:
            size = next((one for one in stack.sizes if one.demand == demand and one.month == 0), None)
            label = stack.curve.label
            yield demand, _if_several(plan, label + (mark if label == cheapest else "")), stack, size


def _if_several(plan: Plan, cell: str) -> list[str]:
    return [cell] if len(plan.stacks) > 1 else []


def _sizes(plan: Plan) -> Table:
    rows = []
    for demand, name, stack, size in current_sizes(plan):
        if size is None:
            rows.append([str(demand), *name, *["-"] * 8, stack.capacity.reason])
            continue
        rows.append(
            [
                str(demand),
                *name,
                f"{size.replicas:,}",
                "unknown" if size.optimistic is None else f"{size.optimistic:,}",
                "-" if size.gpus is None else f"{size.gpus:,}",
                f"{size.peak:.4g}",
                f"{size.load:.4g}",
                f"{size.utilisation:.0%}",
                f"{size.degraded:.0%}" if size.spare else "-",
                _WITH_ONE_LESS[size.fewer],
                _BASIS[size.basis],
            ]
        )
    columns = [
        "demand", *_if_several(plan, "stack"), "replicas", "best case", "GPUs", "peak (requests/s)",
        "per replica (requests/s)", "utilisation", "with spares down", "with one replica less", "basis",
    ]  # fmt: skip
    terms = plan.terms
    notes = [
        f"objectives: {', '.join(map(str, terms.objectives))}",
        f"peak {terms.peak:g} times the mean" if terms.peak != 1 else "",
        f"{terms.headroom * 100:g}% of the capacity kept free" if terms.headroom else "",
        f"{terms.spare} spare" if terms.spare else "",
        "best case: if the capacity is the upper end of its interval; utilisation: of the capacity, at the peak",
        "with one replica less: whether the objectives are met then, with no headroom and no spare",
    ]
    return _without_empty(Table("Replicas", columns, rows, "; ".join(filter(None, notes))))


def _without_empty(table: Table) -> Table:
    """Return the table without the columns that are unknown in every row."""
    kept = [index for index in range(len(table.columns)) if any(row[index] != "-" for row in table.rows)]
    rows = [[row[index] for index in kept] for row in table.rows]
    return Table(table.title, [table.columns[index] for index in kept], rows, table.note)


def _costs(plan: Plan) -> Iterator[Block]:
    """Yield the costs; nothing where no price was given."""
    rows = []
    for demand, name, stack, size in current_sizes(plan):
        if stack.price is None:
            continue
        amounts = ["-"] * 5
        if size is not None and size.cost is not None:
            cost = size.cost
            values = (cost.hour, cost.month, cost.thousand_requests, cost.million_output, cost.million_total)
            amounts = [money(value, plan.terms) for value in values]
        rows.append([str(demand), *name, *amounts])
    if rows:
        columns = ["demand", *_if_several(plan, "stack"), "an hour", "a month", "1,000 requests",
                   "million output tokens", "million tokens"]  # fmt: skip
        note = "at the mean demand, as the fleet is paid for at all hours; a month has 730 hours"
        yield Table("Costs", columns, rows, note)
        yield from charts.cost(plan)


def _growth(plan: Plan) -> Iterator[Block]:
    """Yield milestones of the months ahead.

    They are the months at which the fleet changes or, if these are more than a few, months evenly apart.
    """
    terms = plan.terms
    if not terms.months:
        return
    rows = []
    for stack in plan.stacks:
        for demand in terms.demands:
            months = [size for size in stack.sizes if size.demand == demand]
            shown = {now.month for before, now in pairwise(months) if now.replicas != before.replicas}
            if len(shown) > MILESTONES:
                shown = set(range(0, terms.months, -(-terms.months // MILESTONES)))
            for size in months:
                if size.month in shown | {0, terms.months}:
                    cost = money(size.cost.month if size.cost else None, terms)
                    loads = [f"{size.mean:.4g}", f"{size.peak:.4g}"]
                    name = _if_several(plan, stack.curve.label)
                    rows.append([str(demand), *name, str(size.month), *loads, f"{size.replicas:,}", cost])
    columns = ["demand today", *_if_several(plan, "stack"), "month", "mean (requests/s)", "peak (requests/s)",
               "replicas", "a month"]  # fmt: skip
    note = f"{terms.growth - 1:+.1%} a month, compounded; JSON and CSV have every month"
    yield Table("Growth", columns, rows, note)
    yield from charts.growth(plan)


def _expected(plan: Plan) -> Iterator[Block]:
    sizes = [(stack, size) for _, _, stack, size in current_sizes(plan) if size is not None]
    objectives = [objective.name for objective in plan.terms.objectives if objective.metric != "error_rate"]
    others = [name for name in FIGURES if name not in objectives]
    shares = _share_names(plan.terms)
    head = ["demand", *_if_several(plan, "stack"), "per replica (requests/s)"]
    for title, names, with_interval, note in (
        ("At the peak", objectives, True, _INTERVAL),
        ("Other figures at the peak", others, False, _EXPECTED),
    ):
        known = [name for name in names if any(name in size.figures for _, size in sizes)]
        rows = []
        for stack, size in sizes:
            cells = [interval(name in shares, size.figures.get(name), with_interval) for name in known]
            rows.append([str(size.demand), *_if_several(plan, stack.curve.label), f"{size.load:.4g}", *cells])
        if rows and known:
            heads = [name if name in shares else name.replace(".", " ") for name in known]
            yield Table(title, [*head, *heads], rows, note)


def _share_names(requirements: Requirements) -> set[str]:
    """Return the names of the objectives on fractions of requests."""
    return {objective.name for objective in requirements.objectives if METRICS[objective.metric][0] == "share"}


def interval(share: bool, estimate: Estimate | None, with_interval: bool = True) -> str:
    """Return a figure in ms, a fraction (`share`) in percent, with its interval where known."""
    if estimate is None:
        return "-"
    scale, form = (100.0, "{:.3g}%") if share else (1e3, "{:,.4g}")
    value = form.format(estimate.value * scale)
    if estimate.low is None or estimate.high is None or not with_interval:
        return value
    return f"{value} ({form.format(estimate.low * scale)} to {form.format(estimate.high * scale)})"


def _stack(stack: Stack, requirements: Requirements) -> Iterator[Block]:
    capacity = stack.capacity
    yield Prose(_capacity(stack)) if capacity.low is not None else Prose(capacity.reason, "bad")
    for remark in stack.remarks:
        yield Prose(f"{remark[0].upper()}{remark[1:]}.", "doubt")
    yield from charts.curves(stack, requirements)
    names = [objective.name for objective in requirements.objectives]
    shares = _share_names(requirements)
    rows = []
    for point in capacity.spots:
        spot = point.spot
        rows.append(
            [
                spot.name,
                f"{spot.load:.4g}",
                f"{point.load:.4g}" if spot.carried else "-",
                "-" if spot.concurrency is None else f"{spot.concurrency:.4g}",
                f"{spot.requests:,}",
                str(spot.runs),
                point.judgement + (", suspect" if spot.doubts else ""),
                *(interval(name in shares, spot.figures.get(name)) for name in names),
                "; ".join(point.against),
            ]
        )
    columns = ["point", "requests/s", "at random arrivals (requests/s)", "in flight", "requests", "runs", "objectives",
               *(name if name in shares else name.replace(".", " ") for name in names), "because"]  # fmt: skip
    yield _without_empty(Table("Points of the sweep", columns, rows, "times in ms"))


def _assumptions(plan: Plan) -> Iterator[str]:
    loops = {stack.curve.loop: stack.curve.arrivals for stack in plan.stacks}
    for loop, arrivals in loops.items():
        yield _LOOPS[loop].format(arrivals=arrivals)
    yield (
        "Replicas are alike, and a balancer sends each an equal part of the requests at random; then each gets arrivals"
        " like those of a sweep over Poisson rates. A balancer that considers what is in flight does better, one queue"
        " for all better still; one that keeps users on a replica does worse, and needs headroom for it."
    )
    for stack in plan.stacks:
        incoming, outgoing = ("an unknown number of" if mean is None else f"{mean:,.0f}" for mean in stack.curve.tokens)
        yield (
            f"{stack.curve.label}: requests had {incoming} input and {outgoing} output tokens on average, as in the"
            " sweep; other lengths need another sweep."
        )
    yield (
        "The capacity is the highest load that was measured and certainly met all objectives (the whole 95 % interval"
        " within the limit); the plan never exceeds it. Figures between two measured loads are interpolated linearly;"
        " below the lowest they are those of the lowest."
    )
    if any(demand.rate is None for demand in plan.terms.demands):
        yield (
            "Users think, ask, and wait for the whole response: N users make X requests/s with N = X (Z + R(X)), where"
            " Z is the think time and R the mean latency that the sweep has measured."
        )
