"""`loadstone plan SWEEP [MORE...]`: how many replicas a demand takes, and what they cost, from sweeps of one each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from loadstone.cli.flag_types import duration, whole_number
from loadstone.errors import UsageError
from loadstone.report import output as outputs

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.capacity.demand import Demand
    from loadstone.capacity.plan import Plan, PricedStack, Requirements

T = TypeVar("T")
_VIEWS = (*outputs.FORMS, "json", "csv")
_MONTHS = 120


def add(parser: ArgumentParser) -> None:
    parser.add_argument("sweeps", nargs="+", metavar="SWEEP", help="folder of a sweep; several are stacks to compare")
    asked = parser.add_argument_group("demand (on average; lengths are those of the sweep)")
    asked.add_argument("--rate", metavar="R[,R...]", help="requests a second: 40, or several: 10,40,160")
    asked.add_argument("--users", metavar="N[,N...]", help="people who ask, read and ask again; with --think")
    asked.add_argument("--think", type=duration, metavar="T", help="of a user, from an answer to the next request: 20s")
    asked.add_argument("--peak", metavar="X", help="the busiest time over the mean: 2.5 (1)")
    asked.add_argument("--growth", metavar="P/PERIOD", help="10%%/month, 50%%/year, compounded; with --months")
    asked.add_argument("--months", type=whole_number, metavar="N", help="months to look ahead (12 with --growth)")
    asked.add_argument(
        "--input-len", type=float, metavar="N", help="mean input tokens, to warn where the sweep's differ"
    )
    asked.add_argument("--output-len", type=float, metavar="N", help="mean output tokens, likewise")
    held = parser.add_argument_group("what it must hold")
    held.add_argument("--slo", metavar="TERMS", help="'ttft.p99<500ms tpot.p95<50ms' (default: that of the sweep)")
    held.add_argument("--headroom", metavar="P", help="share of the capacity kept free: 20%% (0)")
    held.add_argument("--spare", type=whole_number, metavar="N", help="replicas more than needed, for N+1 give 1 (0)")
    paid = parser.add_argument_group("cost")
    paid.add_argument("--price", metavar="X[,X...]", help="of a replica hour: 2.50, or one for each sweep")
    paid.add_argument("--currency", metavar="NAME", help="of the price (USD)")
    paid.add_argument("--gpus", metavar="N[,N...]", help="of a replica, or one for each sweep (as the sweep says)")
    parser.add_argument("--as", dest="view", choices=_VIEWS, help="text (default), md, html, json, csv")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a new file instead of stdout")


def run(options: Namespace) -> int:
    """Exit status 0; 1 where no stack meets the objectives."""
    from loadstone.capacity import page
    from loadstone.capacity import plan as fleet
    from loadstone.report import terminal

    terms = _terms(options)
    plan = fleet.make_plan(_offers(options, terms), terms)
    view, output = getattr(options, "view", "text"), getattr(options, "output", "-")
    if (view, output) == ("text", "-"):
        terminal.show(page.page(plan))
    else:
        outputs.write(_drawn(plan, view), output)
    return 0 if any(stack.sizes for stack in plan.stacks) else 1


def _terms(options: Namespace) -> Requirements:
    from loadstone.capacity import demand
    from loadstone.capacity import plan as fleet
    from loadstone.metrics import slo as objectives

    given = vars(options)
    slo = given.get("slo") or _slo_of(options.sweeps)
    months = given.get("months", 12 if "growth" in given else 0)
    if "months" in given and "growth" not in given:
        raise UsageError("--months looks ahead: say by how much the demand grows, such as --growth 10%/month")
    if not 0 <= months <= _MONTHS:
        raise UsageError(f"--months takes a number from 0 to {_MONTHS}, not {months}")
    if (spare := given.get("spare", 0)) < 0:
        raise UsageError(f"--spare takes 0 or more replicas, not {spare}")
    return fleet.Requirements(
        objectives=objectives.with_errors(objectives.parse(slo, shares=True)),
        demands=_demands(options),
        peak=demand.parse_peak(given.get("peak", "1")),
        growth=demand.parse_growth(given["growth"]) if "growth" in given else 1.0,
        months=months,
        headroom=demand.parse_headroom(given.get("headroom", "0")),
        spare=spare,
        currency=given.get("currency", "USD"),
        input_tokens=given.get("input_len"),
        output_tokens=given.get("output_len"),
    )


def _slo_of(paths: Sequence[str]) -> str:
    """The objectives that the first sweep was made for."""
    from loadstone.sweep import folder as sweeps

    slo = sweeps.read_sweep(Path(paths[0])).grid.rule.get("slo")
    if not slo:
        raise UsageError("plan takes objectives, such as --slo 'ttft.p99<500ms tpot.p95<50ms': the sweep names none")
    return str(slo)


def _demands(options: Namespace) -> tuple[Demand, ...]:
    from loadstone.capacity import demand

    rates, users, think = (getattr(options, name, None) for name in ("rate", "users", "think"))
    if (rates is None) == (users is None):
        raise UsageError("plan takes a demand: either --rate 40 (requests/s) or --users 500 --think 20s")
    if users is None:
        if think is not None:
            raise UsageError("--think is how long users think: give --users with it, or leave it out with --rate")
        return tuple(demand.Demand(rate=rate) for rate in demand.parse_rates(str(rates)))
    if think is None:
        raise UsageError("--users needs --think: seconds from an answer to the user's next request, such as 20s")
    return tuple(demand.Demand(users=count, think=think) for count in demand.parse_users(users))


def _offers(options: Namespace, terms: Requirements) -> list[PricedStack]:
    """A stack for each curve of each sweep, with the price and GPUs of its sweep."""
    from loadstone.capacity import curves, demand, from_sweep
    from loadstone.capacity import plan as fleet
    from loadstone.sweep import folder as sweeps

    prices = _each(options, "price", demand.parse_prices)
    gpus = _each(options, "gpus", demand.parse_gpus)
    offers = []
    for path, price, count in zip(options.sweeps, prices, gpus, strict=True):
        sweep = sweeps.read_sweep(Path(path))
        label = sweep.grid.label or Path(path).resolve().name
        called = from_sweep.judge_points(Path(path), sweep, terms.objectives)
        offers += [fleet.PricedStack(curve, price, count or curve.gpus)
                   for curve in curves.build_curves(sweep, label, terms.objectives, called)]  # fmt: skip
    labels = [offer.curve.label for offer in offers]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise UsageError(f"two of these sweeps are called {twice}: give copies of them other names")
    return offers


def _each(options: Namespace, name: str, read: Callable[[str], tuple[T, ...]]) -> Sequence[T | None]:
    """One for each sweep: what was given, once or as often as there are sweeps."""
    sweeps = options.sweeps
    text = getattr(options, name, None)
    found = () if text is None else read(text)
    if len(found) > 1 and len(found) != len(sweeps):
        raise UsageError(f"--{name} takes one value, or one for each of the {len(sweeps)} sweeps, not {len(found)}")
    return found if len(found) > 1 else [found[0] if found else None] * len(sweeps)


def _drawn(plan: Plan, view: str) -> str:
    from loadstone.capacity import csv, page
    from loadstone.report.json import to_json

    forms: dict[str, Callable[[Plan], str]] = {"json": to_json, "csv": csv.render}
    return forms[view](plan) if view in forms else outputs.render(page.page(plan), view)
