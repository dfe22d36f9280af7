"""A capacity plan: from what one replica carries and what is asked of all, how many it takes and what that costs.

Pure. The unit of time of money is an hour; a month has 730 (8,760 / 12). Replicas are alike and each gets an equal
share at random, which leaves each of them the kind of arrivals that a sweep over Poisson rates has measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.capacity.curves import FIGURES, Curve
from loadstone.capacity.demand import Demand, load_per_replica, replicas_needed
from loadstone.capacity.replica import Basis, Capacity, CapacityModel, find_capacity
from loadstone.errors import UsageError
from loadstone.metrics.slo import Estimate, Objective, Outcome

# Version of the plan's JSON. History: 1 the first.
FORMAT = 1
# Of a month.
HOURS = 730.0
# Relative difference from which on token counts of the demand are not those of the sweep.
UNLIKE = 0.1
RESPONSE = "latency.mean"
# Demands along a chart, and how far beyond the largest it goes.
STAIRS, BEYOND = 200, 1.25


class Requirements(Struct, frozen=True, kw_only=True):
    """What the plan is to hold to. `peak`: busiest time over the mean; `growth`: factor of a month, for `months`;
    `headroom`: share of the capacity kept free; `spare`: replicas more than needed; tokens: means of a request of the
    demand, where they are known."""

    objectives: tuple[Objective, ...]
    demands: tuple[Demand, ...]
    peak: float = 1.0
    growth: float = 1.0
    months: int = 0
    headroom: float = 0.0
    spare: int = 0
    currency: str = "USD"
    input_tokens: float | None = None
    output_tokens: float | None = None


class Cost(Struct, frozen=True, kw_only=True):
    """In the currency of the terms. What a request or a token costs is at the mean demand, not at the peak: the fleet
    is paid for at all hours. None where tokens are not known."""

    hour: float
    month: float
    thousand_requests: float
    million_output: float | None
    million_total: float | None


class FleetSize(Struct, frozen=True, kw_only=True):
    """The fleet for one demand in one month. `replicas` with the `spare` ones; loads are requests/s, of all replicas
    (`mean`, `peak`) and of each at the peak (`load`), with none down; `utilisation`: load over the capacity, `degraded`
    with as many down as there are spare; `most`: what the fleet carries within objectives and headroom, in the unit of
    the demand; `optimistic`: replicas, were the capacity at the upper end of its interval; `fewer`: what one replica
    less (of those that are not spare) would do to the objectives; `figures`: those expected of a replica at `load`."""

    demand: Demand
    month: int
    replicas: int
    optimistic: int | None
    spare: int
    gpus: int | None
    mean: float
    peak: float
    load: float
    utilisation: float
    degraded: float
    most: float
    fewer: Outcome
    basis: Basis
    figures: dict[str, Estimate]
    cost: Cost | None


class PlanStep(Struct, frozen=True):
    """The fleet of today at another demand, in requests/s or users: for charts."""

    demand: float
    replicas: int
    month: float | None
    million_output: float | None


class Stack(Struct, frozen=True, kw_only=True):
    """What a sweep says of one stack, and its plan; no sizes where the objectives are never met. `stairs`: sizes for
    demands from nothing to beyond the largest."""

    curve: Curve
    capacity: Capacity
    price: float | None
    gpus: int | None
    sizes: list[FleetSize]
    stairs: list[PlanStep]
    remarks: list[str]


class Plan(Struct, frozen=True, kw_only=True):
    """The JSON of `loadstone plan`. `cheapest`: for each demand the label of the stack that costs least today, or takes
    the fewest replicas where a price is missing; None where none can, or all are alike."""

    format: int = FORMAT
    terms: Requirements
    by: Literal["cost", "replicas"]
    stacks: list[Stack]
    cheapest: list[str | None]


class PricedStack(Struct, frozen=True):
    """A stack as it may be had: its curve, the price of a replica hour, GPUs of a replica."""

    curve: Curve
    price: float | None = None
    gpus: int | None = None


def make_plan(offers: Sequence[PricedStack], requirements: Requirements) -> Plan:
    stacks = [_stack(offer, requirements) for offer in offers]
    by: Literal["cost", "replicas"] = "cost" if all(stack.price is not None for stack in stacks) else "replicas"
    cheapest = [_cheapest(stacks, demand, by) for demand in requirements.demands]
    return Plan(terms=requirements, by=by, stacks=stacks, cheapest=cheapest)


def _cheapest(stacks: Sequence[Stack], demand: Demand, by: str) -> str | None:
    costs = {stack.curve.label: _worth(size, by) for stack in stacks for size in stack.sizes
             if size.demand == demand and size.month == 0}  # fmt: skip
    least = min(costs.values(), default=None)
    best = [label for label, cost in costs.items() if cost == least]
    return best[0] if len(best) == 1 and len(stacks) > 1 else None


def _worth(size: FleetSize, by: str) -> float:
    return size.cost.hour if by == "cost" and size.cost is not None else float(size.replicas)


def _stack(offer: PricedStack, terms: Requirements) -> Stack:
    found = find_capacity(offer.curve, terms.objectives)
    sizer = Sizer(offer, found, terms) if found.low is not None else None
    return Stack(
        curve=offer.curve,
        capacity=found,
        price=offer.price,
        gpus=offer.gpus,
        sizes=[sizer.size(demand, month) for demand in terms.demands for month in range(terms.months + 1)]
        if sizer
        else [],
        stairs=sizer.stairs() if sizer else [],
        remarks=[*_remarks(offer.curve, found, terms)],
    )


class Sizer:
    """Sizes fleets of one stack, whose capacity is known."""

    def __init__(self, offer: PricedStack, found: Capacity, terms: Requirements) -> None:
        self.offer, self.terms, self.high = offer, terms, found.high
        self.low = found.low or 0.0
        self.law = CapacityModel([one.spot for one in found.usable])
        self.beyond = CapacityModel([one.spot for one in found.spots if one.load <= (found.high or self.low)])
        if any(demand.rate is None for demand in terms.demands) and self.beyond.at(self.low, RESPONSE) is None:
            raise UsageError(
                f"of {offer.curve.label} how long answers take is not known: give --rate instead of --users"
            )
        self.names = dict.fromkeys((*(objective.name for objective in terms.objectives), *FIGURES))

    def response(self, at: float) -> float:
        """Mean response time, measured up to the load that was too much."""
        found = self.beyond.at(at, RESPONSE)
        return 0.0 if found is None else found.value

    def needed(self, demand: Demand) -> int:
        """Replicas without the spare ones."""
        return replicas_needed(demand, self.low * (1 - self.terms.headroom), self.response)

    def size(self, demand: Demand, month: int = 0) -> FleetSize:
        terms, low = self.terms, self.low
        grown = demand.times(terms.growth**month)
        busy = grown.times(terms.peak)
        needed = self.needed(busy)
        count = needed + terms.spare
        each = load_per_replica(busy, count, self.response)
        mean = load_per_replica(grown, count, self.response) * count
        found = {name: self.law.at(each, name) for name in self.names}
        return FleetSize(
            demand=demand,
            month=month,
            replicas=count,
            optimistic=self._optimistic(busy),
            spare=terms.spare,
            gpus=None if self.offer.gpus is None else self.offer.gpus * count,
            mean=mean,
            peak=each * count,
            load=each,
            utilisation=each / low,
            degraded=load_per_replica(busy, needed, self.response) / low,
            most=self._most(busy, needed),
            fewer=self._fewer(busy, needed),
            basis=self.law.basis(each),
            figures={name: value for name, value in found.items() if value is not None},
            cost=self._cost(count, mean),
        )

    def stairs(self) -> list[PlanStep]:
        """Evenly along the demand, and just beyond each demand at which another replica is needed."""
        largest = max(self.terms.demands, key=lambda demand: demand.size)
        end = BEYOND * largest.size
        step = self._most(largest.times(self.terms.peak), 1) / self.terms.peak
        corners = [step * count * (1 + 1e-6) for count in range(1, min(STAIRS, int(end / step)) + 1)]
        at = sorted([*(end * (place + 1) / STAIRS for place in range(STAIRS)), *corners])
        sizes = [self.size(largest.times(demand / largest.size)) for demand in at]
        return [
            PlanStep(
                size.demand.size,
                size.replicas,
                size.cost.month if size.cost else None,
                size.cost.million_output if size.cost else None,
            )
            for size in sizes
        ]

    def _optimistic(self, busy: Demand) -> int | None:
        """Were a replica to carry all but the load that was too much. None where nothing was too much."""
        if self.high is None:
            return None
        return replicas_needed(busy, self.high * (1 - self.terms.headroom), self.response) + self.terms.spare

    def _most(self, busy: Demand, needed: int) -> float:
        """At the peak, without the spare ones."""
        usable = self.low * (1 - self.terms.headroom)
        return usable * needed * (1.0 if busy.rate is not None else busy.think + self.response(usable))

    def _fewer(self, busy: Demand, needed: int) -> Outcome:
        if needed == 1:
            return "missed"
        each = load_per_replica(busy, needed - 1, self.response)
        if each <= self.low * (1 + 1e-9):
            return "met"
        return "missed" if self.high is not None and each >= self.high else "unresolved"

    def _cost(self, count: int, mean: float) -> Cost | None:
        if self.offer.price is None:
            return None
        hour = self.offer.price * count
        requests = mean * 3600
        incoming, outgoing = self.offer.curve.tokens
        both = None if incoming is None or outgoing is None else incoming + outgoing
        return Cost(
            hour=hour,
            month=hour * HOURS,
            thousand_requests=hour / requests * 1e3,
            million_output=hour / (requests * outgoing) * 1e6 if outgoing else None,
            million_total=hour / (requests * both) * 1e6 if both else None,
        )


def _remarks(curve: Curve, found: Capacity, terms: Requirements) -> Iterator[str]:
    """What one must know besides, most important first."""
    if found.low is not None and found.high is None:
        yield _at_least(found, found.low)
    yield from _lengths(curve, terms)
    if curve.loop == "closed":
        yield (
            "the sweep kept numbers of clients busy, so that nothing ever came at once; what a replica carries when"
            " requests come at random is derived from it, not measured: sweep --rate to measure it"
        )
    elif curve.arrivals not in ("poisson", "gamma"):
        yield f"arrivals in the sweep were {curve.arrivals}; requests that come when they like come in bursts"
    doubted = [one.spot for one in found.usable if one.spot.doubts]
    if doubted:
        told = ", ".join(f"{spot.name} ({', '.join(spot.doubts)})" for spot in doubted)
        yield f"points that the plan rests on are suspect: {told}"
    yield from (f"left out: {why}" for why in curve.left_out)


def _at_least(found: Capacity, low: float) -> str:
    open_ = [f"{one.load:.4g}" for one in found.spots if one.load > low]
    if open_:
        return (
            f"no load was surely too much, and of {', '.join(open_)}/s it cannot be told: the capacity is at least"
            f" {low:.4g}/s, and fewer replicas may do; measure these longer to find out"
        )
    return (
        f"the objectives are met at the highest load measured, {low:.4g}/s: the capacity is at least that, and fewer"
        " replicas may do; sweep higher loads to find out"
    )


def _lengths(curve: Curve, terms: Requirements) -> Iterator[str]:
    asked = {"input": terms.input_tokens, "output": terms.output_tokens}
    for (kind, wanted), had in zip(asked.items(), curve.tokens, strict=True):
        if wanted is not None and (had is None or abs(wanted / had - 1) > UNLIKE):
            told = "not known" if had is None else f"{had:,.0f}"
            yield (
                f"the demand has {wanted:,.0f} {kind} tokens a request, the sweep {told}:"
                " this plan does not hold for it; sweep with its lengths"
            )
