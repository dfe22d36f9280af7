"""From answers to every file of an evaluation's folder: each item judged, written and tallied as it comes.

Only figures are kept of what has passed, so that it is the same for eight items and for a samples file of a gigabyte.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from loadstone.engine import run_folder
from loadstone.errors import UsageError
from loadstone.evals.output import items_csv, lm_eval_results, lm_eval_samples
from loadstone.evals.output.items_csv import Timing
from loadstone.evals.output.lm_eval_samples import EvalMetadata
from loadstone.evals.scoring import aggregate, score
from loadstone.evals.scoring import groups as grouping
from loadstone.evals.scoring.sandbox import ProgramRunner
from loadstone.evals.scoring.task_setup import TaskSetup
from loadstone.samples import Evaluation, ItemResponses, Score, TaskResult
from loadstone.scorers.base import Scorer
from loadstone.tasks.spec import Group

ITEMS = "items.csv"
JudgedItem = tuple[ItemResponses, list[Score]]
# A task and what was answered; with its scores, where others than the task's own have judged.
TaskResponses = tuple[TaskSetup, Iterable[ItemResponses | JudgedItem]]


def file_time(now: datetime) -> str:
    """The time in the names of files, as lm-eval writes it."""
    return now.isoformat().replace(":", "-")


def write_results(
    folder: run_folder.RunFolder,
    about: EvalMetadata,
    parts: Iterable[TaskResponses],
    groups: Sequence[Group],
    when: str,
    *,
    run_code: Scorer | None = None,
    timings: Mapping[tuple[str, int], Timing] | None = None,
    target: Mapping[str, float] | None = None,
) -> Evaluation:
    """Judge all answers and write `samples_*`, `results_*` and items.csv. `when`: see `file_time`. `timings`: of the
    records, by (run, index). `target`: official scores, by group. Raises UsageError."""
    tallies, setups, hashes = {}, [], {}
    with _whole_or_none() as made, items_csv.Writer(folder.path / ITEMS, timings or {}) as rows:
        for setup, answered in parts:
            setups.append(setup)
            tallied = aggregate.TaskTally(setup.info)
            path = folder.path / lm_eval_samples.samples_name(setup.task.name, when)
            made.append(path)
            folder.write_lines(path.name, _judged(setup, answered, tallied, rows, run_code))
            tallies[setup.task.name], hashes[setup.task.name] = tallied, task_hash(path, setup.filters)
    evaluation = build_evaluation(about.model, setups, tallies, groups, target)
    if isinstance(run_code, ProgramRunner):
        evaluation = msgspec.structs.replace(evaluation, confined=run_code.confined)
    told = lm_eval_results.build_results(about, setups, groups, evaluation, hashes)
    folder.write(lm_eval_samples.results_name(when), json.dumps(told, indent=2, default=str, ensure_ascii=False))
    return evaluation


@contextlib.contextmanager
def _whole_or_none() -> Iterator[list[Path]]:
    """Takes away the files that are noted in the list when what comes between fails."""
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def build_evaluation(
    model: str,
    setups: Sequence[TaskSetup],
    tallies: Mapping[str, aggregate.TaskTally],
    groups: Sequence[Group],
    target: Mapping[str, float] | None = None,
) -> Evaluation:
    """What all tasks came to."""
    return Evaluation(
        model=model,
        tasks=[(setup.add_figures or _as_is)(tallies[setup.task.name].result()) for setup in setups],
        groups=grouping.group_results(groups, tallies),
        leaderboard=grouping.leaderboard(groups, tallies, target),
        data={setup.task.name: setup.sha256 for setup in setups},
        settings={setup.task.name: setup.settings for setup in setups},
    )


def _as_is(tallied: TaskResult) -> TaskResult:
    return tallied


def _judged(
    setup: TaskSetup,
    parts: Iterable[ItemResponses | JudgedItem],
    tallied: aggregate.TaskTally,
    rows: items_csv.Writer,
    run_code: Scorer | None,
) -> Iterator[bytes]:
    for part in parts:
        one, scores = part if isinstance(part, tuple) else (part, _scores(setup, part, run_code))
        tallied.add(scores, passes=max(map(len, one.responses), default=0))
        rows.add(one, scores, setup.filters[0])
        yield from map(lm_eval_samples.encode_line, lm_eval_samples.sample_lines(setup, one, scores))


def _scores(setup: TaskSetup, one: ItemResponses, run_code: Scorer | None) -> list[Score]:
    if not setup.scored:
        return []
    return setup.score_item(one) if setup.score_item else score.score(setup.task, setup.mode, one, run_code)


class _Hashes(Struct):
    filter: str
    doc_hash: str
    prompt_hash: str
    target_hash: str


def task_hash(path: Path, filters: Sequence[str]) -> str:
    """lm-eval's hash of a task's lines, which stand there filter by filter, as here they do item by item."""
    decoder, hasher = msgspec.json.Decoder(_Hashes), hashlib.sha256()

    def decoded(line: bytes) -> _Hashes:
        try:
            return decoder.decode(line)
        except msgspec.DecodeError:
            return msgspec.convert(lm_eval_samples.decode_line(line), _Hashes)

    for name in filters:
        with path.open("rb") as file:
            for line in map(decoded, file):
                if line.filter == name:
                    hasher.update((line.doc_hash + line.prompt_hash + line.target_hash).encode())
    return hasher.hexdigest()


def latest(folder: Path) -> Path | None:
    """The results file of a folder; of several the last."""
    return max(folder.glob("results_*.json"), default=None, key=lambda path: path.name)


def read(path: Path) -> Evaluation:
    """Of a results file, what is ours. Raises UsageError."""
    class_ = msgspec.defstruct("Held", [(lm_eval_samples.OUR_KEY, Evaluation)])
    try:
        return getattr(msgspec.json.decode(path.read_bytes(), type=class_), lm_eval_samples.OUR_KEY)  # type: ignore[no-any-return]
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        hint = f"`loadstone score {path.parent}` judges what lm-eval has written"
        raise UsageError(f"{path} holds no evaluation of loadstone: {exc}; {hint}") from exc
