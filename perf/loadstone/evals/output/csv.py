"""An evaluation as CSV: a row for each task or group, metric and filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loadstone.evals.output.tables import OUTCOMES
from loadstone.samples import Estimate, Evaluation
from loadstone.text import write_rows

COLUMNS = ("model", "kind", "name", "mode", "template", "version", "shots", "items", "passes", "metric", "filter",
           "value", "stderr", "low", "high", "interval", "answered", *OUTCOMES)  # fmt: skip


def render(evaluation: Evaluation) -> str:
    """Return the CSV. Fractions are from 0 to 1, outcomes are counts, unknown values are empty."""
    return write_rows(COLUMNS, ([evaluation.model, *row] for row in _rows(evaluation)))


def _rows(evaluation: Evaluation) -> Iterator[list[Any]]:
    for task in evaluation.tasks:
        about = ["task", task.task, task.mode, task.template, task.version, task.shots, task.items, task.passes]
        for figure in task.figures:
            counts = [figure.outcomes[name] for name in OUTCOMES]
            yield [*about, figure.metric, figure.filter, *_estimate(figure.all), _value(figure.answered), *counts]
        for name, estimate in task.at.items():
            yield [*about, name, None, *_estimate(estimate), None, *(None for _ in OUTCOMES)]
    for group in evaluation.groups:
        about = ["group", group.name, None, None, None, None, group.items, None]
        counts = [group.outcomes[name] for name in OUTCOMES]
        yield [*about, "micro", None, *_estimate(group.micro), _value(group.answered), *counts]
        yield [*about, "macro", None, *_estimate(group.macro), None, *(None for _ in OUTCOMES)]


def _estimate(estimate: Estimate) -> list[Any]:
    low, high = estimate.interval or (None, None)
    return [estimate.value, estimate.stderr, low, high, estimate.method]


def _value(estimate: Estimate | None) -> float | None:
    return estimate.value if estimate else None
