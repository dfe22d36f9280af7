"""A capacity plan: how many replicas a demand takes, from the capacity of one, and what they cost.

Pure. Prices are per hour; a month has 730 hours (8,760 / 12). Replicas are alike and each gets an equal part of the
requests at random, so that each gets the kind of arrivals that a sweep over Poisson rates has measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from loadstone.capacity.curves import FIGURES, Curve
from loadstone.capacity.demand import Demand, load_per_replica, replicas_needed
from loadstone.capacity.replica import Basis, Capacity, CapacityModel, find_capacity
from loadstone.config.slo import ATTAINMENT, Objective
from loadstone.errors import DataError
from loadstone.metrics.slo import Estimate, Outcome

# Version of the plan's JSON. History: 1 the first.
FORMAT = 1
# Hours of a month.
HOURS = 730.0
# Relative difference above which the token counts of the demand are not those of the sweep.
UNLIKE = 0.1
# The figure that is the response time of a user's request.
RESPONSE = "latency.mean"
# Points of a chart over the demand.
STAIRS = 200
# Ratio of the end of that chart to the largest demand.
BEYOND = 1.25


class Requirements(Struct, frozen=True, kw_only=True):
    """What the plan must satisfy.

    peak: ratio of the busiest time to the mean
    growth: factor of a month
    months: to plan ahead
    headroom: fraction of the capacity kept free
    spare: replicas beyond those needed
    input_tokens, output_tokens: means of a request of the demand, where known
    """

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
    """The cost of a fleet, in the currency of the requirements.

    hour, month: of the fleet
    thousand_requests, million_output, million_total: of requests and tokens at the mean demand, not at the peak, as the
        fleet is paid for at all hours; None where the number of tokens is unknown
    """

    hour: float
    month: float
    thousand_requests: float
    million_output: float | None
    million_total: float | None


class FleetSize(Struct, frozen=True, kw_only=True):
    """The fleet for one demand in one month.

    replicas: with the spare ones
    optimistic: replicas, if the capacity were the upper end of its interval
    mean, peak: load of all replicas, requests/s
    load: of each replica at the peak with none down, requests/s
    utilisation: `load` divided by the capacity
    degraded: the same with as many replicas down as there are spare
    most: the demand that the fleet serves within objectives and headroom, in the unit of the demand
    fewer: the objectives with one replica less than needed
    figures: expected of a replica at `load`
    """

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
    """The fleet of today at another demand, in requests/s or users, for charts."""

    demand: float
    replicas: int
    month: float | None
    million_output: float | None


class Stack(Struct, frozen=True, kw_only=True):
    """The capacity of one stack, and its plan.

    sizes: empty if the objectives are never met
    stairs: sizes for demands from zero to beyond the largest
    """

    curve: Curve
    capacity: Capacity
    price: float | None
    gpus: int | None
    sizes: list[FleetSize]
    stairs: list[PlanStep]
    remarks: list[str]


class Plan(Struct, frozen=True, kw_only=True):
    """The JSON of `loadstone plan`.

    by: what stacks are compared by; `replicas` if a price is missing
    cheapest: for each demand the label of the stack that costs least today, or takes the fewest replicas; None if no
        stack meets the objectives, or all are alike
    """

    format: int = FORMAT
    terms: Requirements
    by: Literal["cost", "replicas"]
    stacks: list[Stack]
    cheapest: list[str | None]


class PricedStack(Struct, frozen=True):
    """A stack that may be chosen: its curve, the price of a replica hour, and the GPUs of a replica."""

    curve: Curve
    price: float | None = None
    gpus: int | None = None


def make_plan(offers: Sequence[PricedStack], requirements: Requirements) -> Plan:
    """Plan the fleet of each stack for each demand. Raise DataError if users are given but latencies are unknown."""
    stacks = [_plan_stack(offer, requirements) for offer in offers]
    by: Literal["cost", "replicas"] = "cost" if all(stack.price is not None for stack in stacks) else "replicas"
    cheapest = []
    for demand in requirements.demands:
        costs: dict[str, float] = {}
        for stack in stacks:
            for size in stack.sizes:
                if size.demand == demand and size.month == 0:
                    cost = size.cost.hour if by == "cost" and size.cost else float(size.replicas)
                    costs[stack.curve.label] = cost
        lowest = min(costs.values(), default=None)
        best = [label for label, cost in costs.items() if cost == lowest]
        cheapest.append(best[0] if len(best) == 1 and len(stacks) > 1 else None)
    return Plan(terms=requirements, by=by, stacks=stacks, cheapest=cheapest)


def _plan_stack(offer: PricedStack, requirements: Requirements) -> Stack:
    capacity = find_capacity(offer.curve, requirements.objectives)
    sizes, stairs = list[FleetSize](), list[PlanStep]()
    if capacity.low is not None:
        sizer = Sizer(offer, capacity, requirements)
        stairs = sizer.stairs()
        for demand in requirements.demands:
            sizes += [sizer.size(demand, month) for month in range(requirements.months + 1)]
    return Stack(
        curve=offer.curve,
        capacity=capacity,
        price=offer.price,
        gpus=offer.gpus,
        sizes=sizes,
        stairs=stairs,
        remarks=[*_remarks(offer.curve, capacity, requirements)],
    )


class Sizer:
    """Size fleets of one stack with a known capacity."""

    def __init__(self, offer: PricedStack, capacity: Capacity, requirements: Requirements) -> None:
        self.offer, self.requirements, self.high = offer, requirements, capacity.high
        self.low = capacity.low or 0.0
        falling = {objective.name for objective in requirements.objectives if objective.metric == ATTAINMENT}
        self.model = CapacityModel([one.spot for one in capacity.usable], falling)
        # For response times, up to the load that was too much.
        ceiling = capacity.high or self.low
        self.extended = CapacityModel([one.spot for one in capacity.spots if one.load <= ceiling])
        if any(demand.rate is None for demand in requirements.demands) and self.extended.at(self.low, RESPONSE) is None:
            raise DataError(
                f"of {offer.curve.label} how long answers take is not known: give --rate instead of --users"
            )
        self.names = dict.fromkeys((*(objective.name for objective in requirements.objectives), *FIGURES))

    def response(self, load: float) -> float:
        """Return the mean response time at a load, s."""
        latency = self.extended.at(load, RESPONSE)
        return 0.0 if latency is None else latency.value

    def size(self, demand: Demand, month: int = 0) -> FleetSize:
        """Return the fleet for a demand of today after `month` months of growth."""
        requirements = self.requirements
        grown = demand.times(requirements.growth**month)
        busiest = grown.times(requirements.peak)
        usable = self.low * (1 - requirements.headroom)
        needed = replicas_needed(busiest, usable, self.response)
        count = needed + requirements.spare
        load = load_per_replica(busiest, count, self.response)
        mean = load_per_replica(grown, count, self.response) * count
        optimistic = None
        if self.high is not None:
            at_high = self.high * (1 - requirements.headroom)
            optimistic = replicas_needed(busiest, at_high, self.response) + requirements.spare
        figures = {name: self.model.at(load, name) for name in self.names}
        return FleetSize(
            demand=demand,
            month=month,
            replicas=count,
            optimistic=optimistic,
            spare=requirements.spare,
            gpus=None if self.offer.gpus is None else self.offer.gpus * count,
            mean=mean,
            peak=load * count,
            load=load,
            utilisation=load / self.low,
            degraded=load_per_replica(busiest, needed, self.response) / self.low,
            most=self._max_demand(busiest, needed),
            fewer=self._with_one_less(busiest, needed),
            basis=self.model.basis(load),
            figures={name: value for name, value in figures.items() if value is not None},
            cost=self._cost(count, mean),
        )

    def stairs(self) -> list[PlanStep]:
        """Return sizes evenly along the demand, and just beyond each demand at which another replica is needed."""
        largest = max(self.requirements.demands, key=lambda demand: demand.size)
        end = BEYOND * largest.size
        step = self._max_demand(largest.times(self.requirements.peak), 1) / self.requirements.peak
        corners = [step * count * (1 + 1e-6) for count in range(1, min(STAIRS, int(end / step)) + 1)]
        demands = sorted([*(end * (number + 1) / STAIRS for number in range(STAIRS)), *corners])
        steps = []
        for demand in demands:
            size = self.size(largest.times(demand / largest.size))
            month, output = (size.cost.month, size.cost.million_output) if size.cost else (None, None)
            steps.append(PlanStep(size.demand.size, size.replicas, month, output))
        return steps

    def _max_demand(self, busiest: Demand, needed: int) -> float:
        """Return the demand at the peak that `needed` replicas serve within objectives and headroom."""
        usable = self.low * (1 - self.requirements.headroom)
        return usable * needed * (1.0 if busiest.rate is not None else busiest.think + self.response(usable))

    def _with_one_less(self, busiest: Demand, needed: int) -> Outcome:
        """Return whether one replica less than needed would meet the objectives, without headroom."""
        if needed == 1:
            return "missed"
        load = load_per_replica(busiest, needed - 1, self.response)
        if load <= self.low * (1 + 1e-9):
            return "met"
        return "missed" if self.high is not None and load >= self.high else "unresolved"

    def _cost(self, count: int, mean: float) -> Cost | None:
        """Return the cost of `count` replicas at a mean load of all, requests/s; None without a price."""
        if self.offer.price is None:
            return None
        hour = self.offer.price * count
        requests = mean * 3600
        input_tokens, output_tokens = self.offer.curve.tokens
        total = None if input_tokens is None or output_tokens is None else input_tokens + output_tokens
        return Cost(
            hour=hour,
            month=hour * HOURS,
            thousand_requests=hour / requests * 1e3,
            million_output=hour / (requests * output_tokens) * 1e6 if output_tokens else None,
            million_total=hour / (requests * total) * 1e6 if total else None,
        )


def _remarks(curve: Curve, capacity: Capacity, requirements: Requirements) -> Iterator[str]:
    """Yield what else one must know, most important first."""
    if capacity.low is not None and capacity.high is None:
        unresolved = [f"{one.load:.4g}" for one in capacity.spots if one.load > capacity.low]
        if unresolved:
            yield (
                f"no load was certainly too much, and {', '.join(unresolved)}/s is undecided: the capacity is at least"
                f" {capacity.low:.4g}/s, and fewer replicas may be enough; measure these loads longer to find out"
            )
        else:
            yield (
                f"the objectives are met at the highest load measured, {capacity.low:.4g}/s: the capacity is at least"
                " that, and fewer replicas may be enough; sweep higher loads to find out"
            )
    lengths = (
        ("input", requirements.input_tokens, curve.tokens[0]),
        ("output", requirements.output_tokens, curve.tokens[1]),
    )
    for kind, required, measured in lengths:
        if required is not None and (measured is None or abs(required / measured - 1) > UNLIKE):
            known = "an unknown number" if measured is None else f"{measured:,.0f}"
            yield (
                f"the demand has {required:,.0f} {kind} tokens a request, the sweep {known}:"
                " this plan does not hold for it; sweep with its lengths"
            )
    if curve.loop == "closed":
        yield (
            "the sweep kept numbers of clients busy, so that nothing ever arrived at once; the capacity at random"
            " arrivals is derived from it, not measured: sweep --rate to measure it"
        )
    elif curve.arrivals not in ("poisson", "gamma"):
        yield f"arrivals in the sweep were {curve.arrivals}; real requests arrive at random, in bursts"
    doubted = [one.spot for one in capacity.usable if one.spot.doubts]
    if doubted:
        points = ", ".join(f"{spot.name} ({', '.join(spot.doubts)})" for spot in doubted)
        yield f"points that the plan is based on are suspect: {points}"
    yield from (f"left out: {reason}" for reason in curve.left_out)
