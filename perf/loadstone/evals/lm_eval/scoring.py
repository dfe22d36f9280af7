"""Answers to a task of lm-eval, judged by lm-eval: filtered, processed and, where that is no mean, aggregated.

An item of which a request failed is not given to lm-eval, which knows no failure: it counts as failed, and what lm-eval
aggregates itself is aggregated without it, with a note.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from loadstone.evals.scoring.aggregate import OUTCOMES
from loadstone.samples import Estimate, ItemResponses, MetricResult, Outcome, Score, TaskResult
from loadstone.tasks.spec import Mode

SEED = 1234
# Of the bootstrap, for the standard error of what is no mean.
DRAWS = 200
_MODES: dict[str, Mode] = {"generate_until": "generation"}


class HarnessScorer:
    """Of one task. `instances`: lm-eval's, by doc_id; `together`: the task makes one answer of all passes."""

    def __init__(self, name: str, task: Any, instances: Mapping[int, list[Any]], together: bool) -> None:
        self._name = name
        self._task = task
        self._instances = instances
        self._together = together
        self._raw: dict[tuple[str, str], list[Any]] = {}

    @property
    def mode(self) -> Mode:
        """In which it is answered: the task's own way is the only one."""
        return _MODES.get(str(self._task.OUTPUT_TYPE), "loglikelihood")

    @property
    def filters(self) -> list[str]:
        return [ensemble.name for ensemble in self._task._filters]

    @property
    def names(self) -> list[str]:
        return list(self._task.aggregation())

    @property
    def headline(self) -> str:
        """The first metric that is a mean, as accuracy is."""
        return next((name for name in self.names if self._mean(name)), next(iter(self.names), "acc"))

    def score_item(self, answered: ItemResponses) -> list[Score]:
        """An item by all of the task's filters, pass by pass; all passes at once where the task makes one of them."""
        count = max(map(len, answered.responses), default=0)
        passes = [list(range(count))] if self._together else [[attempt] for attempt in range(count)]
        return [score for attempts in passes for score in self._pass(answered, attempts)]

    def add_figures(self, tallied: TaskResult) -> TaskResult:
        """With what lm-eval makes of all items that were judged, where that is no mean."""
        known = {(figure.metric, figure.filter): figure for figure in tallied.figures}
        failed = max((figure.outcomes.get("failed", 0) for figure in tallied.figures), default=0)
        for (metric, name), values in self._raw.items():
            if not self._mean(metric):
                outcomes = tallied.figures[0].outcomes if tallied.figures else {str(name): 0 for name in OUTCOMES}
                known[metric, name] = self._figure(metric, name, values, outcomes)
        notes = {"items that failed are left out of what lm-eval aggregates": failed} if failed else {}
        return msgspec.structs.replace(tallied, figures=list(known.values()), notes={**tallied.notes, **notes})

    def _pass(self, answered: ItemResponses, attempts: Sequence[int]) -> list[Score]:
        """The passes that are judged together, through each filter."""
        responses = [[lane[attempt] for attempt in attempts] for lane in answered.responses]
        instances = self._instances.get(answered.doc_id, [])
        if any(one is None for lane in responses for one in lane) or len(instances) != len(responses):
            return [self._score(answered, attempts[0], name, {}, None, "failed") for name in self.filters]
        for instance, lane in zip(instances, responses, strict=True):
            instance.resps, instance.filtered_resps = [self._response(one) for one in lane], {}
        found = (self._filtered(answered, attempts[0], ensemble, instances) for ensemble in self._task._filters)
        return [score for score in found if score is not None]

    def _filtered(self, answered: ItemResponses, attempt: int, ensemble: Any, instances: Sequence[Any]) -> Score | None:
        """None where all metrics are of the kind that only tells something of all items, as a perplexity is. What
        breaks lm-eval's scorer is unparsed, and does not end the evaluation."""
        try:
            ensemble.apply(instances)
            filtered = [instance.filtered_resps[ensemble.name] for instance in instances]
            metrics = self._task.process_results(instances[0].doc, filtered)
        except Exception as exc:
            note = f"{type(exc).__name__}: {exc}"[:200]
            return self._score(answered, attempt, ensemble.name, {}, None, "unparsed", note)
        for metric, value in metrics.items():
            self._raw.setdefault((metric, ensemble.name), []).append(value)
        plain = {name: found for name, value in metrics.items() if (found := _plain(value)) is not None}
        if not plain:
            return None
        judged = self._outcome(plain, answered, attempt)
        return self._score(answered, attempt, ensemble.name, plain, self._extracted(filtered), judged)

    def _response(self, one: Any) -> Any:
        return one[0] if self._task.OUTPUT_TYPE == "loglikelihood_rolling" else one

    def _outcome(self, plain: Mapping[str, float | list[float]], answered: ItemResponses, attempt: int) -> Outcome:
        headline = plain.get(self.headline, next(iter(plain.values()), 0.0))
        value = math.fsum(headline) / len(headline) if isinstance(headline, list) and headline else headline
        if isinstance(value, float) and value >= 0.5:
            return "right"
        cut = any(lane[attempt] == "length" for lane in answered.finishes) and self.mode == "generation"
        return "truncated" if cut else "wrong"

    def _extracted(self, filtered: Sequence[Any]) -> Any:
        if self.mode == "generation":
            return filtered[0] if isinstance(filtered[0], str) else str(filtered[0])
        values = [one[0] if isinstance(one, tuple) else one for one in filtered]
        return values.index(max(values)) if len(values) > 1 else None

    def _score(
        self,
        answered: ItemResponses,
        attempt: int,
        name: str,
        metrics: Mapping[str, Any],
        extracted: Any,
        outcome: Outcome,
        note: str | None = None,
    ) -> Score:
        blank = {} if metrics else {metric: 0.0 for metric in self.names if self._mean(metric)}
        return Score(
            task=self._name,
            doc_id=answered.doc_id,
            attempt=attempt,
            filter=name if self.mode == "generation" else "none",
            extracted=extracted,
            metrics={**blank, **metrics},
            outcome=outcome,
            note=note,
        )

    def _mean(self, metric: str) -> bool:
        return getattr(self._task.aggregation().get(metric), "__name__", "mean") == "mean"

    def _figure(self, metric: str, name: str, values: list[Any], outcomes: dict[str, int]) -> MetricResult:
        aggregate = self._task.aggregation()[metric]
        found = Estimate(value=float(aggregate(values)), n=len(values), stderr=_spread(aggregate, values))
        return MetricResult(
            metric=metric, filter=name, all=found, stderr=found.stderr, answered=None, outcomes=outcomes
        )


def _plain(value: Any) -> float | list[float] | None:
    """A metric of one item as a figure, or as the figures of its parts; None for what only lm-eval can aggregate."""
    if isinstance(value, list) and value and all(isinstance(one, int | float) for one in value):
        return [float(one) for one in value]
    try:
        return None if isinstance(value, str | list | tuple | dict | set) else float(value)
    except (TypeError, ValueError):
        return None


def _spread(aggregate: Callable[[Any], Any], values: list[Any]) -> float | None:
    """Standard error by drawing the items again and again; None where that cannot be done."""
    if len(values) < 2:
        return None
    random = Random(SEED)
    try:
        return statistics.stdev(float(aggregate(random.choices(values, k=len(values)))) for _ in range(DRAWS))
    except (ArithmeticError, TypeError, ValueError):
        return None
