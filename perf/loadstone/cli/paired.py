"""`loadstone compare EVALUATION EVALUATION`: item by item, what the new one has right and the base has not."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from loadstone.report import output as outputs
from loadstone.records import UsageError
from loadstone.cli import score

VIEWS = (*outputs.FORMS, "json")
OF_RUNS = ("window", "gates", "gate_strict", "force", "junit")


def wanted(options: Namespace) -> bool:
    """Whether evaluations are to be compared. Raises UsageError for some of them and some runs."""
    sides = [options.base, *options.new]
    found = [score.is_evaluation(Path(side)) for side in sides]
    if any(found) and not all(found):
        raise UsageError(f"{sides[found.index(True)]} is an evaluation and {sides[found.index(False)]} is none: give "
                         "two evaluations, or runs")  # fmt: skip
    return all(found)


def run(options: Namespace) -> int:
    """Exit status 0: whether worse is bad is not known here."""
    import msgspec

    from loadstone.evals.compare import load as pairing
    from loadstone.evals.compare.test import MARGIN
    from loadstone.report import json
    from loadstone.evals.compare import page as paired

    if len(options.new) > 1:
        raise UsageError(f"compare takes two evaluations, not {1 + len(options.new)}")
    given = vars(options)
    if wrong := [name for name in OF_RUNS if given.get(name)]:
        raise UsageError(f"--{wrong[0].removesuffix('s').replace('_', '-')} is for runs, not for evaluations")
    base, new = pairing.read(Path(options.base)), pairing.read(Path(options.new[0]))
    tasks, margin, view = pairing.compare(base, new), given.get("margin", MARGIN), given.get("view", "text")
    page = paired.page((base.name, new.name), (base.model, new.model), tasks, margin)
    if view == "json":
        verdicts = {each.task: each.difference.verdict(margin) for each in tasks if each.difference}
        outputs.put(json.indented({"tasks": msgspec.to_builtins(tasks), "verdicts": verdicts}), given.get("output"))
    else:
        outputs.show(page, view, given.get("output"))
    if given.get("summary"):
        outputs.step_summary(outputs.drawn(page, "md"))
    return 0
