"""What several tasks came to together: groups with their two means, and the leaderboard row of llmuses. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from loadstone.evals.scoring import intervals
from loadstone.evals.scoring.aggregate import OUTCOMES, MetricColumn, TaskTally
from loadstone.samples import Estimate, GroupResult, LeaderboardRow, TaskResult
from loadstone.tasks.spec import Group


def group_results(groups: Iterable[Group], tallies: Mapping[str, TaskTally]) -> list[GroupResult]:
    """Those groups of which a task was judged."""
    by_name = {group.name: group for group in groups}
    found = (
        (group, [tallies[name] for name in tasks_of(group, by_name) if name in tallies]) for group in by_name.values()
    )
    return [
        _group(group, judged) for group, parts in found if (judged := [part for part in parts if part.headline_column])
    ]


def tasks_of(group: Group, groups: Mapping[str, Group]) -> list[str]:
    """Tasks of a group and of the groups in it, each once."""
    found: dict[str, None] = {}
    for name in group.tasks:
        found |= dict.fromkeys(tasks_of(groups[name], groups) if name in groups else [name])
    return list(found)


def _group(group: Group, tallies: Sequence[TaskTally]) -> GroupResult:
    heads = [(tally.info.task, tally.headline_column) for tally in tallies if tally.headline_column is not None]
    done = [tally.result() for tally in tallies]
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
        micro=_micro(heads) or Estimate(value=0.0, n=0),
        macro=intervals.mean_of_means([tallied.figures[0].all for tallied in done]),
        answered=_micro(heads, answered=True),
        figures=_lm_eval(done),
    )


def _micro(heads: Sequence[tuple[str, MetricColumn]], answered: bool = False) -> Estimate | None:
    """All items of the tasks as one sample; what is a cluster in one task is another in the next."""
    values: list[float] = []
    clusters: list[tuple[str, str | int] | None] = []
    for task, column in heads:
        values += column.answered if answered else column.all
        labels = column.answered_clusters if answered else column.clusters
        clusters += [None if label is None else (task, label) for label in labels]
    return intervals.estimate(values, clusters)


def _lm_eval(done: Sequence[TaskResult]) -> dict[str, tuple[float, float | None, int]]:
    """What lm-eval says of a group: means weighted by size, standard errors pooled."""
    found: dict[str, list[tuple[float, float | None, int]]] = {}
    for tallied in done:
        for figure in tallied.figures:
            one = figure.all.value, figure.stderr, tallied.items
            found.setdefault(f"{figure.metric},{figure.filter}", []).append(one)
    return {name: _weighted(parts) for name, parts in found.items()}


def _weighted(parts: Sequence[tuple[float, float | None, int]]) -> tuple[float, float | None, int]:
    sizes, errors = [size for _, _, size in parts], [error for _, error, _ in parts if error is not None]
    weighted = sum(one * size for one, _, size in parts) / sum(sizes)
    return weighted, intervals.pooled(errors, sizes) if len(errors) == len(parts) else None, sum(sizes)


def leaderboard(
    groups: Iterable[Group], tallies: Mapping[str, TaskTally], target: Mapping[str, float] | None = None
) -> list[LeaderboardRow]:
    """A row for each group that holds groups with a column, as mmlu and ceval do. `target`: official scores by name of
    the group, 0 to 1, or in per cent where above 1."""
    by_name = {group.name: group for group in groups}
    whole = [group for group in by_name.values() if group.column is None and _columns(group, by_name)]
    return [row for group in whole if (row := _standing(group, by_name, tallies, target or {}))]


def _columns(group: Group, groups: Mapping[str, Group]) -> dict[str, list[str]]:
    """Tasks by column."""
    found: dict[str, list[str]] = {}
    for name in group.tasks:
        part = groups.get(name)
        if part is not None and part.column:
            found.setdefault(part.column, []).extend(tasks_of(part, groups))
    return found


def _standing(
    group: Group, groups: Mapping[str, Group], tallies: Mapping[str, TaskTally], target: Mapping[str, float]
) -> LeaderboardRow | None:
    columns = {column: _over(names, tallies) for column, names in _columns(group, groups).items()}
    names = [name for name in tasks_of(group, groups) if name in tallies]
    means = [mean for name in names if (mean := _over([name], tallies)) is not None]
    weighted, official = _over(names, tallies), target.get(group.name)
    if weighted is None:
        return None
    official = official / 100 if official is not None and official > 1 else official
    return LeaderboardRow(
        name=group.name,
        columns={column: figure for column, figure in columns.items() if figure is not None},
        weighted=weighted,
        mean=intervals.mean(means),
        target=official,
        delta=None if official is None else weighted - official,
    )


def _over(names: Iterable[str], tallies: Mapping[str, TaskTally]) -> float | None:
    values = [
        figure for name in names if name in tallies and (head := tallies[name].headline_column) for figure in head.all
    ]
    return intervals.mean(values) if values else None
