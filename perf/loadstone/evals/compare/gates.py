"""Gates on the scores of two evaluations: a limit of the new side's score, or of its difference to the base.

`gsm8k >= 80%` is judged by the interval of the score that the new side reports, `gsm8k >= -1%` by the interval of the
paired difference, in points. A score is that of a task, of one of its metrics (`gsm8k.exact_match`) or of a group.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from loadstone.compare.gates import GateResult, by_interval
from loadstone.config.slo import GATE, Objective, parse
from loadstone.errors import ConfigError
from loadstone.evals.compare import load
from loadstone.evals.compare.load import EvaluationSide, TaskComparison
from loadstone.evals.compare.paired_test import Difference
from loadstone.evals.scoring import intervals


def parse_gates(texts: Sequence[str], base: EvaluationSide, new: EvaluationSide) -> list[Objective]:
    """Return the gates of two evaluations. Raises ConfigError for one on a score that neither has."""
    names = list(dict.fromkeys(name for side in (base, new) for name in (*side.files, *side.groups)))
    gates = [gate for text in texts for gate in parse(text, GATE, names)]
    for gate in gates:
        metrics = list(dict.fromkeys(name for side in (base, new) for name in load.metric_names(side, gate.metric)))
        if gate.figure and gate.figure not in metrics:
            near = difflib.get_close_matches(gate.figure, metrics, 1)
            hint = f": did you mean {near[0]}?" if near else ""
            known = f"a metric of {gate.metric} ({', '.join(metrics)})"
            raise ConfigError(f"{GATE} takes {known}, not {gate.text!r}{hint}", field="gate")
        if intervals.has_own_scale(gate.figure or next(iter(metrics), "")):
            scored = gate.figure or metrics[0]
            raise ConfigError(
                f"{GATE} takes scores from 0 to 1, not {gate.text!r}: {scored} has another scale", field="gate"
            )
    return gates


def judge(
    gates: Sequence[Objective], base: EvaluationSide, new: EvaluationSide, tasks: Sequence[TaskComparison]
) -> list[GateResult]:
    """Apply each gate to the new side. `tasks`: the comparison of the two."""
    differences = {each.task: each.difference for each in tasks}
    return [_apply(gate, base, new, differences) for gate in gates]


def _apply(
    gate: Objective, base: EvaluationSide, new: EvaluationSide, differences: Mapping[str, Difference | None]
) -> GateResult:
    if gate.relative:
        known = not gate.figure and gate.metric in differences
        difference = differences[gate.metric] if known else load.paired(gate.metric, gate.figure, base, new)
        found = difference.difference if difference else None
        missing = "has no item that both sides answered"
    else:
        found = load.score_of(gate.metric, gate.figure, new)
        missing = "was not measured on the new side"
    if found is None:
        return GateResult(gate.text, new.name, "missed", f"{gate.name} {missing}")
    show = "{:+.2f} points" if gate.relative else "{:.2f} %"
    return by_interval(
        gate, new.name, gate.name, found.value, found.interval, lambda value: show.format(100 * value), "items"
    )
