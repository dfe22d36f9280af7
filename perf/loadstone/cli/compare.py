"""`loadstone compare BASE NEW [MORE...]`: what is better, worse or the same, and whether gates are met."""

from __future__ import annotations

import argparse
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadstone.cli import score
from loadstone.cli.run_flags import SUMMARY
from loadstone.errors import UsageError
from loadstone.report import output

if TYPE_CHECKING:
    from loadstone.compare.gates import GateResult
    from loadstone.compare.verdicts import Comparison

_VIEWS = (*output.FORMS, "json")
_OF_RUNS = ("window", "gates", "gate_strict", "force", "junit")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "base", metavar="BASE", help="a run, a folder with the repeats of one, several runs: A1,A2,A3, or an evaluation"
    )
    parser.add_argument("new", nargs="+", metavar="NEW", help="the same; each of several is held against BASE")
    parser.add_argument("--margin", type=_margin, metavar="PCT", help="changes within it are the same: 2%% (5%%)")
    parser.add_argument(
        "--window", choices=["whole", "steady"], help="the whole runs (default), or their steady windows"
    )
    parser.add_argument(
        "--gate",
        dest="gates",
        action="append",
        metavar="TERMS",
        help="'ttft.p99 <= +5%%, output_throughput >= -2%%, error_rate <= 1%%': exit status 1 where one is missed",
    )
    parser.add_argument("--gate-strict", action="store_true", help="a gate that the runs cannot tell is missed too")
    parser.add_argument("--force", action="store_true", help="compare invalid runs too")
    parser.add_argument("--as", dest="view", choices=_VIEWS, help="text (default), md, html, json")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to a new file instead of stdout")
    parser.add_argument("--summary", action="store_true", help=SUMMARY)
    parser.add_argument("--junit", metavar="FILE", help="write what became of the gates to a new file as JUnit XML")


def run(options: argparse.Namespace) -> int:
    """Exit status 0; 1 where a gate is missed."""
    from loadstone.compare import gates, load, page
    from loadstone.compare.verdicts import MARGIN
    from loadstone.report import terminal

    if of_evaluations(options):
        return _compare_evaluations(options)
    given = vars(options)
    output.check_new(given.get("junit"), "--junit")
    asked = [gate for text in given.get("gates", ()) for gate in gates.parse(text)]
    read = load.read_sides([options.base, *options.new], given.get("window", "whole"), given.get("force", False))
    found = load.compare_sides(read, given.get("margin", MARGIN), given.get("window", "whole"))
    judged = gates.judge(asked, found.against)
    view, target = given.get("view", "text"), given.get("output", "-")
    if view == "json":
        output.write(page.json(found, judged), target)
    elif (view, target) == ("text", "-"):
        terminal.show(page.page(found, judged))
    else:
        output.write(output.render(page.page(found, judged, load.curves(read)), view), target)
    _for_ci(options, found, judged)
    failed = gates.failed(judged, given.get("gate_strict", False))
    for gate in failed:
        output.notice(f"gate {gate.status}: {gate.name}: {gate.reason}")
    return 1 if failed else 0


def _for_ci(options: argparse.Namespace, found: Comparison, judged: Sequence[GateResult]) -> None:
    from loadstone.compare import page
    from loadstone.report import junit, markdown

    cases = [junit.Case(gate.name, gate.status, gate.reason) for gate in judged]
    output.write_ci_files(
        vars(options),
        lambda: junit.draw([junit.Suite("loadstone compare", cases)]),
        lambda: markdown.draw(page.page(found, judged)),
    )


def _margin(text: str) -> float:
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*%", text)
    if not match or not 0 < float(match[1]) < 100:
        raise argparse.ArgumentTypeError(f"takes a percentage such as 5%, not {text!r}")
    return float(match[1]) / 100


def of_evaluations(options: Namespace) -> bool:
    """Whether evaluations are to be compared. Raises UsageError for some of them and some runs."""
    sides = [options.base, *options.new]
    found = [score.is_evaluation(Path(side)) for side in sides]
    if any(found) and not all(found):
        raise UsageError(f"{sides[found.index(True)]} is an evaluation and {sides[found.index(False)]} is none: give "
                         "two evaluations, or runs")  # fmt: skip
    return all(found)


def _compare_evaluations(options: Namespace) -> int:
    """Exit status 0: whether worse is bad is not known here."""
    import msgspec

    from loadstone.evals.compare import load
    from loadstone.evals.compare import page as paired
    from loadstone.evals.compare.paired_test import MARGIN
    from loadstone.report import json

    if len(options.new) > 1:
        raise UsageError(f"compare takes two evaluations, not {1 + len(options.new)}")
    given = vars(options)
    if wrong := [name for name in _OF_RUNS if given.get(name)]:
        raise UsageError(f"--{wrong[0].removesuffix('s').replace('_', '-')} is for runs, not for evaluations")
    base, new = load.read(Path(options.base)), load.read(Path(options.new[0]))
    tasks, margin, view = load.compare(base, new), given.get("margin", MARGIN), given.get("view", "text")
    page = paired.page((base.name, new.name), (base.model, new.model), tasks, margin)
    if view == "json":
        verdicts = {each.task: each.difference.verdict(margin) for each in tasks if each.difference}
        output.write(json.to_json({"tasks": msgspec.to_builtins(tasks), "verdicts": verdicts}), given.get("output"))
    else:
        output.show(page, view, given.get("output"))
    if given.get("summary"):
        output.step_summary(output.render(page, "md"))
    return 0
