"""Scores the responses to a task of lm-eval with lm-eval: filtered, processed and, if not averaged, aggregated.

An item with a failed request is not passed to lm-eval, which knows no failures: it counts as failed. What lm-eval
aggregates itself is aggregated without it, with a note.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec

from loadstone.evals.scoring.aggregate import OUTCOMES
from loadstone.samples import Estimate, ItemResponses, MetricResult, Outcome, Score, TaskResult
from loadstone.tasks.spec import Mode

# Seed of the bootstrap.
SEED = 1234
# Resamples of the bootstrap for the standard error of an aggregate that is no mean.
RESAMPLES = 200


class HarnessScorer:
    """Scores the items of one task.

    instances: lm-eval's, by doc_id
    joint_passes: the task makes one answer of all passes
    """

    def __init__(self, name: str, task: Any, instances: Mapping[int, list[Any]], joint_passes: bool) -> None:
        self._name = name
        self._task = task
        self._instances = instances
        self._joint_passes = joint_passes
        # By metric and filter, what lm-eval's process_results returned for each item.
        self._results: dict[tuple[str, str], list[Any]] = {}

    @property
    def mode(self) -> Mode:
        """Return how the task is answered: it has one mode."""
        return "generation" if str(self._task.OUTPUT_TYPE) == "generate_until" else "loglikelihood"

    @property
    def filters(self) -> list[str]:
        """Return the names of the task's filters."""
        return [ensemble.name for ensemble in self._task._filters]

    @property
    def names(self) -> list[str]:
        """Return the names of the task's metrics."""
        return list(self._task.aggregation())

    @property
    def headline(self) -> str:
        """Return the first metric that is a mean, as accuracy is."""
        return next((name for name in self.names if self._is_mean(name)), next(iter(self.names), "acc"))

    def score_item(self, responses: ItemResponses) -> list[Score]:
        """Score an item through all of the task's filters, pass by pass or all passes together."""
        count = max(map(len, responses.responses), default=0)
        passes = [list(range(count))] if self._joint_passes else [[attempt] for attempt in range(count)]
        return [score for attempts in passes for score in self._score_passes(responses, attempts)]

    def add_figures(self, result: TaskResult) -> TaskResult:
        """Add what lm-eval aggregates from all items itself, for the metrics that are no means."""
        figures = {(figure.metric, figure.filter): figure for figure in result.figures}
        failed = max((figure.outcomes.get("failed", 0) for figure in result.figures), default=0)
        for (metric, name), values in self._results.items():
            if self._is_mean(metric):
                continue
            outcomes = result.figures[0].outcomes if result.figures else {str(each): 0 for each in OUTCOMES}
            aggregate = self._task.aggregation()[metric]

            # Standard error by bootstrap; some aggregates cannot be computed on every resample.
            stderr = None
            if len(values) >= 2:
                random = Random(SEED)
                try:
                    stderr = statistics.stdev(
                        float(aggregate(random.choices(values, k=len(values)))) for _ in range(RESAMPLES)
                    )
                except (ArithmeticError, TypeError, ValueError):
                    stderr = None
            estimate = Estimate(value=float(aggregate(values)), n=len(values), stderr=stderr)
            figures[metric, name] = MetricResult(
                metric=metric, filter=name, all=estimate, stderr=stderr, answered=None, outcomes=outcomes
            )
        notes = {"items that failed are left out of what lm-eval aggregates": failed} if failed else {}
        return msgspec.structs.replace(result, figures=list(figures.values()), notes={**result.notes, **notes})

    def _score_passes(self, responses: ItemResponses, attempts: Sequence[int]) -> list[Score]:
        """Score passes together, through each filter."""
        values = [[passes[attempt] for attempt in attempts] for passes in responses.responses]
        instances = self._instances.get(responses.doc_id, [])
        if any(value is None for passes in values for value in passes) or len(instances) != len(values):
            return [self._score(responses, attempts[0], name, {}, None, "failed") for name in self.filters]
        rolling = self._task.OUTPUT_TYPE == "loglikelihood_rolling"
        for instance, passes in zip(instances, values, strict=True):
            instance.resps = [value[0] if rolling and value is not None else value for value in passes]
            instance.filtered_resps = {}
        scores = (self._score_filter(responses, attempts[0], each, instances) for each in self._task._filters)
        return [score for score in scores if score is not None]

    def _score_filter(
        self, responses: ItemResponses, attempt: int, ensemble: Any, instances: Sequence[Any]
    ) -> Score | None:
        """Score an item through one filter.

        Returns None if all metrics only have a meaning for all items together, such as a perplexity. An item for which
        lm-eval's scorer fails is unparsed, and does not end the evaluation.
        """
        try:
            ensemble.apply(instances)
            filtered = [instance.filtered_resps[ensemble.name] for instance in instances]
            metrics = self._task.process_results(instances[0].doc, filtered)
        except Exception as exc:
            note = f"{type(exc).__name__}: {exc}"[:200]
            return self._score(responses, attempt, ensemble.name, {}, None, "unparsed", note)
        for metric, value in metrics.items():
            self._results.setdefault((metric, ensemble.name), []).append(value)
        numbers = {name: number for name, value in metrics.items() if (number := _number(value)) is not None}
        if not numbers:
            return None

        # What was extracted: the text of a generation, or the number of the likeliest choice.
        if self.mode == "generation":
            extracted: Any = filtered[0] if isinstance(filtered[0], str) else str(filtered[0])
        else:
            likelihoods = [value[0] if isinstance(value, tuple) else value for value in filtered]
            extracted = likelihoods.index(max(likelihoods)) if len(likelihoods) > 1 else None

        # The outcome: right if the headline metric is at least one half.
        headline = numbers.get(self.headline, next(iter(numbers.values()), 0.0))
        if isinstance(headline, list) and headline:
            headline = math.fsum(headline) / len(headline)
        truncated = any(passes[attempt] == "length" for passes in responses.finishes) and self.mode == "generation"
        outcome: Outcome = "truncated" if truncated else "wrong"
        if isinstance(headline, float) and headline >= 0.5:
            outcome = "right"
        return self._score(responses, attempt, ensemble.name, numbers, extracted, outcome)

    def _score(
        self,
        responses: ItemResponses,
        attempt: int,
        name: str,
        metrics: Mapping[str, Any],
        extracted: Any,
        outcome: Outcome,
        note: str | None = None,
    ) -> Score:
        """Return a score. Without metrics, those that are means count 0."""
        return Score(
            task=self._name,
            doc_id=responses.doc_id,
            attempt=attempt,
            filter=name if self.mode == "generation" else "none",
            extracted=extracted,
            metrics=dict(metrics) or {metric: 0.0 for metric in self.names if self._is_mean(metric)},
            outcome=outcome,
            note=note,
        )

    def _is_mean(self, metric: str) -> bool:
        return getattr(self._task.aggregation().get(metric), "__name__", "mean") == "mean"


def _number(value: Any) -> float | list[float] | None:
    """Return a metric of one item as a number, or a list of numbers; None if only lm-eval can aggregate it."""
    if isinstance(value, list) and value and all(isinstance(each, int | float) for each in value):
        return [float(each) for each in value]
    try:
        return None if isinstance(value, str | list | tuple | dict | set) else float(value)
    except (TypeError, ValueError):
        return None
