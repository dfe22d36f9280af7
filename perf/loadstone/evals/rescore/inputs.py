"""Finds the saved answers to score: samples files by task, or a run, and the results file beside them.

Of a folder the last evaluation counts. samples_file.py reads the files, rescore.py scores them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from loadstone.errors import ConfigError, DataError
from loadstone.evals.output import lm_eval_samples, results
from loadstone.evals.rescore import from_run, target_only
from loadstone.evals.rescore.from_run import RunSource
from loadstone.evals.rescore.samples_file import IdFilter, SamplesFile


def open_sources(
    paths: Sequence[Path], task: str | None, ids: str | None, data: str | None
) -> list[SamplesFile | RunSource]:
    """Open the answers of each task, from samples files or from a run.

    task: name of the task; a run needs one
    ids: doc_ids, see `parse_ids`
    data: folder with the rows that a run replayed

    Raises UsageError.
    """
    accepts = parse_ids(ids)
    runs = [path for path in paths if from_run.is_run(path) and not _is_part_of_evaluation(path)]
    if not runs:
        return [SamplesFile(name, files, accepts) for name, files in group_by_task(paths, task).items()]
    if len(paths) > 1:
        raise ConfigError("a run is scored by itself: give one of them, or files with samples")
    spec = target_only.find_task(task, asked=True) if task else None
    if spec is None:
        raise ConfigError(f"{paths[0]} is a run, which does not say what is right: name its task with --task")
    return [RunSource(spec, paths[0], data, accepts)]


def _is_part_of_evaluation(path: Path) -> bool:
    """Return True if a run is one of an evaluation, which has samples files."""
    return any(path.resolve().parent.parent.glob("samples_*.jsonl"))


def parse_ids(text: str | None) -> IdFilter | None:
    """Parse doc_ids such as `3,5-9`. Returns None for all. Raises ConfigError."""
    if text is None:
        return None
    single: set[str] = set()
    ranges: list[range] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if match := re.fullmatch(r"(\d+)-(\d+)", part):
            ranges.append(range(int(match[1]), int(match[2]) + 1))
        elif part.isdigit():
            single.add(part)
        else:
            raise ConfigError(f"--only takes doc_ids such as 3,5-9, not {part!r}", field="only")
    return lambda doc_id: doc_id in single or (doc_id.isdigit() and any(int(doc_id) in each for each in ranges))


def group_by_task(paths: Iterable[Path], task: str | None) -> dict[str, list[Path]]:
    """Return samples files by task: of a folder the last of each task.

    task: only this task, if there are files of it; otherwise the files are scored as this task
    """
    files: dict[str, list[Path]] = {}
    for path in paths:
        for file in _samples_files(path):
            files.setdefault(lm_eval_samples.task_of(file.name) or file.stem, []).append(file)
    if task is None or task == target_only.BY_TARGET:
        return files
    if task not in files and (spec := target_only.find_task(task, asked=True)):
        if len(files) > 1 and spec.name not in files:
            names = ", ".join(files)
            raise ConfigError(
                f"--task {task} is one task, and the files are of {names}: give those of one", field="task"
            )
        task = spec.name
    return {task: files.get(task) or next(iter(files.values()))}


def _samples_files(path: Path) -> list[Path]:
    """Return the samples files that a path stands for: a file, the folder of an evaluation, or one of its runs."""
    if not path.is_dir():
        return [path]
    if from_run.is_run(path) and _is_part_of_evaluation(path):
        return _samples_files(path.resolve().parent.parent)
    files = sorted(path.glob("samples_*.jsonl")) or sorted(path.glob("*/samples_*.jsonl"))
    if not files and (path / "eval.json").is_file():
        raise DataError(
            f"{path} has not been scored yet: give --stage score -o {path} to the command that made it", file=str(path)
        )
    if not files:
        raise DataError(
            f"{path} holds no samples_*.jsonl: give a folder of `loadstone eval` or lm-eval, or such a file",
            file=str(path),
        )
    folders = {file.parent for file in files}
    if len(folders) > 1:
        raise DataError(
            f"{path} holds several evaluations: give one of {', '.join(sorted(map(str, folders)))}", file=str(path)
        )
    return list({lm_eval_samples.task_of(file.name) or file.name: file for file in files}.values())


class ResultsMetadata:
    """What the results file beside a samples file reports about the evaluation, if there is one.

    model, source: name of the model, and lm-eval's type of it
    arguments: other arguments of the model
    """

    def __init__(self, samples: Path) -> None:
        path = results.latest(samples.parent)
        try:
            decoded = msgspec.json.decode(path.read_bytes()) if path else {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            decoded = {}
        fields = decoded if isinstance(decoded, dict) else {}
        self.model = str(fields.get("model_name") or samples.parent.name or "unknown")
        self.source = str(fields.get("model_source") or lm_eval_samples.OUR_KEY)
        arguments = (fields.get("config") or {}).get("model_args")
        self.arguments = {}
        if isinstance(arguments, dict):
            self.arguments = {name: value for name, value in arguments.items() if name != "model"}
        self._shots, self._counts, self._versions = (
            table if isinstance(table := fields.get(name), dict) else {} for name in ("n-shot", "n-samples", "versions")
        )

    def shots(self, task: str) -> int:
        """Return the number of worked examples; 0 if unknown."""
        shots = self._shots.get(task)
        return shots if isinstance(shots, int) else 0

    def original(self, task: str) -> int | None:
        """Return the number of rows of the task's split."""
        counts = self._counts.get(task)
        return counts.get("original") if isinstance(counts, dict) else None

    def version(self, task: str) -> float:
        """Return the version of the task; 0 if unknown."""
        version = self._versions.get(task)
        return float(version) if isinstance(version, (int, float)) else 0.0
