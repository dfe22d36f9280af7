"""`loadstone compare BASE NEW [MORE...]`: which figures are better, worse or the same, and whether gates are met."""

from __future__ import annotations

import argparse
import contextlib
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadstone.cli import score
from loadstone.cli.options import SUMMARY
from loadstone.config.kinds import parse_fraction
from loadstone.errors import ConfigError
from loadstone.report import output

if TYPE_CHECKING:
    from loadstone.compare.gates import GateResult

_VIEWS = (*output.FORMS, "json")
# Flags that make no sense for two evaluations.
_RUNS_ONLY = ("window", "force")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `compare`."""
    parser.add_argument(
        "base",
        metavar="BASE",
        help="a run, a folder of repeated runs, several runs as A1,A2,A3, or an evaluation",
    )
    parser.add_argument("new", nargs="+", metavar="NEW", help="the same kind; each NEW is compared with BASE")
    parser.add_argument(
        "--margin", type=_margin, metavar="PCT", help="changes within this margin count as the same: 2%% (default: 5%%)"
    )
    parser.add_argument(
        "--window",
        choices=["whole", "steady"],
        help="part of the runs to compare: whole (default), or their steady windows",
    )
    parser.add_argument(
        "--gate",
        dest="gates",
        action="append",
        metavar="TERMS",
        help="exit with status 1 if a condition is missed: 'ttft.p99 <= +5%%, output_throughput >= -2%%,"
        " error_rate <= 1%%'; of evaluations 'gsm8k >= 80%%' or, in points against BASE, 'gsm8k >= -1%%'",
    )
    parser.add_argument("--gate-strict", action="store_true", help="count an unresolved gate as missed")
    parser.add_argument("--force", action="store_true", help="compare invalid runs too")
    parser.add_argument(
        "--as", dest="view", choices=_VIEWS, help="format of the report: text (default), md, html, json"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a new file instead of stdout")
    parser.add_argument("--summary", action="store_true", help=SUMMARY)
    parser.add_argument("--junit", metavar="FILE", help="write the results of the gates to a new file as JUnit XML")


def run(options: argparse.Namespace) -> int:
    """Compare and show the report. Return exit status 1 if a gate is missed, else 0."""
    from loadstone.compare import gates, load, page
    from loadstone.compare.verdicts import MARGIN
    from loadstone.config import slo
    from loadstone.report import markdown, terminal

    if of_evaluations(options):
        return _compare_evaluations(options)
    flags = vars(options)
    window = flags.get("window", "whole")
    # Before the runs are read, so that a wrong name costs nothing.
    output.check_new(flags.get("junit"), "--junit")
    conditions = [gate for text in flags.get("gates", ()) for gate in slo.parse(text, slo.GATE)]
    sides = load.read_sides([options.base, *options.new], window, flags.get("force", False), conditions)
    comparison = load.compare_sides(sides, flags.get("margin", MARGIN), window)
    judged = gates.judge(conditions, comparison.against)

    # The report, then the files for CI.
    view, target = flags.get("view", "text"), flags.get("output", "-")
    if view == "json":
        output.write(page.json(comparison, judged), target)
    elif (view, target) == ("text", "-"):
        terminal.show(page.page(comparison, judged))
    else:
        output.write(output.render(page.page(comparison, judged, load.curves(sides)), view), target)
    return _finish(flags, judged, lambda: markdown.draw(page.page(comparison, judged)))


def _margin(text: str) -> float:
    """Parse a fraction above 0 and below 1."""
    with contextlib.suppress(ValueError):
        if 0 < (margin := parse_fraction(text)) < 1:
            return margin
    raise argparse.ArgumentTypeError(f"takes a fraction such as 5% or 0.05, not {text!r}")


def of_evaluations(options: Namespace) -> bool:
    """Return True if both sides are evaluations. Raises ConfigError for evaluations mixed with runs."""
    sides = [options.base, *options.new]
    kinds = [score.is_evaluation(Path(side)) for side in sides]
    if any(kinds) and not all(kinds):
        raise ConfigError(f"{sides[kinds.index(True)]} is an evaluation and {sides[kinds.index(False)]} is none:"
                                 " give two evaluations, or runs")  # fmt: skip
    return all(kinds)


def _compare_evaluations(options: Namespace) -> int:
    """Show the comparison of two evaluations. Return exit status 1 if a gate is missed, else 0."""
    import msgspec

    from loadstone.evals.compare import gates, load
    from loadstone.evals.compare.page import page
    from loadstone.evals.compare.paired_test import MARGIN
    from loadstone.report import json

    if len(options.new) > 1:
        raise ConfigError(f"compare takes two evaluations, not {1 + len(options.new)}")
    flags = vars(options)
    if refused := [name for name in _RUNS_ONLY if flags.get(name)]:
        raise ConfigError(f"--{refused[0]} is for runs, not for evaluations")
    output.check_new(flags.get("junit"), "--junit")
    base, new = load.read(Path(options.base)), load.read(Path(options.new[0]))
    conditions = gates.parse_gates(flags.get("gates", ()), base, new)
    tasks = load.compare(base, new)
    judged = gates.judge(conditions, base, new, tasks)
    margin, view = flags.get("margin", MARGIN), flags.get("view", "text")
    report = page((base.name, new.name), (base.model, new.model), tasks, margin, judged)
    if view == "json":
        verdicts = {each.task: each.difference.verdict(margin) for each in tasks if each.difference}
        content = {"tasks": tasks, "verdicts": verdicts, "gates": judged}
        output.write(json.to_json(msgspec.to_builtins(content)), flags.get("output"))
    else:
        output.show(report, view, flags.get("output"))
    return _finish(flags, judged, lambda: output.render(report, "md"))


def _finish(flags: Mapping[str, Any], judged: Sequence[GateResult], draw_summary: Callable[[], str]) -> int:
    """Write the files for CI. Return exit status 1 if a gate fails the build, else 0."""
    from loadstone.compare import gates
    from loadstone.report import junit

    cases = [junit.Case(gate.name, gate.status, gate.reason) for gate in judged]
    output.write_ci_files(
        flags.get("junit"),
        flags.get("summary", False),
        lambda: junit.draw([junit.Suite("loadstone compare", cases)]),
        draw_summary,
    )
    failed = gates.failed(judged, flags.get("gate_strict", False))
    for gate in failed:
        output.notice(f"gate {gate.status}: {gate.name}: {gate.reason}")
    return 1 if failed else 0
