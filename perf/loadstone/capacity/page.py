"""A capacity plan as a page: the answer in a sentence, the tables behind it, what it rests on. `loadstone plan`.

Pure. Its charts are in capacity_charts.py, the rows for a spreadsheet in capacity_csv.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from loadstone.capacity import charts
from loadstone.capacity.curves import FIGURES
from loadstone.capacity.demand import Demand
from loadstone.capacity.plan import FleetSize, Plan, Requirements, Stack
from loadstone.capacity.replica import JudgedPoint
from loadstone.metrics.slo import FRACTIONS, Estimate
from loadstone.report.page import Block, Page, Prose, Section, Table

_FEWER = {"met": "would do too", "unresolved": "cannot be told", "missed": "misses"}
MILESTONES = 5
_EXPECTED = "of a replica at its share of the peak, in ms"
_INTERVAL = f"{_EXPECTED}; in brackets the 95 % interval of what was measured"
_BASIS = {
    "derived": "derived from concurrency",
    "measured": "measured",
    "interpolated": "interpolated",
    "extrapolated": "extrapolated: below the least load measured",
}
_LOOPS = {
    "open": (
        "Loads are those of a sweep over rates: requests came when they liked ({arrivals}), whatever the server did."
    ),
    "closed": (
        "Loads come from a sweep over concurrency, in which a client sends its next request when it has its answer: the"
        " server is never offered more than it carries. At random arrivals the number in flight goes up and down, and"
        " a percentile is met at the rate at which no more arrivals than it leaves out find as many in flight as were"
        " when it was met; the throughput measured at each number in flight says how it goes up and down."
    ),
}


def page(plan: Plan) -> Page:
    """A Plan as a document."""
    sections = [
        Section("Plan", [_sizes(plan), *charts.demand(plan)]),
        Section("Costs", [*_costs(plan)]),
        Section("Growth", [*_growth(plan)]),
        Section("Expected figures", [*_expected(plan)]),
        *(Section(f"What a replica carries: {stack.curve.label}", [*_stack(stack, plan.terms)])
          for stack in plan.stacks),
        Section("What this rests on", [Prose(text) for text in _assumptions(plan)]),
    ]  # fmt: skip
    return Page("Capacity plan", _lead(plan), [section for section in sections if section.blocks])


def _lead(plan: Plan) -> Prose:
    """The largest demand, today and at the end of the months ahead, on the cheapest stack or the first that can."""
    able = [stack for stack in plan.stacks if stack.sizes]
    if not able:
        return Prose("No stack meets the objectives: " + "; ".join(
            f"{stack.curve.label}: {stack.capacity.reason}" for stack in plan.stacks
        ), "bad")  # fmt: skip
    place, largest = max(enumerate(plan.terms.demands), key=lambda pair: pair[1].size)
    best = next((stack for stack in able if stack.curve.label == plan.cheapest[place]), able[0])
    months = [size for size in best.sizes if size.demand == largest]
    today, then = months[0], months[-1]
    busiest = f" (peak {today.peak:,.4g} requests/s)" if plan.terms.peak > 1 else ""
    text = f"{largest}{busiest} take {_replicas(today)}{_of(best, plan, place)}{_spending(today, plan.terms)}."
    if plan.terms.months:
        text += f" In {plan.terms.months} months: {_replicas(then)}{_spending(then, plan.terms)}."
    text += f" {_carries(best)}"
    return Prose(text, "doubt" if best.remarks else "good")


def _of(stack: Stack, plan: Plan, place: int) -> str:
    if len(plan.stacks) == 1:
        return ""
    least = (
        f", the {'cheapest' if plan.by == 'cost' else 'fewest'}" if stack.curve.label == plan.cheapest[place] else ""
    )
    return f" of {stack.curve.label}{least}"


def _replicas(size: FleetSize) -> str:
    spare = f" ({size.spare} of them spare)" if size.spare else ""
    return f"{size.replicas:,} replica{'' if size.replicas == 1 else 's'}{spare}"


def _spending(size: FleetSize, terms: Requirements) -> str:
    return "" if size.cost is None else f", {money(size.cost.month, terms)} a month"


def _carries(stack: Stack) -> str:
    found = stack.capacity
    if found.high is None:
        return f"A replica carries at least {found.low:.4g} requests/s within the objectives."
    return (
        f"A replica carries {found.low:.4g} requests/s within the objectives, and not {found.high:.4g}"
        f" ({'; '.join(found.limits)})."
    )


def money(value: float | None, terms: Requirements) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} {terms.currency}" if value >= 1000 else f"{value:,.4g} {terms.currency}"


# tables


def current_sizes(plan: Plan) -> Iterator[tuple[Demand, str | None, Stack, FleetSize | None]]:
    """For each demand, each stack with its size; None where it has none."""
    for demand, cheapest in zip(plan.terms.demands, plan.cheapest, strict=True):
        for stack in plan.stacks:
            found = next((size for size in stack.sizes if size.demand == demand and size.month == 0), None)
            yield demand, cheapest, stack, found


def _sizes(plan: Plan) -> Table:
    several = len(plan.stacks) > 1
    rows = [
        [str(demand), *([_name(stack, cheapest, plan)] if several else []), *_size(stack, size)]
        for demand, cheapest, stack, size in current_sizes(plan)
    ]
    columns = [
        "demand", *(["stack"] if several else []), "replicas", "at best", "GPUs", "peak /s", "each /s", "used",
        "used, spares down", "one fewer", "basis",
    ]  # fmt: skip
    return _without_empty(Table("Replicas", columns, rows, _note(plan.terms)))


def _without_empty(table: Table) -> Table:
    """Without the columns in which nothing is known of any row."""
    kept = [place for place in range(len(table.columns)) if any(row[place] != "-" for row in table.rows)]
    rows = [[row[place] for place in kept] for row in table.rows]
    return Table(table.title, [table.columns[place] for place in kept], rows, table.note)


def _name(stack: Stack, cheapest: str | None, plan: Plan) -> str:
    mark = " (cheapest)" if plan.by == "cost" else " (fewest)"
    return stack.curve.label + (mark if stack.curve.label == cheapest else "")


def _size(stack: Stack, size: FleetSize | None) -> list[str]:
    if size is None:
        return ["-", "-", "-", "-", "-", "-", "-", "-", stack.capacity.reason]
    return [
        f"{size.replicas:,}",
        "fewer?" if size.optimistic is None else f"{size.optimistic:,}",
        "-" if size.gpus is None else f"{size.gpus:,}",
        f"{size.peak:.4g}",
        f"{size.load:.4g}",
        f"{size.utilisation:.0%}",
        f"{size.degraded:.0%}" if size.spare else "-",
        _FEWER[size.fewer],
        _BASIS[size.basis],
    ]


def _note(terms: Requirements) -> str:
    parts = [
        f"objectives: {', '.join(map(str, terms.objectives))}",
        f"peak {terms.peak:g} times the mean" if terms.peak != 1 else "",
        f"{terms.headroom * 100:g}% of the capacity kept free" if terms.headroom else "",
        f"{terms.spare} spare" if terms.spare else "",
        "at best: were the capacity at the upper end of its interval; used: of the capacity, at the peak",
        "one fewer: what that would do to the objectives, with none kept free and none spare",
    ]
    return "; ".join(filter(None, parts))


def _costs(plan: Plan) -> Iterator[Block]:
    """Nothing where no price was given."""
    several, terms = len(plan.stacks) > 1, plan.terms
    rows = [
        [str(demand), *([_name(stack, cheapest, plan)] if several else []), *_cost(size, terms)]
        for demand, cheapest, stack, size in current_sizes(plan)
        if stack.price is not None
    ]
    if rows:
        columns = ["demand", *(["stack"] if several else []), "an hour", "a month", "1,000 requests",
                   "million output tokens", "million tokens"]  # fmt: skip
        note = "at the mean demand, as the fleet is paid for at all hours; a month has 730 hours"
        yield Table("Costs", columns, rows, note)
        yield from charts.cost(plan)


def _cost(size: FleetSize | None, terms: Requirements) -> list[str]:
    if size is None or size.cost is None:
        return ["-"] * 5
    cost = size.cost
    values = (cost.hour, cost.month, cost.thousand_requests, cost.million_output, cost.million_total)
    return [money(value, terms) for value in values]


def _growth(plan: Plan) -> Iterator[Block]:
    """Milestones of the months ahead."""
    if not plan.terms.months:
        return
    several = len(plan.stacks) > 1
    rows = [
        [str(size.demand), *([stack.curve.label] if several else []), str(size.month), f"{size.mean:.4g}",
         f"{size.peak:.4g}", f"{size.replicas:,}", money(size.cost.month if size.cost else None, plan.terms)]
        for stack in plan.stacks
        for size in _milestones(stack.sizes, plan.terms)
    ]  # fmt: skip
    columns = ["demand today", *(["stack"] if several else []), "month", "mean /s", "peak /s", "replicas", "a month"]
    note = f"{plan.terms.growth - 1:+.1%} a month, compounded; JSON and CSV have every month"
    yield Table("Growth", columns, rows, note)
    yield from charts.growth(plan)


def _milestones(sizes: Sequence[FleetSize], terms: Requirements) -> Iterator[FleetSize]:
    """The months of a demand at which its fleet changes or, where that is more than a few, months evenly apart."""
    for demand in terms.demands:
        months = [size for size in sizes if size.demand == demand]
        changed = [now for before, now in pairwise(months) if now.replicas != before.replicas]
        step = -(-terms.months // MILESTONES)
        chosen = {size.month for size in changed} if len(changed) <= MILESTONES else set(range(0, terms.months, step))
        yield from (size for size in months if size.month in chosen | {0, terms.months})


def _expected(plan: Plan) -> Iterator[Block]:
    several = len(plan.stacks) > 1
    sized = [(stack, size) for _, _, stack, size in current_sizes(plan) if size is not None]
    objectives = [objective.name for objective in plan.terms.objectives if objective.metric != "error_rate"]
    others = [name for name in FIGURES if name not in objectives]
    head = ["demand", *(["stack"] if several else []), "each /s"]
    for title, names, form, note in (
        ("At the peak", objectives, interval, _INTERVAL),
        ("Other figures at the peak", others, _plain, _EXPECTED),
    ):
        known = [name for name in names if any(name in size.figures for _, size in sized)]
        rows = [
            [str(size.demand), *([stack.curve.label] if several else []), f"{size.load:.4g}",
             *(form(name, size.figures.get(name)) for name in known)]
            for stack, size in sized
        ]  # fmt: skip
        if rows and known:
            yield Table(title, [*head, *(name.replace(".", " ") for name in known)], rows, note)


def _plain(name: str, found: Estimate | None) -> str:
    return "-" if found is None else interval(name, Estimate(found.value))


def interval(name: str, found: Estimate | None) -> str:
    """A figure in ms with its interval; an error rate in percent."""
    if found is None:
        return "-"
    scale, form = (100.0, "{:.3g}%") if name in FRACTIONS else (1e3, "{:,.4g}")
    value = form.format(found.value * scale)
    if found.low is None or found.high is None:
        return value
    return f"{value} ({form.format(found.low * scale)} to {form.format(found.high * scale)})"


def _stack(stack: Stack, terms: Requirements) -> Iterator[Block]:
    found = stack.capacity
    yield Prose(_carries(stack) if found.low is not None else found.reason, "plain" if found.low is not None else "bad")
    for remark in stack.remarks:
        yield Prose(f"{remark[0].upper()}{remark[1:]}.", "doubt")
    yield from charts.curves(stack, terms)
    names = [objective.name for objective in terms.objectives]
    columns = ["point", "requests/s", "stands for /s", "in flight", "requests", "runs", "objectives",
               *(name.replace(".", " ") for name in names), "because"]  # fmt: skip
    yield _without_empty(
        Table("Points of the sweep", columns, [_point(one, names) for one in found.spots], "times in ms")
    )


def _point(one: JudgedPoint, names: Sequence[str]) -> list[str]:
    spot = one.spot
    flying = "-" if spot.concurrency is None else f"{spot.concurrency:.4g}"
    figures = [interval(name, spot.figures.get(name)) for name in names]
    verdict = one.judgement + (", suspect" if spot.doubts else "")
    because = "; ".join(one.against)
    stands = f"{one.load:.4g}" if spot.carried else "-"
    return [
        spot.name,
        f"{spot.load:.4g}",
        stands,
        flying,
        f"{spot.requests:,}",
        str(spot.runs),
        verdict,
        *figures,
        because,
    ]


# words


def _assumptions(plan: Plan) -> Iterator[str]:
    loops = {stack.curve.loop: stack.curve.arrivals for stack in plan.stacks}
    for loop, arrivals in loops.items():
        yield _LOOPS[loop].format(arrivals=arrivals)
    yield (
        "Replicas are alike, and a balancer gives each an equal share at random; then each gets arrivals like those of"
        " a sweep over Poisson rates. One that looks at what is in flight does better, one queue for all better still;"
        " one that keeps users on a replica does worse, and needs headroom for it."
    )
    for stack in plan.stacks:
        yield f"{stack.curve.label}: {_lengths(stack)}"
    yield (
        "The capacity is the highest load that was measured and surely met all objectives (the whole 95 % interval"
        " within the limit); the plan never goes above it. Figures between two measured loads are interpolated"
        " linearly, below the least they are those of the least."
    )
    if any(demand.rate is None for demand in plan.terms.demands):
        yield (
            "Users think, ask, and wait for the whole answer: N users make X requests/s with N = X (Z + R(X)), Z the"
            " think time and R the mean latency that the sweep has measured."
        )


def _lengths(stack: Stack) -> str:
    told = ["not known" if mean is None else f"{mean:,.0f}" for mean in stack.curve.tokens]
    return f"requests had {told[0]} input and {told[1]} output tokens on average, as in the sweep; others need another."
