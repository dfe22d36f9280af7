"""`loadstone plan SWEEP [MORE...]`: how many replicas a demand needs and what they cost, from sweeps of one replica."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from loadstone.cli.flag_types import duration, whole_number
from loadstone.errors import ConfigError
from loadstone.report import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.capacity.demand import Demand
    from loadstone.capacity.plan import PricedStack, Requirements

T = TypeVar("T")
_VIEWS = (*output.FORMS, "json", "csv")
# Ten years: growth compounded for longer says nothing.
_MAX_MONTHS = 120


def add(parser: ArgumentParser) -> None:
    """Add the flags of `plan`."""
    parser.add_argument(
        "sweeps", nargs="+", metavar="SWEEP", help="folder of a sweep; give several to compare their stacks"
    )
    demand = parser.add_argument_group("demand (averages; request lengths are those of the sweep)")
    demand.add_argument("--rate", metavar="R[,R...]", help="requests per second: 40, or several: 10,40,160")
    demand.add_argument(
        "--users", metavar="N[,N...]", help="users who send a request, read the answer and repeat; with --think"
    )
    demand.add_argument(
        "--think", type=duration, metavar="T", help="time from an answer to the user's next request: 20s"
    )
    demand.add_argument("--peak", metavar="X", help="ratio of peak to mean demand: 2.5 (default: 1)")
    demand.add_argument("--growth", metavar="P/PERIOD", help="compound growth of the demand: 10%%/month, 50%%/year")
    demand.add_argument(
        "--months", type=whole_number, metavar="N", help="months to plan ahead (default: 12 with --growth)"
    )
    demand.add_argument(
        "--input-len", type=float, metavar="N", help="mean input tokens; a warning follows if the sweep's differ"
    )
    demand.add_argument(
        "--output-len", type=float, metavar="N", help="mean output tokens; a warning follows if the sweep's differ"
    )
    objectives = parser.add_argument_group("requirements")
    objectives.add_argument(
        "--slo", metavar="TERMS", help="objectives to meet: 'ttft.p99<500ms tpot.p95<50ms' (default: the sweep's)"
    )
    objectives.add_argument("--headroom", metavar="P", help="fraction of the capacity to keep free: 20%% (default: 0)")
    objectives.add_argument(
        "--spare", type=whole_number, metavar="N", help="extra replicas, such as 1 for N+1 (default: 0)"
    )
    cost = parser.add_argument_group("cost")
    cost.add_argument("--price", metavar="X[,X...]", help="price of a replica per hour: 2.50, or one for each sweep")
    cost.add_argument("--currency", metavar="NAME", help="currency of the price (default: USD)")
    cost.add_argument(
        "--gpus", metavar="N[,N...]", help="GPUs of a replica, or one number for each sweep (default: the sweep's)"
    )
    parser.add_argument(
        "--as", dest="view", choices=_VIEWS, help="format of the report: text (default), md, html, json, csv"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a new file instead of stdout")


def run(options: Namespace) -> int:
    """Compute the plan and show it. Return exit status 1 if no stack meets the objectives, else 0."""
    from loadstone.capacity import csv, page, plan
    from loadstone.report import terminal
    from loadstone.report.json import to_json

    requirements = _requirements(options)
    fleet = plan.make_plan(_stacks(options, requirements), requirements)
    view, target = getattr(options, "view", "text"), getattr(options, "output", "-")
    if (view, target) == ("text", "-"):
        terminal.show(page.page(fleet))
    elif view == "json":
        output.write(to_json(fleet), target)
    elif view == "csv":
        output.write(csv.render(fleet), target)
    else:
        output.write(output.render(page.page(fleet), view), target)
    return 0 if any(stack.sizes for stack in fleet.stacks) else 1


def _requirements(options: Namespace) -> Requirements:
    """Return what the flags require. Raises ConfigError."""
    from loadstone.capacity import demand, plan
    from loadstone.config import slo as objectives
    from loadstone.sweep import folder

    flags = vars(options)
    # Objectives: those given, else those of the first sweep.
    slo = flags.get("slo") or folder.read_sweep(Path(options.sweeps[0])).grid.rule.get("slo")
    if not slo:
        raise ConfigError("plan takes objectives, such as --slo 'ttft.p99<500ms tpot.p95<50ms': the sweep names none")
    # Growth: without it there is nothing to look ahead to.
    months = flags.get("months", 12 if "growth" in flags else 0)
    if "months" in flags and "growth" not in flags:
        raise ConfigError("--months looks ahead: say by how much the demand grows, such as --growth 10%/month")
    if not 0 <= months <= _MAX_MONTHS:
        raise ConfigError(f"--months takes a number from 0 to {_MAX_MONTHS}, not {months}")
    spare = flags.get("spare", 0)
    if spare < 0:
        raise ConfigError(f"--spare takes 0 or more replicas, not {spare}")
    return plan.Requirements(
        objectives=objectives.with_errors(objectives.parse(str(slo), objectives.SLO)),
        demands=_demands(options),
        peak=demand.parse_peak(flags.get("peak", "1")),
        growth=demand.parse_growth(flags["growth"]) if "growth" in flags else 1.0,
        months=months,
        headroom=demand.parse_headroom(flags.get("headroom", "0")),
        spare=spare,
        currency=flags.get("currency", "USD"),
        input_tokens=flags.get("input_len"),
        output_tokens=flags.get("output_len"),
    )


def _demands(options: Namespace) -> tuple[Demand, ...]:
    """Return the demands, as request rates or as users who think. Raises ConfigError unless one is given."""
    from loadstone.capacity import demand

    rates, users, think = (getattr(options, name, None) for name in ("rate", "users", "think"))
    if (rates is None) == (users is None):
        raise ConfigError("plan takes a demand: either --rate 40 (requests/s) or --users 500 --think 20s")
    if users is None:
        if think is not None:
            raise ConfigError("--think is how long users think: give --users with it, or leave it out with --rate")
        return tuple(demand.Demand(rate=rate) for rate in demand.parse_rates(str(rates)))
    if think is None:
        raise ConfigError("--users needs --think: seconds from an answer to the user's next request, such as 20s")
    return tuple(demand.Demand(users=count, think=think) for count in demand.parse_users(users))


def _stacks(options: Namespace, requirements: Requirements) -> list[PricedStack]:
    """Return a stack for each curve of each sweep, with the price and GPUs of that sweep."""
    from loadstone.capacity import curves, demand, from_sweep, plan
    from loadstone.config.slo import check_goodput_given
    from loadstone.sweep import folder

    prices = _for_each_sweep(options, "price", demand.parse_prices)
    gpus = _for_each_sweep(options, "gpus", demand.parse_gpus)
    stacks = []
    for path, price, count in zip(map(Path, options.sweeps), prices, gpus, strict=True):
        sweep = folder.read_sweep(path)
        check_goodput_given(requirements.objectives, sweep.grid.config.get("goodput") or {})
        label = sweep.grid.label or path.resolve().name
        points = from_sweep.judge_points(path, sweep, requirements.objectives)
        stacks += [
            plan.PricedStack(curve, price, count or curve.gpus)
            for curve in curves.build_curves(sweep, label, requirements.objectives, points)
        ]
    labels = [stack.curve.label for stack in stacks]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ConfigError(f"two of these sweeps are called {twice}: give copies of them other names")
    return stacks


def _for_each_sweep(options: Namespace, name: str, parse: Callable[[str], tuple[T, ...]]) -> Sequence[T | None]:
    """Return one value of a flag for each sweep; a single value holds for all. Raises ConfigError."""
    sweeps = options.sweeps
    text = getattr(options, name, None)
    values = () if text is None else parse(text)
    if len(values) > 1 and len(values) != len(sweeps):
        raise ConfigError(f"--{name} takes one value, or one for each of the {len(sweeps)} sweeps, not {len(values)}")
    return values if len(values) > 1 else [values[0] if values else None] * len(sweeps)
