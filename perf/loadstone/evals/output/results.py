"""Score answers and write every file of an evaluation's folder, item by item.

Only figures are kept in memory, so that a samples file of a gigabyte needs no more than eight items.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.engine import run_folder
from loadstone.errors import DataError
from loadstone.evals.output import items_csv, lm_eval_results, lm_eval_samples
from loadstone.evals.output.items_csv import Timing
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.scoring import aggregate, score
from loadstone.evals.scoring import groups as grouping
from loadstone.evals.scoring.sandbox import ProgramRunner
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import Evaluation, ItemResponses, Score
from loadstone.scorers.base import Scorer
from loadstone.tasks.spec import Group

ITEMS = "items.csv"
ScoredItem = tuple[ItemResponses, list[Score]]
# A task and its responses; with their scores if the task's own scorers did not make them.
TaskResponses = tuple[TaskSetup, Iterable[ItemResponses | ScoredItem]]


def file_time(now: datetime) -> str:
    """Return the time in the names of files, as lm-eval writes it."""
    return now.isoformat().replace(":", "-")


def write_results(
    folder: run_folder.RunFolder,
    metadata: EvalMetadata,
    tasks: Iterable[TaskResponses],
    groups: Sequence[Group],
    when: str,
    *,
    run_code: Scorer | None = None,
    timings: Mapping[tuple[str, int], Timing] | None = None,
    target: Mapping[str, float] | None = None,
) -> Evaluation:
    """Score all answers and write `samples_*`, `results_*` and items.csv. Return the evaluation.

    when: see `file_time`. run_code: runs programs that the model wrote. timings: of the records, by (run, index).
    target: official scores, by group. Raises UsageError; then no samples file is left behind.
    """
    tallies, setups, hashes = {}, [], {}
    written: list[Path] = []
    try:
        with items_csv.Writer(folder.path / ITEMS, timings or {}) as rows:
            for setup, items in tasks:
                setups.append(setup)
                tally = aggregate.TaskTally(setup.info)
                path = folder.path / lm_eval_samples.samples_name(setup.task.name, when)
                written.append(path)
                folder.write_lines(path.name, _score_items(setup, items, tally, rows, run_code))
                tallies[setup.task.name] = tally
                hashes[setup.task.name] = task_hash(path, setup.filters)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    evaluation = build_evaluation(metadata.model, setups, tallies, groups, target)
    if isinstance(run_code, ProgramRunner):
        evaluation = msgspec.structs.replace(evaluation, confined=run_code.confined)
    content = lm_eval_results.build_results(metadata, setups, groups, evaluation, hashes)
    folder.write(lm_eval_samples.results_name(when), json.dumps(content, indent=2, default=str, ensure_ascii=False))
    return evaluation


def build_evaluation(
    model: str,
    setups: Sequence[TaskSetup],
    tallies: Mapping[str, aggregate.TaskTally],
    groups: Sequence[Group],
    target: Mapping[str, float] | None = None,
) -> Evaluation:
    """Return the results of all tasks and groups. target: official scores, by group."""
    tasks = []
    for setup in setups:
        result = tallies[setup.task.name].result()
        tasks.append(setup.add_figures(result) if setup.add_figures else result)
    return Evaluation(
        model=model,
        tasks=tasks,
        groups=grouping.group_results(groups, tallies),
        leaderboard=grouping.leaderboard(groups, tallies, target),
        data={setup.task.name: setup.sha256 for setup in setups},
        settings={setup.task.name: setup.settings for setup in setups},
    )


def _score_items(
    setup: TaskSetup,
    items: Iterable[ItemResponses | ScoredItem],
    tally: aggregate.TaskTally,
    rows: items_csv.Writer,
    run_code: Scorer | None,
) -> Iterator[bytes]:
    """Yield the lines of a task's samples file; each item is scored, tallied and added to items.csv on the way."""
    for each in items:
        if isinstance(each, tuple):
            item, scores = each
        else:
            item, scores = each, _score(setup, each, run_code)
        tally.add(scores, passes=max(map(len, item.responses), default=0))
        rows.add(item, scores, setup.filters[0])
        yield from map(lm_eval_samples.encode_line, lm_eval_samples.sample_lines(setup, item, scores))


def _score(setup: TaskSetup, item: ItemResponses, run_code: Scorer | None) -> list[Score]:
    if not setup.scored:
        return []
    return setup.score_item(item) if setup.score_item else score.score(setup.task, setup.mode, item, run_code)


class _Hashes(Struct):
    """The fields of a samples line that lm-eval's task hash covers."""

    filter: str
    doc_hash: str
    prompt_hash: str
    target_hash: str


def task_hash(path: Path, filters: Sequence[str]) -> str:
    """Return lm-eval's hash of a task's lines, which it orders by filter where this file orders them by item."""
    decoder, hasher = msgspec.json.Decoder(_Hashes), hashlib.sha256()

    def decode(line: bytes) -> _Hashes:
        try:
            return decoder.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return msgspec.convert(lm_eval_samples.decode_line(line), _Hashes)

    for name in filters:
        with path.open("rb") as file:
            for line in map(decode, file):
                if line.filter == name:
                    hasher.update((line.doc_hash + line.prompt_hash + line.target_hash).encode())
    return hasher.hexdigest()


def latest(folder: Path) -> Path | None:
    """Return the results file of a folder, the last of several."""
    return max(folder.glob("results_*.json"), default=None, key=lambda path: path.name)


def read(path: Path) -> Evaluation:
    """Return the evaluation in a results file of ours. Raises DataError."""
    results_type = msgspec.defstruct("Results", [(lm_eval_samples.OUR_KEY, Evaluation)])
    try:
        results = msgspec.json.decode(path.read_bytes(), type=results_type)
        return getattr(results, lm_eval_samples.OUR_KEY)  # type: ignore[no-any-return]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        hint = f"`loadstone score {path.parent}` judges what lm-eval has written"
        raise DataError(f"{path} holds no evaluation of loadstone: {exc}; {hint}", file=str(path)) from exc
