"""Find tasks by the names of `--tasks`: tasks, groups and benchmarks, built in, installed or in files, and wildcards.

Nothing is read or asked here: the caller reads the user's files, and asks lm-eval for its tasks.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from loadstone import plugins
from loadstone.errors import ConfigError
from loadstone.tasks import BENCHMARKS, custom
from loadstone.tasks.spec import Benchmark, Data, Group, Task

# Entry points of installed benchmarks.
GROUP = "loadstone.tasks"
# What a name of lm-eval's own tasks begins with.
LM_EVAL_PREFIX = "lm-eval:"
# A character of a wildcard: `mmlu_*`.
WILDCARD = re.compile(r"[*?\[]")
Entry = TypeVar("Entry", Task, Group)
# Returns the categories in a file of questions, in order.
Categories = Callable[[Data], list[str]]


class Selection(Struct, frozen=True):
    """What the names of `--tasks` select.

    tasks: in the order of the names, each once.
    groups: the groups that were named, and the groups in them.
    lm_eval_names: names of lm-eval's tasks, without `lm-eval:`.
    without_data: names of tasks that were left out because they have no data.
    """

    tasks: list[Task]
    groups: list[Group]
    lm_eval_names: list[str] = []
    without_data: list[str] = []


def find(names: Sequence[str], categories: Categories | None = None) -> Selection:
    """Return what the names of a list select.

    categories: asked for the categories of the user's files, so that each becomes a task and the file their group.
    Raises ConfigError for an unknown name, with the nearest known one.
    """
    entries: list[Task | Group] = []
    lm_eval_names: list[str] = []
    for name in names:
        if name.startswith(LM_EVAL_PREFIX):
            lm_eval_names.append(name.removeprefix(LM_EVAL_PREFIX))
        else:
            entries += _find_one(name, categories)
    tasks = _unique(entry for entry in entries if isinstance(entry, Task))
    groups = _unique(entry for entry in entries if isinstance(entry, Group))
    return Selection(tasks, groups, list(dict.fromkeys(lm_eval_names)))


def benchmarks() -> list[Benchmark]:
    """Return all benchmarks, built in or installed, by name. Raises UsageError for one that cannot be loaded."""
    return [_load(name) for name in _known_names()]


def _find_one(name: str, categories: Categories | None) -> list[Task | Group]:
    """Return the tasks and groups that one name selects."""
    kind, _, file = name.partition(":")
    if file and kind in custom.KINDS:
        benchmark = custom.file_benchmark(kind, file, categories)
        return _match(benchmark.name, [benchmark])
    if ".py:" in name:
        return _entries(_load(name))
    # First try the benchmarks whose name it begins with, to avoid loading all of them.
    likely = [_load(known) for known in _known_names() if name == known or name.startswith(f"{known}_")]
    matches = (not WILDCARD.search(name) and _match(name, likely)) or _match(name, benchmarks())
    if matches:
        return matches
    names = [entry.name for benchmark in benchmarks() for entry in _entries(benchmark)]
    nearest = difflib.get_close_matches(name, [*names, *_known_names()], 1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    files = ", ".join(f"{kind}:FILE" for kind in custom.KINDS)
    raise ConfigError(
        f"no task {name!r}: {hint}give a name that `loadstone list tasks` shows, {files}, {LM_EVAL_PREFIX}NAME or"
        " FILE.py:NAME"
    )


def _known_names() -> list[str]:
    return sorted({*BENCHMARKS, *plugins.installed_plugins(GROUP)})


def _load(name: str) -> Benchmark:
    """Return the benchmark of a name, with its own name filled in as `Data.benchmark` of its tasks."""
    benchmark = plugins.load_instance(GROUP, name, BENCHMARKS, "--tasks")
    if isinstance(benchmark, Task):
        benchmark = Benchmark(name=benchmark.name, tasks=(benchmark,))
    if not isinstance(benchmark, Benchmark):
        raise ConfigError(
            f"--tasks: {name} is of type {type(benchmark).__name__}, not Benchmark or Task of loadstone.tasks.spec",
            field="tasks",
        )
    tasks = [replace(task, data=replace(task.data, benchmark=benchmark.name)) for task in benchmark.tasks]
    return replace(benchmark, tasks=tuple(tasks))


def _match(name: str, candidates: Sequence[Benchmark]) -> list[Task | Group]:
    """Return the tasks and groups with a name or wildcard, and what is in these groups.

    The name of a benchmark without a group of that name selects all of it.
    """
    matches: list[Task | Group] = []
    for benchmark in candidates:
        by_name = {entry.name: entry for entry in _entries(benchmark)}
        if benchmark.name == name and name not in by_name:
            return _entries(benchmark)
        for entry_name, entry in by_name.items():
            if entry_name == name or fnmatchcase(entry_name, name):
                matches += _expand(entry, benchmark)
    return matches


def _expand(entry: Task | Group, benchmark: Benchmark) -> Iterator[Task | Group]:
    """Yield a task, or a group and everything in it. Raises ConfigError if the group names what is missing."""
    yield entry
    if isinstance(entry, Task):
        return
    by_name = {other.name: other for other in _entries(benchmark)}
    for name in entry.tasks:
        if name not in by_name or name == entry.name:
            raise ConfigError(
                f"--tasks: group {entry.name} of {benchmark.name} names {name!r}, which is not there", field="tasks"
            )
        yield from _expand(by_name[name], benchmark)


def _entries(benchmark: Benchmark) -> list[Task | Group]:
    return [*benchmark.groups, *benchmark.tasks]


def _unique(entries: Iterable[Entry]) -> list[Entry]:
    """Return each entry once. Raises ConfigError for two tasks of the same name with different data."""
    by_name: dict[str, Entry] = {}
    for entry in entries:
        first = by_name.setdefault(entry.name, entry)
        if isinstance(entry, Task) and isinstance(first, Task) and first.data != entry.data:
            raise ConfigError(
                f"--tasks: there are two tasks called {entry.name}, whose results would be one: rename one",
                field="tasks",
            )
    return list(by_name.values())
