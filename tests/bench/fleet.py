"""Whether a plan holds: sweeps of the simulated engine, plans from them, and fleets of the planned sizes put to work.

    python tests/bench/fleet.py [SEEDS]

For each seed a sweep over Poisson rates, refined around the capacity, and plans without headroom or spare replicas for
demands drawn at random: some that use 90 to 100 % of a few replicas, by rate and by users, and one of any size. A fleet
of the planned size, requests spread over its replicas at random, must meet the objectives; with one replica fewer it
must miss them wherever the plan says so. Then sweeps over concurrency: at the rate that a plan derives from one, a
replica must meet the objectives; how it would do at the throughput of the sweep is shown beside. About 20 seconds a
seed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadstone.capacity import from_sweep, plan
from loadstone.capacity.curves import Curve, build_curves
from loadstone.capacity.demand import Demand
from loadstone.capacity.plan import FleetSize, PricedStack, Requirements
from loadstone.capacity.replica import Capacity, CapacityModel, find_capacity
from loadstone.config.slo import Objective, parse
from loadstone.metrics.slo import estimate
from loadstone.summary import Summary
from loadstone.sweep.points import Grid, MeasuredPoint, Sweep
from loadstone.sweep.slo_probe import read_evidence
from support import fleet_simulation

SLO = "ttft.p95<100ms tpot.p95<20ms"
RATES = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
# Of a probe, and of each replica of a fleet.
REQUESTS, EACH = 6000, 4000
THINK, MOST = 10.0, 5
CLIENTS = (1, 2, 4, 8, 12, 16, 18, 20, 24, 32)


def main(seeds: int) -> int:
    objectives = parse(SLO, "--slo")
    tally = {"sizes": 0, "meet": 0, "told to miss": 0, "miss": 0}
    print("seed  capacity        demand                        replicas  ttft.p95 ms  one fewer: told, ttft.p95 ms")
    for seed in range(seeds):
        curve = fleet_simulation.refined(fleet_simulation.SMALL, RATES, SLO, REQUESTS, seed, 1.04)
        asked = Requirements(
            objectives=objectives, demands=demands(curve, find_capacity(curve, objectives), Random(seed))
        )
        found = plan.make_plan([PricedStack(curve)], asked)
        for size in found.stacks[0].sizes:
            one = found.stacks[0].capacity
            full, less = work(size, size.replicas, seed), work(size, size.replicas - 1, seed)
            tally["sizes"] += 1
            tally["meet"] += meets(full, objectives)
            tally["told to miss"] += size.fewer == "missed"
            tally["miss"] += size.fewer == "missed" and not meets(less, objectives)
            print(
                f"{seed:4}  {one.low:5.1f} to {one.high or 0:5.1f}  {size.demand!s:28}  {size.replicas:8}"
                f"  {ms(full):11.1f}  {size.fewer:>10} {ms(less):8.1f}",
                flush=True,
            )
    print(tally)
    derived = [clients(seed, objectives) for seed in range(seeds)]
    held, naive = sum(meets for meets, _ in derived), sum(meets for _, meets in derived)
    print({"sweeps over concurrency": seeds, "meet at the derived rate": held, "meet at the throughput": naive})
    holds = tally["meet"] >= 0.95 * tally["sizes"] and tally["miss"] >= 0.95 * tally["told to miss"] > 0
    return 0 if holds and held >= 0.95 * seeds else 1


def clients(seed: int, objectives: tuple[Objective, ...]) -> tuple[bool, bool]:
    """Whether a replica meets the objectives at the rate derived from a sweep over concurrency, and at its own."""
    points, called = [], {}
    for busy in CLIENTS:
        records = fleet_simulation.busy(
            fleet_simulation.SMALL, busy, fleet_simulation.lengths(REQUESTS, seed * 1000 + busy), seed
        )
        run, columns = fleet_simulation.measured(records, concurrency=busy)
        points.append(MeasuredPoint(f"c-{busy}", {"concurrency": busy}, [run]))
        called[f"c-{busy}"] = from_sweep.judge_point([read_evidence(columns, run, objectives)], objectives)
    sweep = Sweep(Grid(config={}, varied=["concurrency"], places=[]), points)
    (curve,) = build_curves(sweep, "closed", objectives, called)
    found = find_capacity(curve, objectives)
    through = max(one.spot.load for one in found.usable)
    seen = [
        fleet_simulation.at_rate(fleet_simulation.SMALL, rate, 4 * EACH, seed + 700)
        for rate in (found.low or 0.0, through)
    ]
    print(
        f"{seed:4}  derived {found.low:5.1f}: ttft.p95 {ms(seen[0]):7.1f} ms;"
        f" throughput {through:5.1f}: ttft.p95 {ms(seen[1]):7.1f} ms",
        flush=True,
    )
    return meets(seen[0], objectives), meets(seen[1], objectives)


def demands(curve: Curve, found: Capacity, rng: Random) -> tuple[Demand, ...]:
    most = found.low or 0.0
    stay = CapacityModel(curve.spots).at(most, plan.RESPONSE)
    assert stay is not None
    full, many = (rng.uniform(0.9, 1.0) * rng.randint(2, MOST) * most for _ in range(2))
    users = round(many * (THINK + stay.value))
    return Demand(rate=full), Demand(users=users, think=THINK), Demand(rate=rng.uniform(1, MOST) * most)


def work(size: FleetSize, replicas: int, seed: int) -> Summary:
    """The fleet under the demand."""
    count = EACH * size.replicas
    if size.demand.rate is not None:
        return fleet_simulation.fleet(fleet_simulation.SMALL, replicas, size.demand.rate, count, seed + 500)
    return fleet_simulation.crowd(
        fleet_simulation.SMALL, replicas, round(size.demand.users or 0), size.demand.think, count, seed + 500
    )


def meets(summary: Summary, objectives: tuple[Objective, ...]) -> bool:
    found = [estimate(one.metric, one.figure, summary.metrics, summary.rates) for one in objectives]
    return all(value is not None and value.value <= one.limit for value, one in zip(found, objectives, strict=True))


def ms(summary: Summary) -> float:
    return (summary.metrics["ttft"].p95 or 0.0) * 1e3


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
