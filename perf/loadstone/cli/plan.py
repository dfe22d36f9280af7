"""`loadstone plan SWEEP [MORE...]`: how many replicas a demand needs and what they cost, from sweeps of one replica."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from loadstone.capacity.settings import PlanSettings
from loadstone.cli.flags import add_flags
from loadstone.cli.options import FileOption, read_options
from loadstone.config import kinds, loading
from loadstone.config.flags import Flag
from loadstone.errors import ConfigError
from loadstone.report import output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from loadstone.capacity.plan import PricedStack, Requirements


@dataclass(frozen=True, kw_only=True)
class PlanOptions(FileOption):
    """How the plan is shown."""

    view: Annotated[
        str,
        Flag(
            "format of the report: text (default), md, html, json, csv",
            kinds.choice((*output.FORMS, "json", "csv")),
            name="as",
        ),
    ] = "text"
    output: Annotated[str | None, Flag("write to a new file instead of stdout", short="-o", metavar="FILE")] = None


def add(parser: ArgumentParser) -> None:
    """Add the flags of `plan`."""
    parser.add_argument(
        "sweeps", nargs="+", metavar="SWEEP", help="folder of a sweep; give several to compare their stacks"
    )
    add_flags(parser, PlanSettings)
    add_flags(parser, PlanOptions)


def run(options: Namespace) -> int:
    """Compute the plan and show it. Return exit status 1 if no stack meets the objectives, else 0."""
    from loadstone.capacity import csv, page, plan
    from loadstone.config import slo as objectives
    from loadstone.report.json import to_json
    from loadstone.sweep import folder

    shown, paths = read_options(PlanOptions, options), [Path(sweep) for sweep in options.sweeps]
    settings = loading.load_settings(PlanSettings, vars(options))
    # Objectives: those given, else those of the first sweep.
    slo = settings.slo or folder.read_sweep(paths[0]).grid.rule.get("slo")
    if not slo:
        raise ConfigError(
            "plan takes objectives, such as --slo 'ttft.p99<500ms tpot.p95<50ms': the sweep names none", field="slo"
        )
    requirements = settings.requirements(objectives.with_errors(objectives.parse(str(slo), objectives.SLO)))
    fleet = plan.make_plan(_stacks(paths, settings, requirements), requirements)
    if shown.view == "json":
        output.write(to_json(fleet), shown.output)
    elif shown.view == "csv":
        output.write(csv.render(fleet), shown.output)
    else:
        output.show(page.page(fleet), shown.view, shown.output)
    return 0 if any(stack.sizes for stack in fleet.stacks) else 1


def _stacks(paths: list[Path], settings: PlanSettings, requirements: Requirements) -> list[PricedStack]:
    """Return a stack for each curve of each sweep, with the price and GPUs of that sweep."""
    from loadstone.capacity import curves, from_sweep, plan
    from loadstone.config.slo import check_goodput_given
    from loadstone.sweep import folder

    prices, gpus = (settings.for_each_sweep(name, len(paths)) for name in ("price", "gpus"))
    stacks = []
    for path, price, count in zip(paths, prices, gpus, strict=True):
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
