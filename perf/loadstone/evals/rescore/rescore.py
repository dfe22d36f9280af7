"""Saved answers judged again, by their task, by another extractor or scorer, or by their target alone. Nothing is sent.

Takes what `loadstone eval` and lm-eval have written (saved.py says which files), and tells which items are worth
something else than before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from loadstone import plugins
from loadstone.engine.run_folder import RunFolder
from loadstone.errors import UsageError
from loadstone.evals.output import results
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.rescore import inputs, target_only
from loadstone.evals.rescore.from_run import RunSource
from loadstone.evals.rescore.sample_lines import SavedSample
from loadstone.evals.rescore.samples_file import SamplesFile
from loadstone.evals.scoring import sandbox
from loadstone.evals.scoring import score as scoring
from loadstone.evals.scoring.aggregate import TaskTally
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import Evaluation, Score
from loadstone.scorers import EXTRACTORS, SCORERS
from loadstone.scorers.base import Extractor, Scorer
from loadstone.tasks import catalogue
from loadstone.tasks.spec import Filter, Group, Task

GROUP = "loadstone.scorers"
# Items that are named among those that change.
MOST = 10


class RescoreOptions(Struct, frozen=True, kw_only=True):
    """How to judge. None: as the task does it, and the task is what the files are called by. `only`: doc_ids, such as
    `3,5-9`. `data`: the folder with the rows that a run replayed. `allow_code`: programs may be run."""

    task: str | None = None
    extractor: str | None = None
    scorer: str | None = None
    only: str | None = None
    data: str | None = None
    allow_code: bool = False


class MetricChange(Struct, kw_only=True):
    """How a metric of a task moved against what the file says. `gained`, `lost`: of those that changed, the number that
    went up and down; `first`: doc_ids of the first of them."""

    task: str
    metric: str
    filter: str
    items: int = 0
    gained: int = 0
    lost: int = 0
    first: list[int] = []


class RescoreResult(Struct, frozen=True):
    evaluation: Evaluation
    changes: list[MetricChange]


def rescore(
    paths: Sequence[Path], options: RescoreOptions, folder: RunFolder | None, now: float, when: str
) -> RescoreResult:
    """Judge what the files hold. `folder`: where new files are written, none without; `now`, `when`: the time, in
    seconds and as a name. Raises UsageError."""
    logs = inputs.open_sources(paths, options.task, options.only, options.data)
    if not any(len(log) for log in logs):
        raise UsageError(f"nothing to judge: no item of {', '.join(map(str, paths))} is wanted")
    past = inputs.ResultsMetadata(logs[0].paths[0])
    judged = [_Judged(log, options, past) for log in logs if len(log)]
    setups = [one.setup for one in judged]
    groups = _groups([setup.task for setup in setups])
    if folder is None:
        tallies = {one.setup.task.name: one.tally() for one in judged}
        evaluation = results.build_evaluation(past.model, setups, tallies, groups)
    else:
        about = EvalMetadata(model=past.model, source=past.source, arguments=past.arguments, began=now, took=0.0)
        evaluation = results.write_results(folder, about, [(one.setup, iter(one)) for one in judged], groups, when)
    return RescoreResult(evaluation, [change for one in judged for change in one.changes.values()])


class _Judged:
    """The items of a task, judged as they are read; how they changed is known behind the last."""

    def __init__(self, log: SamplesFile | RunSource, wish: RescoreOptions, past: inputs.ResultsMetadata) -> None:
        first = next(iter(log))
        self._log, self.changes = log, dict[tuple[str, str], MetricChange]()
        known = target_only.find_task(wish.task or log.task, asked=wish.task not in (None, log.task))
        task = known or target_only.build_task(log, first, past.version(log.task))
        if known and first.mode not in task.modes:
            raise UsageError(f"{log.paths[0]} holds answers by {first.mode}, which {task.name} does not know; "
                             f"--task {target_only.BY_TARGET} holds them against their targets")  # fmt: skip
        self._by_target = known is None
        self._task = _changed(task, wish)
        self._run_code = _runs(self._task, wish.allow_code) if first.mode == "generation" else None
        self._filtered = self._by_target and wish.extractor is None
        settings = first.responses.arguments[0][1] if first.responses.arguments else {}
        self.setup = TaskSetup(
            task=self._task,
            mode=first.mode,
            shots=past.shots(log.task),
            repeats=max(map(len, first.responses.responses), default=1),
            settings=settings if isinstance(settings, dict) else {},
            original=log.original if isinstance(log, RunSource) else past.original(log.task),
            sha256={log.task: log.sha256} if isinstance(log, RunSource) else {},
            chat=first.chat,
        )

    def __iter__(self) -> Iterator[results.JudgedItem]:
        for logged in self._log:
            scores = self._scores(logged)
            self._compare(logged, scores)
            yield logged.responses, scores

    def tally(self) -> TaskTally:
        tally = TaskTally(self.setup.info)
        for answered, scores in self:
            tally.add(scores, passes=max(map(len, answered.responses), default=0))
        return tally

    def _scores(self, logged: SavedSample) -> list[Score]:
        try:
            return self._judge(logged)
        except (UsageError, ValueError) as exc:
            raise self._log.error_at(logged.position, exc) from exc

    def _judge(self, logged: SavedSample) -> list[Score]:
        if not self._by_target:
            return scoring.score(self._task, logged.mode, logged.responses, self._run_code)
        sample = target_only.build_sample(self._task.name, logged)
        if self._filtered and logged.mode == "generation":
            return target_only.score_filtered(self._task, sample, logged)
        return scoring.score_sample(self._task, logged.mode, sample, logged.responses)

    def _compare(self, logged: SavedSample, scores: Sequence[Score]) -> None:
        for (name, metric), before in logged.metrics.items():
            passes = [score for score in scores if score.filter == name and metric in score.metrics]
            if not passes or isinstance(before, str):
                continue
            now = sum(scoring.mean_value(score.metrics, metric) for score in passes) / len(passes)
            change = self.changes.setdefault(
                (name, metric), MetricChange(task=self._task.name, metric=metric, filter=name, first=[])
            )
            _count(change, logged.responses.doc_id, now, scoring.mean_value({metric: before}, metric))


def _count(change: MetricChange, doc_id: int, now: float, before: float) -> None:
    change.items += 1
    change.gained += now > before + 1e-9
    change.lost += now < before - 1e-9
    if abs(now - before) > 1e-9 and len(change.first) < MOST:
        change.first.append(doc_id)


def _changed(task: Task, wish: RescoreOptions) -> Task:
    """The task with another extractor or scorer."""
    if wish.extractor is None and wish.scorer is None:
        return task
    if task.generation is None:
        raise UsageError(f"{task.name} is no text to extract from: --extractor and --scorer are for generated answers")
    scorer: Scorer | None = plugins.load_instance(GROUP, wish.scorer, SCORERS, "--scorer") if wish.scorer else None
    filters = task.generation.filters
    if wish.extractor is not None:
        filters = (Filter(wish.extractor, find_extractor(wish.extractor), filters[0].score),)
    filters = tuple(Filter(each.name, each.extract, scorer or each.score) for each in filters)
    return replace(task, generation=replace(task.generation, filters=filters, code=False))


def find_extractor(name: str) -> Extractor:
    """By name, as `regex:PATTERN` (its first group, or all of it; of several matches the last) or `FILE.py:NAME`."""
    if not name.startswith("regex:"):
        found: Extractor = plugins.load_instance(GROUP, name, EXTRACTORS, "--extractor")
        return found
    try:
        pattern = re.compile(name.removeprefix("regex:"))
    except re.error as exc:
        raise UsageError(f"--extractor {name}: {exc}") from exc

    def extract(text: str, _: Any) -> str | None:
        matches = list(pattern.finditer(text))
        if not matches:
            return None
        return next((group.strip() for group in matches[-1].groups() if group), matches[-1].group().strip())

    return extract


def _runs(task: Task, allowed: bool) -> Scorer | None:
    """What judges programs. Raises UsageError where they are not to be run."""
    if task.generation is None or not task.generation.code:
        return None
    if not allowed:
        raise UsageError(f"{task.name} is scored by running the programs that the model wrote: say "
                         "--allow-code-execution to run them in a sandbox (docs/code-answers.md)")  # fmt: skip
    sandbox.check_allowed(allowed, task.name)
    return sandbox.ProgramRunner()


def _groups(tasks: Sequence[Task]) -> list[Group]:
    """Groups of the benchmarks that the tasks are from, those known here."""
    if not (names := {task.name for task in tasks if task.data.path}):
        return []
    there = [each for each in catalogue.benchmarks() if {task.name for task in each.tasks} & names]
    return [group for benchmark in there for group in benchmark.groups]
