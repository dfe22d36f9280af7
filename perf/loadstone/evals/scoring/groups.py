"""Combines the results of several tasks: groups with their two means, and llmuses' leaderboard row. Does no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from loadstone.evals.scoring import intervals
from loadstone.evals.scoring.aggregate import OUTCOMES, MetricColumn, TaskTally
from loadstone.samples import Estimate, GroupResult, LeaderboardRow, TaskResult
from loadstone.tasks.spec import Group


def group_results(groups: Iterable[Group], tallies: Mapping[str, TaskTally]) -> list[GroupResult]:
    """Return the results of the groups of which at least one task was scored.

    tallies: by name of the task
    """
    by_name = {group.name: group for group in groups}
    results: list[GroupResult] = []
    for group in by_name.values():
        members = [tallies[name] for name in tasks_of(group, by_name) if name in tallies]
        scored = [(tally, column) for tally in members if (column := tally.headline_column) is not None]
        if scored:
            results.append(_group_result(group, scored))
    return results


def tasks_of(group: Group, groups: Mapping[str, Group]) -> list[str]:
    """Return the names of the tasks of a group and of the groups in it, each once."""
    names: dict[str, None] = {}
    for name in group.tasks:
        names |= dict.fromkeys(tasks_of(groups[name], groups) if name in groups else [name])
    return list(names)


def _group_result(group: Group, scored: Sequence[tuple[TaskTally, MetricColumn]]) -> GroupResult:
    tallies = [tally for tally, _ in scored]
    headlines = [(tally.info.task, column) for tally, column in scored]
    results = [tally.result() for tally in tallies]
    outcomes: Counter[str] = Counter()
    for tally in tallies:
        outcomes.update(tally.outcomes)
    return GroupResult(
        name=group.name,
        title=group.title,
        column=group.column,
        tasks=[tally.info.task for tally in tallies],
        items=sum(tally.items for tally in tallies),
        outcomes={outcome: outcomes[outcome] for outcome in OUTCOMES},
        micro=_micro_mean(headlines) or Estimate(value=0.0, n=0),
        macro=intervals.mean_of_means([result.figures[0].all for result in results]),
        answered=_micro_mean(headlines, answered=True),
        figures=_lm_eval_means(results),
    )


def _micro_mean(headlines: Sequence[tuple[str, MetricColumn]], answered: bool = False) -> Estimate | None:
    """Estimate the mean over all items of the tasks as one sample. Clusters of different tasks are different."""
    values: list[float] = []
    clusters: list[tuple[str, str | int] | None] = []
    for task, column in headlines:
        values += column.answered if answered else column.all
        labels = column.answered_clusters if answered else column.clusters
        clusters += [None if label is None else (task, label) for label in labels]
    return intervals.estimate(values, clusters)


def _lm_eval_means(results: Sequence[TaskResult]) -> dict[str, tuple[float, float | None, int]]:
    """Return lm-eval's figures of a group: means weighted by size, pooled standard errors, items."""
    by_metric: dict[str, list[tuple[float, float | None, int]]] = {}
    for result in results:
        for figure in result.figures:
            row = figure.all.value, figure.stderr, result.items
            by_metric.setdefault(f"{figure.metric},{figure.filter}", []).append(row)
    means: dict[str, tuple[float, float | None, int]] = {}
    for name, rows in by_metric.items():
        sizes = [size for _, _, size in rows]
        errors = [error for _, error, _ in rows if error is not None]
        weighted = sum(value * size for value, _, size in rows) / sum(sizes)
        stderr = intervals.pooled(errors, sizes) if len(errors) == len(rows) else None
        means[name] = weighted, stderr, sum(sizes)
    return means


def leaderboard(
    groups: Iterable[Group], tallies: Mapping[str, TaskTally], target: Mapping[str, float] | None = None
) -> list[LeaderboardRow]:
    """Return a row for each group that holds groups with a column, as mmlu and ceval do.

    tallies: by name of the task
    target: official scores by name of the group, from 0 to 1, or in per cent if above 1
    """
    by_name = {group.name: group for group in groups}
    rows: list[LeaderboardRow] = []
    for group in by_name.values():
        # The tasks of each column: those of the member groups that belong to it.
        columns: dict[str, list[str]] = {}
        for name in group.tasks:
            member = by_name.get(name)
            if member is not None and member.column:
                columns.setdefault(member.column, []).extend(tasks_of(member, by_name))
        names = [name for name in tasks_of(group, by_name) if name in tallies]
        weighted = _mean_over(names, tallies)
        if group.column is not None or not columns or weighted is None:
            continue
        # Official scores are fractions or per cent.
        official = (target or {}).get(group.name)
        if official is not None and official > 1:
            official /= 100
        by_column = {column: _mean_over(tasks, tallies) for column, tasks in columns.items()}
        means = [mean for name in names if (mean := _mean_over([name], tallies)) is not None]
        rows.append(
            LeaderboardRow(
                name=group.name,
                columns={column: mean for column, mean in by_column.items() if mean is not None},
                weighted=weighted,
                mean=intervals.mean(means),
                target=official,
                delta=None if official is None else weighted - official,
            )
        )
    return rows


def _mean_over(names: Iterable[str], tallies: Mapping[str, TaskTally]) -> float | None:
    """Return the mean of the headline over all items of the tasks; None without items."""
    values: list[float] = []
    for name in names:
        column = tallies[name].headline_column if name in tallies else None
        values += column.all if column is not None else []
    return intervals.mean(values) if values else None
