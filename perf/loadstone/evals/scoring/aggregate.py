"""From scores to what a task came to: outcomes, means over all and over the answered, several passes. Pure.

Scores go in item by item and only figures are kept of them, so that a file of any length can be tallied. What several
tasks come to together is grouping.py's.
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
# Answers that came and came whole.
ANSWERED: frozenset[Outcome] = frozenset(("right", "wrong", "unparsed"))
# Metric and filter.
Name = tuple[str, str]


class TaskInfo(Struct, frozen=True, kw_only=True):
    """What is told of a task beside its figures. `headline`: metric and filter."""

    task: str
    title: str
    mode: Mode
    template: str
    version: float
    shots: int
    headline: Name


class MetricColumn:
    """The figures of one metric through one filter, item by item."""

    def __init__(self) -> None:
        self.all: list[float] = []
        self.answered: list[float] = []
        self.clusters: list[str | int | None] = []
        self.answered_clusters: list[str | int | None] = []
        self.parts = False

    def add(self, passes: Sequence[Score], metric: str) -> None:
        """Repeats are averaged first. An item of several parts is a cluster of them."""
        first = passes[0].metrics.get(metric)
        if isinstance(first, list):
            self.parts = True
            whole = [score for score in passes if score.outcome in ANSWERED]
            self._put(_parts(passes, metric), _parts(whole, metric), passes[0].doc_id)
            return
        whole = [score for score in passes if score.outcome in ANSWERED]
        self._put(_average(passes, metric), _average(whole, metric), passes[0].cluster)

    def _put(self, all_: list[float], answered: list[float], cluster: str | int | None) -> None:
        self.all += all_
        self.clusters += [cluster] * len(all_)
        self.answered += answered
        self.answered_clusters += [cluster] * len(answered)


def _average(passes: Sequence[Score], metric: str) -> list[float]:
    return [sum(mean_value(score.metrics, metric) for score in passes) / len(passes)] if passes else []


def _parts(passes: Sequence[Score], metric: str) -> list[float]:
    lists = [found for score in passes if isinstance(found := score.metrics.get(metric), list)]
    return [sum(column) / len(column) for column in zip(*lists, strict=True)] if lists else []


class TaskTally:
    """Of one task. `add` takes all scores of one item at a time."""

    def __init__(self, row: TaskInfo) -> None:
        self.info = row
        self.items = self.passes = 0
        self._columns: dict[Name, MetricColumn] = {}
        self._outcomes: dict[str, Counter[Outcome]] = {}
        self._at: dict[str, list[float]] = {}
        self._notes: Counter[str] = Counter()

    def add(self, scores: Sequence[Score], passes: int = 1) -> None:
        """`passes`: how many answers an item has that is not judged."""
        self.items += 1
        by_filter: dict[str, list[Score]] = {}
        for score in scores:
            by_filter.setdefault(score.filter, []).append(score)
            self._outcomes.setdefault(score.filter, Counter())[score.outcome] += 1
            if score.note:
                self._notes[score.note] += 1
        self.passes = max([self.passes, passes if not scores else 0, *map(len, by_filter.values())])
        for name, judged in by_filter.items():
            for metric in dict.fromkeys(metric for score in judged for metric in score.metrics):
                self._columns.setdefault((metric, name), MetricColumn()).add(judged, metric)
        if len(head := by_filter.get(self.info.headline[1], [])) > 1:
            for at, figure in over_passes(head, self.info.headline[0]).items():
                self._at.setdefault(at, []).append(figure)

    @property
    def headline_column(self) -> MetricColumn | None:
        """The column of the headline."""
        return self._columns.get(self._names()[0]) if self._columns else None

    @property
    def outcomes(self) -> dict[str, int]:
        return self._counted(self._names()[0][1]) if self._columns else dict.fromkeys(OUTCOMES, 0)

    def _counted(self, name: str) -> dict[str, int]:
        return {outcome: self._outcomes[name][outcome] for outcome in OUTCOMES}

    def _names(self) -> list[Name]:
        """The headline first; where a task has no such metric, the first it has."""
        wanted = self.info.headline
        return sorted(self._columns, key=lambda name: (name != wanted, name[1] != wanted[1]))

    def result(self) -> TaskResult:
        row = self.info
        return TaskResult(
            task=row.task,
            title=row.title,
            mode=row.mode,
            template=row.template,
            version=row.version,
            shots=row.shots,
            items=self.items,
            passes=self.passes,
            figures=[self._figure(name) for name in self._names()],
            at={at: found for at, values in self._at.items() if (found := intervals.estimate(values))},
            notes=dict(self._notes.most_common(5)),
        )

    def _figure(self, name: Name) -> MetricResult:
        column = self._columns[name]
        share = not intervals.has_own_scale(name[0])
        all_ = intervals.estimate(column.all, column.clusters, share)
        return MetricResult(
            metric=name[0],
            filter=name[1],
            all=all_ or Estimate(value=0.0, n=0),
            stderr=None if column.parts else intervals.stderr(column.all),
            answered=intervals.estimate(column.answered, column.answered_clusters, share),
            outcomes=self._counted(name[1]),
        )


def over_passes(passes: Sequence[Score], metric: str) -> dict[str, float]:
    """Of one item: the mean over its passes, whether one of k would be right, what most of them say."""
    n, right = len(passes), sum(score.outcome == "right" for score in passes)
    found = {f"avg@{n}": sum(mean_value(score.metrics, metric) for score in passes) / n}
    found |= {f"pass@{k}": pass_at(n, right, k) for k in _ks(n)}
    return found | {f"maj@{n}": float(majority(passes))}


def _ks(n: int) -> list[int]:
    """Powers of two below n, and n."""
    return [*(k for k in (2**power for power in range(1, n.bit_length())) if k < n), n]


def majority(passes: Sequence[Score]) -> bool:
    """Whether what most passes say is right; of equally many the one said first. What says nothing has no vote."""
    votes = Counter(str(score.extracted) for score in passes if score.extracted is not None)
    if not votes:
        return False
    most = votes.most_common(1)[0][0]
    return next(score.outcome == "right" for score in passes if str(score.extracted) == most)


def pass_at(n: int, c: int, k: int) -> float:
    """Chance that k of n answers, drawn without putting back, hold one of the c right ones: 1 - C(n-c, k) / C(n, k).

    The unbiased estimate of Chen et al., Evaluating Large Language Models Trained on Code (2021), section 2.1.
    Raises ValueError where 0 <= c <= n and 1 <= k <= n do not hold: fewer answers than k say nothing of pass@k.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {n} answers, {c} of them right")
    none = 1.0
    for taken in range(k):
        none *= max(n - c - taken, 0) / (n - taken)
    return 1.0 - none
