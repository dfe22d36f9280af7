"""Saved answers judged again, by their task, by another extractor or scorer, or by their target alone. Nothing is sent.

Takes what `loadstone eval` and lm-eval have written; says which items are worth something else than before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from loadstone import plugins
from loadstone.evals import layout, ran, results, sandbox, scoring, targets
from loadstone.evals.layout import About, Setup
from loadstone.evals.logged import Log, Logged
from loadstone.evals.ran import Ran
from loadstone.evals.tally import Tally
from loadstone.records import UsageError
from loadstone.samples import Evaluation, Score
from loadstone.scorers import EXTRACTORS, SCORERS, Extractor, Scorer
from loadstone.store import Folder
from loadstone.tasks import catalogue
from loadstone.tasks.spec import Filter, Group, Task

GROUP = "loadstone.scorers"
BY_TARGET = "target"
"""As a task: none, an answer is right where it is the target."""
MOST = 10
"""Items that are named among those that change."""


class Wish(Struct, frozen=True, kw_only=True):
    """How to judge. None: as the task does it, and the task is what the files are called by. `only`: doc_ids, such as
    `3,5-9`. `data`: the folder with the rows that a run replayed. `allow_code`: programs may be run."""

    task: str | None = None
    extractor: str | None = None
    scorer: str | None = None
    only: str | None = None
    data: str | None = None
    allow_code: bool = False


class Change(Struct, kw_only=True):
    """How a metric of a task moved against what the file says. `gained`, `lost`: of those that changed, the number that
    went up and down; `first`: doc_ids of the first of them."""

    task: str
    metric: str
    filter: str
    items: int = 0
    gained: int = 0
    lost: int = 0
    first: list[int] = []


class Rescored(Struct, frozen=True):
    evaluation: Evaluation
    changes: list[Change]


def rescore(paths: Sequence[Path], wish: Wish, folder: Folder | None, now: float, when: str) -> Rescored:
    """Judge what the files hold. `folder`: where new files are written, none without; `now`, `when`: the time, in
    seconds and as a name. Raises UsageError."""
    logs = _logs(paths, wish)
    if not any(len(log) for log in logs):
        raise UsageError(f"nothing to judge: no item of {', '.join(map(str, paths))} is wanted")
    past = Past(logs[0].paths[0])
    judged = [_Judged(log, wish, past) for log in logs if len(log)]
    setups = [one.setup for one in judged]
    groups = _groups([setup.task for setup in setups])
    if folder is None:
        tallies = {one.setup.task.name: one.tally() for one in judged}
        evaluation = results.whole(past.model, setups, tallies, groups)
    else:
        about = About(model=past.model, source=past.source, arguments=past.arguments, began=now, took=0.0)
        evaluation = results.finish(folder, about, [(one.setup, iter(one)) for one in judged], groups, when)
    return Rescored(evaluation, [change for one in judged for change in one.changes.values()])


def _logs(paths: Sequence[Path], wish: Wish) -> list[Log | Ran]:
    """Of files that hold samples, and of runs, whose task has to be told."""
    wanted, replayed = only(wish.only), [path for path in paths if ran.is_run(path) and not _part(path)]
    if not replayed:
        return [Log(task, files, wanted) for task, files in found(paths, wish.task).items()]
    if len(paths) > 1:
        raise UsageError("a run is judged by itself: give one of them, or files with samples")
    task = _task(wish.task, asked=True) if wish.task else None
    if task is None:
        raise UsageError(f"{paths[0]} is a run, which does not say what is right: name its task with --task")
    return [Ran(task, paths[0], wish.data, wanted)]


def _part(path: Path) -> bool:
    """Whether a run is one of an evaluation, which has its samples."""
    return any(path.resolve().parent.parent.glob("samples_*.jsonl"))


def only(text: str | None) -> Callable[[str], bool] | None:
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


def found(paths: Iterable[Path], task: str | None) -> dict[str, list[Path]]:
    """Samples files by task. Of a folder the last of each task, and only the task asked for where it has that one."""
    files: dict[str, list[Path]] = {}
    for path in paths:
        for file in _files(path):
            files.setdefault(layout.task_of(file.name) or file.stem, []).append(file)
    if task is None or task == BY_TARGET:
        return files
    if task not in files and (meant := _task(task, asked=True)):
        if len(files) > 1 and meant.name not in files:
            raise UsageError(f"--task {task} is one task, and the files are of {', '.join(files)}: give those of one")
        task = meant.name
    return {task: files.get(task) or next(iter(files.values()))}


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if ran.is_run(path) and _part(path):
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
    return list({layout.task_of(file.name) or file.name: file for file in inside}.values())


class Past:
    """What the results file beside a samples file tells, as far as there is one."""

    def __init__(self, samples: Path) -> None:
        told = _object(results.latest(samples.parent))
        self.model = str(told.get("model_name") or samples.parent.name or "unknown")
        self.source = str(told.get("model_source") or layout.OURS)
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


class _Judged:
    """The items of a task, judged as they are read; how they changed is known behind the last."""

    def __init__(self, log: Log | Ran, wish: Wish, past: Past) -> None:
        first = next(iter(log))
        self._log, self.changes = log, dict[tuple[str, str], Change]()
        known = _task(wish.task or log.task, asked=wish.task not in (None, log.task))
        task = known or targets.task(log, first, past.version(log.task))
        if known and first.mode not in task.modes:
            raise UsageError(f"{log.paths[0]} holds answers by {first.mode}, which {task.name} does not know; "
                             f"--task {BY_TARGET} holds them against their targets")  # fmt: skip
        self._by_target = known is None
        self._task = _changed(task, wish)
        self._run_code = _runs(self._task, wish.allow_code) if first.mode == "generation" else None
        self._filtered = self._by_target and wish.extractor is None
        settings = first.answered.arguments[0][1] if first.answered.arguments else {}
        self.setup = Setup(
            task=self._task,
            mode=first.mode,
            shots=past.shots(log.task),
            repeats=max(map(len, first.answered.responses), default=1),
            settings=settings if isinstance(settings, dict) else {},
            original=log.original if isinstance(log, Ran) else past.original(log.task),
            sha256={log.task: log.sha256} if isinstance(log, Ran) else {},
            chat=first.chat,
        )

    def __iter__(self) -> Iterator[results.Judged]:
        for logged in self._log:
            scores = self._scores(logged)
            self._compare(logged, scores)
            yield logged.answered, scores

    def tally(self) -> Tally:
        tally = Tally(self.setup.row)
        for answered, scores in self:
            tally.add(scores, passes=max(map(len, answered.responses), default=0))
        return tally

    def _scores(self, logged: Logged) -> list[Score]:
        try:
            return self._judge(logged)
        except (UsageError, ValueError) as exc:
            raise self._log.wrong(logged.place, exc) from exc

    def _judge(self, logged: Logged) -> list[Score]:
        if not self._by_target:
            return scoring.score(self._task, logged.mode, logged.answered, self._run_code)
        sample = targets.sample(self._task.name, logged)
        if self._filtered and logged.mode == "generation":
            return targets.as_filtered(self._task, sample, logged)
        return scoring.judge(self._task, logged.mode, sample, logged.answered)

    def _compare(self, logged: Logged, scores: Sequence[Score]) -> None:
        for (name, metric), before in logged.metrics.items():
            passes = [score for score in scores if score.filter == name and metric in score.metrics]
            if not passes or isinstance(before, str):
                continue
            now = sum(scoring.value(score.metrics, metric) for score in passes) / len(passes)
            change = self.changes.setdefault(
                (name, metric), Change(task=self._task.name, metric=metric, filter=name, first=[])
            )
            _count(change, logged.answered.doc_id, now, scoring.value({metric: before}, metric))


def _count(change: Change, doc_id: int, now: float, before: float) -> None:
    change.items += 1
    change.gained += now > before + 1e-9
    change.lost += now < before - 1e-9
    if abs(now - before) > 1e-9 and len(change.first) < MOST:
        change.first.append(doc_id)


def _task(name: str, asked: bool) -> Task | None:
    """The task of that name; None where it is to be judged by its targets. One asked for must be there."""
    if name == BY_TARGET:
        return None
    try:
        tasks = catalogue.find([name]).tasks
    except UsageError:
        if asked:
            raise
        return None
    exact = [task for task in tasks if task.name == name] or (tasks if asked and len(tasks) == 1 else [])
    if asked and not exact:
        raise UsageError(f"--task takes one task, and {name} is {len(tasks)}: {', '.join(task.name for task in tasks)}")
    return exact[0] if exact else None


def _changed(task: Task, wish: Wish) -> Task:
    """The task with another extractor or scorer."""
    if wish.extractor is None and wish.scorer is None:
        return task
    if task.generation is None:
        raise UsageError(f"{task.name} is no text to extract from: --extractor and --scorer are for generated answers")
    scorer: Scorer | None = plugins.find(GROUP, wish.scorer, SCORERS, "--scorer") if wish.scorer else None
    filters = task.generation.filters
    if wish.extractor is not None:
        filters = (Filter(wish.extractor, extractor(wish.extractor), filters[0].score),)
    filters = tuple(Filter(each.name, each.extract, scorer or each.score) for each in filters)
    return replace(task, generation=replace(task.generation, filters=filters, code=False))


def extractor(name: str) -> Extractor:
    """By name, as `regex:PATTERN` (its first group, or all of it; of several matches the last) or `FILE.py:NAME`."""
    if not name.startswith("regex:"):
        found: Extractor = plugins.find(GROUP, name, EXTRACTORS, "--extractor")
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
    sandbox.demand(allowed, task.name)
    return sandbox.Runs()


def _groups(tasks: Sequence[Task]) -> list[Group]:
    """Groups of the benchmarks that the tasks are from, those known here."""
    if not (names := {task.name for task in tasks if task.data.path}):
        return []
    there = [each for each in catalogue.benchmarks() if {task.name for task in each.tasks} & names]
    return [group for benchmark in there for group in benchmark.groups]
