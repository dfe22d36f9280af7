"""Which saved answers are meant: files with samples by task, or a run, which of their items, and what is told beside.

Of a folder the last evaluation counts. What stands in a file is log.py's, what it is worth rescoring.py's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from loadstone.errors import UsageError
from loadstone.evals.output import lm_eval_samples, results
from loadstone.evals.rescore import from_run, target_only
from loadstone.evals.rescore.from_run import RunSource
from loadstone.evals.rescore.samples_file import IdFilter, SamplesFile


def open_sources(
    paths: Sequence[Path], task: str | None, which: str | None, data: str | None
) -> list[SamplesFile | RunSource]:
    """The answers of each task, of files that hold samples or of a run, whose task has to be told. `which`: see `only`;
    `data`: the folder with the rows that a run replayed. Raises UsageError."""
    wanted, replayed = parse_ids(which), [path for path in paths if from_run.is_run(path) and not _part(path)]
    if not replayed:
        return [SamplesFile(name, files, wanted) for name, files in group_by_task(paths, task).items()]
    if len(paths) > 1:
        raise UsageError("a run is judged by itself: give one of them, or files with samples")
    known = target_only.find_task(task, asked=True) if task else None
    if known is None:
        raise UsageError(f"{paths[0]} is a run, which does not say what is right: name its task with --task")
    return [RunSource(known, paths[0], data, wanted)]


def _part(path: Path) -> bool:
    """Whether a run is one of an evaluation, which has its samples."""
    return any(path.resolve().parent.parent.glob("samples_*.jsonl"))


def parse_ids(text: str | None) -> IdFilter | None:
    """Which doc_ids `3,5-9` means. Raises UsageError."""
    if text is None:
        return None
    named: set[str] = set()
    ranges: list[range] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if match := re.fullmatch(r"(\d+)-(\d+)", part):
            ranges.append(range(int(match[1]), int(match[2]) + 1))
        elif part.isdigit():
            named.add(part)
        else:
            raise UsageError(f"--only takes doc_ids such as 3,5-9, not {part!r}")
    return lambda ident: ident in named or (ident.isdigit() and any(int(ident) in each for each in ranges))


def group_by_task(paths: Iterable[Path], task: str | None) -> dict[str, list[Path]]:
    """Samples files by task. Of a folder the last of each task, and only the task asked for where it has that one."""
    files: dict[str, list[Path]] = {}
    for path in paths:
        for file in _files(path):
            files.setdefault(lm_eval_samples.task_of(file.name) or file.stem, []).append(file)
    if task is None or task == target_only.BY_TARGET:
        return files
    if task not in files and (meant := target_only.find_task(task, asked=True)):
        if len(files) > 1 and meant.name not in files:
            raise UsageError(f"--task {task} is one task, and the files are of {', '.join(files)}: give those of one")
        task = meant.name
    return {task: files.get(task) or next(iter(files.values()))}


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if from_run.is_run(path) and _part(path):
        return _files(path.resolve().parent.parent)
    inside = sorted(path.glob("samples_*.jsonl")) or sorted(path.glob("*/samples_*.jsonl"))
    if not inside:
        if (path / "eval.json").is_file():
            raise UsageError(
                f"{path} has not been scored yet: give --stage score -o {path} to the command that made it"
            )
        raise UsageError(
            f"{path} holds no samples_*.jsonl: give a folder of `loadstone eval` or lm-eval, or such a file"
        )
    if len(models := {file.parent for file in inside}) > 1:
        raise UsageError(f"{path} holds several evaluations: give one of {', '.join(sorted(map(str, models)))}")
    return list({lm_eval_samples.task_of(file.name) or file.name: file for file in inside}.values())


class ResultsMetadata:
    """What the results file beside a samples file tells, as far as there is one."""

    def __init__(self, samples: Path) -> None:
        told = _object(results.latest(samples.parent))
        self.model = str(told.get("model_name") or samples.parent.name or "unknown")
        self.source = str(told.get("model_source") or lm_eval_samples.OUR_KEY)
        given = (told.get("config") or {}).get("model_args")
        self.arguments = (
            {name: value for name, value in given.items() if name != "model"} if isinstance(given, dict) else {}
        )
        self._shots, self._counts, self._versions = (
            each if isinstance(each := told.get(name), dict) else {} for name in ("n-shot", "n-samples", "versions")
        )

    def shots(self, task: str) -> int:
        return shots if isinstance(shots := self._shots.get(task), int) else 0

    def original(self, task: str) -> int | None:
        counts = self._counts.get(task)
        return counts.get("original") if isinstance(counts, dict) else None

    def version(self, task: str) -> float:
        return float(version) if isinstance(version := self._versions.get(task), (int, float)) else 0.0


def _object(path: Path | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(path.read_bytes()) if path else {}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
