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
    """Shares from 0 to 1, outcomes as counts; what is not known is empty."""
    return write_rows(COLUMNS, ([evaluation.model, *row] for row in _rows(evaluation)))


def _rows(evaluation: Evaluation) -> Iterator[list[Any]]:
    for task in evaluation.tasks:
        about = ["task", task.task, task.mode, task.template, task.version, task.shots, task.items, task.passes]
        for figure in task.figures:
            counts = [figure.outcomes[name] for name in OUTCOMES]
            yield [*about, figure.metric, figure.filter, *_estimate(figure.all), _value(figure.answered), *counts]
        for name, found in task.at.items():
            yield [*about, name, None, *_estimate(found), None, *(None for _ in OUTCOMES)]
    for group in evaluation.groups:
        about = ["group", group.name, None, None, None, None, group.items, None]
        counts = [group.outcomes[name] for name in OUTCOMES]
        yield [*about, "micro", None, *_estimate(group.micro), _value(group.answered), *counts]
        yield [*about, "macro", None, *_estimate(group.macro), None, *(None for _ in OUTCOMES)]


def _estimate(found: Estimate) -> list[Any]:
    low, high = found.interval or (None, None)
    return [found.value, found.stderr, low, high, found.method]


def _value(found: Estimate | None) -> float | None:
    return found.value if found else None
