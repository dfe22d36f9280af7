"""Scores saved answers again: by their task, by another extractor or scorer, or by their targets alone.

Sends nothing. Reads what `loadstone eval` and lm-eval have written (inputs.py finds the files), and reports which items
have another score than before.
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
from loadstone.errors import ConfigError, DataError, UsageError
from loadstone.evals.output import results
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.rescore import inputs, target_only
from loadstone.evals.rescore.from_run import RunSource
from loadstone.evals.rescore.options import RescoreOptions
from loadstone.evals.rescore.sample_lines import SavedSample
from loadstone.evals.rescore.samples_file import SamplesFile
from loadstone.evals.scoring import sandbox
from loadstone.evals.scoring.aggregate import TaskTally
from loadstone.evals.scoring.score import mean_value, score, score_sample
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import Evaluation, Score
from loadstone.scorers import EXTRACTORS, SCORERS
from loadstone.scorers.base import Extractor, Scorer
from loadstone.tasks import catalogue
from loadstone.tasks.spec import Filter, Group, Task

# Entry points of extractors and scorers.
GROUP = "loadstone.scorers"
# Most doc_ids of changed items to list.
MAX_LISTED = 10


class MetricChange(Struct, kw_only=True):
    """How a metric of a task changed against the files.

    items: number of items compared
    gained, lost: number of items whose value rose, and fell
    first: doc_ids of the first changed items
    """

    task: str
    metric: str
    filter: str
    items: int = 0
    gained: int = 0
    lost: int = 0
    first: list[int] = []


class RescoreResult(Struct, frozen=True):
    """The new results, and how they differ from the files."""

    evaluation: Evaluation
    changes: list[MetricChange]


def rescore(
    paths: Sequence[Path], options: RescoreOptions, folder: RunFolder | None, now: float, when: str
) -> RescoreResult:
    """Score saved answers again.

    folder: new files are written into it; None for none
    now: Unix time, s
    when: the time in names of files

    Raises UsageError.
    """
    sources = inputs.open_sources(paths, options.task, options.only, options.data)
    if not any(len(source) for source in sources):
        raise DataError(f"nothing to score: no item of {', '.join(map(str, paths))} is selected")
    metadata = inputs.ResultsMetadata(sources[0].paths[0])
    tasks = [_RescoredTask(source, options, metadata) for source in sources if len(source)]
    setups = [task.setup for task in tasks]

    # The groups of the benchmarks that the tasks belong to, if they are known.
    names = {setup.task.name for setup in setups if setup.task.data.path}
    groups: list[Group] = []
    for benchmark in catalogue.benchmarks() if names else ():
        if names & {task.name for task in benchmark.tasks}:
            groups += benchmark.groups

    if folder is None:
        tallies = {task.setup.task.name: task.tally() for task in tasks}
        evaluation = results.build_evaluation(metadata.model, setups, tallies, groups)
    else:
        about = EvalMetadata(
            model=metadata.model, source=metadata.source, arguments=metadata.arguments, began=now, took=0.0
        )
        evaluation = results.write_results(folder, about, [(task.setup, iter(task)) for task in tasks], groups, when)
    return RescoreResult(evaluation, [change for task in tasks for change in task.changes.values()])


class _RescoredTask:
    """The items of a task, scored as they are read.

    setup: how the task was answered
    changes: by filter and metric; complete when all items have been read
    """

    def __init__(
        self, source: SamplesFile | RunSource, options: RescoreOptions, metadata: inputs.ResultsMetadata
    ) -> None:
        self._source = source
        self.changes: dict[tuple[str, str], MetricChange] = {}
        first = next(iter(source))
        known = target_only.find_task(options.task or source.task, asked=options.task not in (None, source.task))
        if known and first.mode not in known.modes:
            raise DataError(
                f"{source.paths[0]} holds answers by {first.mode}, which {known.name} does not know; "
                f"--task {target_only.BY_TARGET} holds them against their targets",
                file=str(source.paths[0]),
            )
        self._by_target = known is None
        task = known or target_only.build_task(source, first, metadata.version(source.task))
        self._task = _with_scorers(task, options)
        self._run_code = _code_runner(self._task, options.allow_code) if first.mode == "generation" else None
        self._use_filtered = self._by_target and options.extractor is None
        settings = first.responses.arguments[0][1] if first.responses.arguments else {}
        self.setup = TaskSetup(
            task=self._task,
            mode=first.mode,
            shots=metadata.shots(source.task),
            repeats=max(map(len, first.responses.responses), default=1),
            settings=settings if isinstance(settings, dict) else {},
            original=source.original if isinstance(source, RunSource) else metadata.original(source.task),
            sha256={source.task: source.sha256} if isinstance(source, RunSource) else {},
            chat=first.chat,
        )

    def __iter__(self) -> Iterator[results.ScoredItem]:
        for sample in self._source:
            try:
                scores = self._score(sample)
            except (UsageError, ValueError) as exc:
                raise self._source.error_at(sample.position, exc) from exc
            self._compare(sample, scores)
            yield sample.responses, scores

    def tally(self) -> TaskTally:
        """Return the scores of all items."""
        tally = TaskTally(self.setup.info)
        for responses, scores in self:
            tally.add(scores, passes=max(map(len, responses.responses), default=0))
        return tally

    def _score(self, saved: SavedSample) -> list[Score]:
        if not self._by_target:
            return score(self._task, saved.mode, saved.responses, self._run_code)
        sample = target_only.build_sample(self._task.name, saved)
        if self._use_filtered and saved.mode == "generation":
            return target_only.score_filtered(self._task, sample, saved)
        return score_sample(self._task, saved.mode, sample, saved.responses)

    def _compare(self, saved: SavedSample, scores: Sequence[Score]) -> None:
        """Count the metrics of an item that differ from those in the file."""
        for (name, metric), saved_value in saved.metrics.items():
            passes = [each for each in scores if each.filter == name and metric in each.metrics]
            if not passes or isinstance(saved_value, str):
                continue
            now = sum(mean_value(each.metrics, metric) for each in passes) / len(passes)
            before = mean_value({metric: saved_value}, metric)
            empty = MetricChange(task=self._task.name, metric=metric, filter=name, first=[])
            change = self.changes.setdefault((name, metric), empty)
            change.items += 1
            change.gained += now > before + 1e-9
            change.lost += now < before - 1e-9
            if abs(now - before) > 1e-9 and len(change.first) < MAX_LISTED:
                change.first.append(saved.responses.doc_id)


def _with_scorers(task: Task, options: RescoreOptions) -> Task:
    """Return the task with the extractor and scorer of the options."""
    if options.extractor is None and options.scorer is None:
        return task
    if task.generation is None:
        raise ConfigError(f"{task.name} is no text to extract from: --extractor and --scorer are for generated answers")
    scorer: Scorer | None = None
    if options.scorer:
        scorer = plugins.load_instance(GROUP, options.scorer, SCORERS, "--scorer")
    filters = task.generation.filters
    if options.extractor is not None:
        filters = (Filter(options.extractor, find_extractor(options.extractor), filters[0].score),)
    filters = tuple(Filter(each.name, each.extract, scorer or each.score) for each in filters)
    return replace(task, generation=replace(task.generation, filters=filters, code=False))


def find_extractor(name: str) -> Extractor:
    """Return an extractor by name, as `regex:PATTERN` or as `FILE.py:NAME`. Raises UsageError.

    A pattern extracts its first group, or all of it; of several matches, the last.
    """
    if not name.startswith("regex:"):
        extractor: Extractor = plugins.load_instance(GROUP, name, EXTRACTORS, "--extractor")
        return extractor
    try:
        pattern = re.compile(name.removeprefix("regex:"))
    except re.error as exc:
        raise ConfigError(f"--extractor {name}: {exc}", field="extractor") from exc

    def extract(text: str, _: Any) -> str | None:
        matches = list(pattern.finditer(text))
        if not matches:
            return None
        return next((group.strip() for group in matches[-1].groups() if group), matches[-1].group().strip())

    return extract


def _code_runner(task: Task, allowed: bool) -> Scorer | None:
    """Return the scorer of programs, if the task has any. Raises UsageError if they must not be run."""
    if task.generation is None or not task.generation.code:
        return None
    if not allowed:
        raise ConfigError(
            f"{task.name} is scored by running the programs that the model wrote: say "
            "--allow-code-execution to run them in a sandbox (docs/code-answers.md)",
            field="allow_code",
        )
    sandbox.check_allowed(allowed, task.name)
    return sandbox.ProgramRunner()
