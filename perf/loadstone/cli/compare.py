"""`loadstone compare BASE NEW [MORE...]`: what is better, worse or the same, and whether gates are met."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loadstone.report import output as outputs
from loadstone.cli.run_flags import SUMMARY
from loadstone.cli import paired

if TYPE_CHECKING:
    from loadstone.compare.verdicts import Comparison
    from loadstone.compare.gates import Judged

_VIEWS = (*outputs.FORMS, "json")


def add(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "base", metavar="BASE", help="a run, a folder with the repeats of one, several runs: A1,A2,A3, or an evaluation"
    )
    verb.add_argument("new", nargs="+", metavar="NEW", help="the same; each of several is held against BASE")
    verb.add_argument("--margin", type=_margin, metavar="PCT", help="changes within it are the same: 2%% (5%%)")
    verb.add_argument("--window", choices=["whole", "steady"], help="the whole runs (default), or their steady windows")
    verb.add_argument(
        "--gate",
        dest="gates",
        action="append",
        metavar="TERMS",
        help="'ttft.p99 <= +5%%, output_throughput >= -2%%, error_rate <= 1%%': exit status 1 where one is missed",
    )
    verb.add_argument("--gate-strict", action="store_true", help="a gate that the runs cannot tell is missed too")
    verb.add_argument("--force", action="store_true", help="compare invalid runs too")
    verb.add_argument("--as", dest="view", choices=_VIEWS, help="text (default), md, html, json")
    verb.add_argument("-o", "--output", metavar="FILE", help="write to a new file instead of stdout")
    verb.add_argument("--summary", action="store_true", help=SUMMARY)
    verb.add_argument("--junit", metavar="FILE", help="write what became of the gates to a new file as JUnit XML")


def run(options: argparse.Namespace) -> int:
    """Exit status 0; 1 where a gate is missed."""
    from loadstone.report import terminal as console
    from loadstone.compare import gates, load as sides
    from loadstone.compare.verdicts import MARGIN
    from loadstone.compare import page as comparison

    if paired.wanted(options):
        return paired.run(options)
    given = vars(options)
    outputs.check_new(given.get("junit"), "--junit")
    asked = [gate for text in given.get("gates", ()) for gate in gates.parse(text)]
    read = sides.read([options.base, *options.new], given.get("window", "whole"), given.get("force", False))
    found = sides.compare(read, given.get("margin", MARGIN), given.get("window", "whole"))
    judged = gates.judge(asked, found.against)
    view, output = given.get("view", "text"), given.get("output", "-")
    if view == "json":
        outputs.put(comparison.json(found, judged), output)
    elif (view, output) == ("text", "-"):
        console.show(comparison.page(found, judged))
    else:
        outputs.put(outputs.drawn(comparison.page(found, judged, sides.curves(read)), view), output)
    _for_ci(options, found, judged)
    failed = gates.failed(judged, given.get("gate_strict", False))
    for gate in failed:
        outputs.notice(f"gate {gate.status}: {gate.name}: {gate.reason}")
    return 1 if failed else 0


def _for_ci(options: argparse.Namespace, found: Comparison, judged: Sequence[Judged]) -> None:
    from loadstone.compare import page as comparison
    from loadstone.report import junit, markdown

    cases = [junit.Case(gate.name, gate.status, gate.reason) for gate in judged]
    outputs.for_ci(
        options,
        lambda: junit.draw([junit.Suite("loadstone compare", cases)]),
        lambda: markdown.draw(comparison.page(found, judged)),
    )


def _margin(text: str) -> float:
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*%", text)
    if not match or not 0 < float(match[1]) < 100:
        raise argparse.ArgumentTypeError(f"takes a percentage such as 5%, not {text!r}")
    return float(match[1]) / 100
