"""Computes the results of a task from its scores: outcomes, means over all and over answered passes, several passes.

Scores are added item by item and only numbers are kept of them, so that files of any length can be scored. groups.py
combines several tasks. Does no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from msgspec import Struct

from loadstone.evals.scoring import intervals
from loadstone.evals.scoring.score import mean_value
from loadstone.samples import Estimate, MetricResult, Outcome, Score, TaskResult
from loadstone.tasks.spec import Mode

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# Outcomes of answers that arrived complete.
ANSWERED: frozenset[Outcome] = frozenset(("right", "wrong", "unparsed"))
# Metric and filter.
Name = tuple[str, str]


class TaskInfo(Struct, frozen=True, kw_only=True):
    """The description of a task in its results.

    template: name of the prompt template
    shots: worked examples before each question
    headline: metric and filter of the headline figure
    """

    task: str
    title: str
    mode: Mode
    template: str
    version: float
    shots: int
    headline: Name


class MetricColumn:
    """The values of one metric through one filter, item by item.

    all, answered: one value for each item, or one for each part of an item; over all passes, and over those answered
    clusters, answered_clusters: the cluster of each value
    parts: items have several values
    """

    def __init__(self) -> None:
        self.all: list[float] = []
        self.answered: list[float] = []
        self.clusters: list[str | int | None] = []
        self.answered_clusters: list[str | int | None] = []
        self.parts = False

    def add(self, passes: Sequence[Score], metric: str) -> None:
        """Add the passes of an item, averaged. The parts of an item are a cluster."""
        answered = [score for score in passes if score.outcome in ANSWERED]
        cluster: str | int | None = passes[0].cluster
        in_parts = isinstance(passes[0].metrics.get(metric), list)
        if in_parts:
            self.parts = True
            cluster = passes[0].doc_id
        average = _part_means if in_parts else _mean
        values, answered_values = average(passes, metric), average(answered, metric)
        self.all += values
        self.clusters += [cluster] * len(values)
        self.answered += answered_values
        self.answered_clusters += [cluster] * len(answered_values)


def _mean(passes: Sequence[Score], metric: str) -> list[float]:
    return [sum(mean_value(score.metrics, metric) for score in passes) / len(passes)] if passes else []


def _part_means(passes: Sequence[Score], metric: str) -> list[float]:
    lists = [value for score in passes if isinstance(value := score.metrics.get(metric), list)]
    return [sum(column) / len(column) for column in zip(*lists, strict=True)] if lists else []


class TaskTally:
    """The scores of one task, added item by item.

    info: description of the task
    items, passes: numbers added so far
    """

    def __init__(self, info: TaskInfo) -> None:
        self.info = info
        self.items = self.passes = 0
        self._columns: dict[Name, MetricColumn] = {}
        self._outcomes: dict[str, Counter[Outcome]] = {}
        self._over_passes: dict[str, list[float]] = {}
        self._notes: Counter[str] = Counter()

    def add(self, scores: Sequence[Score], passes: int = 1) -> None:
        """Add all scores of one item.

        passes: number of its passes, in case it has no scores
        """
        self.items += 1
        by_filter: dict[str, list[Score]] = {}
        for score in scores:
            by_filter.setdefault(score.filter, []).append(score)
            self._outcomes.setdefault(score.filter, Counter())[score.outcome] += 1
            if score.note:
                self._notes[score.note] += 1
        self.passes = max([self.passes, passes if not scores else 0, *map(len, by_filter.values())])
        for name, filtered in by_filter.items():
            for metric in dict.fromkeys(metric for score in filtered for metric in score.metrics):
                self._columns.setdefault((metric, name), MetricColumn()).add(filtered, metric)
        metric, name = self.info.headline
        if len(by_filter.get(name, [])) > 1:
            for key, value in over_passes(by_filter[name], metric).items():
                self._over_passes.setdefault(key, []).append(value)

    @property
    def headline_column(self) -> MetricColumn | None:
        """Return the values of the headline metric; None if nothing was scored."""
        return self._columns.get(self._names()[0]) if self._columns else None

    @property
    def outcomes(self) -> dict[str, int]:
        """Return the number of passes with each outcome, through the headline's filter."""
        return self._count_outcomes(self._names()[0][1]) if self._columns else dict.fromkeys(OUTCOMES, 0)

    def _count_outcomes(self, name: str) -> dict[str, int]:
        return {outcome: self._outcomes[name][outcome] for outcome in OUTCOMES}

    def _names(self) -> list[Name]:
        """Return metrics and filters, the headline first; if there is no such metric, one of the same filter."""
        headline = self.info.headline
        return sorted(self._columns, key=lambda name: (name != headline, name[1] != headline[1]))

    def result(self) -> TaskResult:
        """Return the results of the task."""
        figures = []
        for metric, name in self._names():
            column = self._columns[metric, name]
            bounded = not intervals.has_own_scale(metric)
            figures.append(
                MetricResult(
                    metric=metric,
                    filter=name,
                    all=intervals.estimate(column.all, column.clusters, bounded) or Estimate(value=0.0, n=0),
                    stderr=None if column.parts else intervals.stderr(column.all),
                    answered=intervals.estimate(column.answered, column.answered_clusters, bounded),
                    outcomes=self._count_outcomes(name),
                )
            )
        over = {key: estimate for key, values in self._over_passes.items() if (estimate := intervals.estimate(values))}
        info = self.info
        return TaskResult(
            task=info.task,
            title=info.title,
            mode=info.mode,
            template=info.template,
            version=info.version,
            shots=info.shots,
            items=self.items,
            passes=self.passes,
            figures=figures,
            at=over,
            notes=dict(self._notes.most_common(5)),
        )


def over_passes(passes: Sequence[Score], metric: str) -> dict[str, float]:
    """Return the figures of one item over its n passes: avg@n, pass@k and maj@n.

    k runs over the powers of two below n, and n.
    """
    n, right = len(passes), sum(score.outcome == "right" for score in passes)
    figures = {f"avg@{n}": sum(mean_value(score.metrics, metric) for score in passes) / n}
    powers = (2**power for power in range(1, n.bit_length()))
    figures |= {f"pass@{k}": pass_at(n, right, k) for k in [*(k for k in powers if k < n), n]}
    return figures | {f"maj@{n}": float(majority(passes))}


def majority(passes: Sequence[Score]) -> bool:
    """Return True if the most frequent answer is right; of equally frequent ones, the first.

    Passes from which nothing was extracted have no vote.
    """
    votes = Counter(str(score.extracted) for score in passes if score.extracted is not None)
    if not votes:
        return False
    winner = votes.most_common(1)[0][0]
    return next(score.outcome == "right" for score in passes if str(score.extracted) == winner)


def pass_at(n: int, c: int, k: int) -> float:
    """Return the chance that k of n answers, drawn without replacement, hold one of the c right ones.

    This is 1 - C(n-c, k) / C(n, k), the unbiased estimate of Chen et al., Evaluating Large Language Models Trained on
    Code (2021), section 2.1. Raises ValueError unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {n} answers, {c} of them right")
    none_right = 1.0
    for drawn in range(k):
        none_right *= max(n - c - drawn, 0) / (n - drawn)
    return 1.0 - none_right
